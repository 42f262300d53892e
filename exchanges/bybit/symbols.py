"""Between our instrument ids and Bybit's (category, symbol); the categories are our kinds' own words."""

from portfolio.core.errors import UnknownNameError
from portfolio.core.instrument import InstrumentKind, instrument_id
from portfolio.core.names import InstrumentId, Venue

BYBIT = Venue("bybit")


def to_id(category: str, symbol: str) -> InstrumentId:
    """The id of a venue symbol; category "spot" or "linear".

    Raises:
        UnknownNameError: a category that this project does not trade.
    """
    try:
        kind = InstrumentKind(category)
    except ValueError:
        raise UnknownNameError(
            f"{category!r} is not a category that is traded here.", field="category", allowed="spot, linear"
        ) from None
    return instrument_id(BYBIT, kind, symbol)


def to_venue(name: InstrumentId) -> tuple[InstrumentKind, str]:
    """The kind and venue symbol of an id.

    Raises:
        UnknownNameError: not an id of this venue.
    """
    venue, _, rest = name.partition(":")
    category, _, symbol = rest.partition(":")
    if venue != BYBIT or category not in ("spot", "linear") or not symbol:
        raise UnknownNameError(f"{name} is not an instrument of {BYBIT}.", field="instrument_id")
    return InstrumentKind(category), symbol
