"""What a margin rule reads by name; absent is an error that names it, never a zero."""

from decimal import Decimal

from portfolio.core.errors import MissingDataError
from portfolio.core.instrument import Instrument
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import FeeRates


def instrument_of(state: MarginState, instrument_id: InstrumentId) -> Instrument:
    """The instrument.

    Raises:
        MissingDataError: it is not known.
    """
    found = state.instruments.get(instrument_id)
    if found is None:
        raise MissingDataError(
            f"{instrument_id} is not among the instruments.",
            field=f"instruments.{instrument_id}",
            next_step="Read the instruments again.",
        )
    return found


def mark_of(state: MarginState, instrument_id: InstrumentId) -> Decimal:
    """Its mark price, in quote.

    Raises:
        MissingDataError: it is not known, or not a price (zero, negative, not finite).
    """
    found = state.prices.marks.get(instrument_id)
    if found is None or not _is_price(found):
        raise MissingDataError(
            f"{instrument_id} has no usable mark price ({found}).",
            field=f"prices.marks.{instrument_id}",
            next_step="Wait for prices.",
        )
    return found


def usd_of(state: MarginState, coin: Coin) -> Decimal:
    """The USD index price of a coin.

    Raises:
        MissingDataError: it is not known, or not a price (zero, negative, not finite).
    """
    found = state.prices.usd.get(coin)
    if found is None or not _is_price(found):
        raise MissingDataError(
            f"{coin} has no usable USD index price ({found}).",
            field=f"prices.usd.{coin}",
            next_step="Wait for prices.",
        )
    return found


def _is_price(value: Decimal) -> bool:
    """A price of zero would make debt weigh nothing, and no comparison with NaN is defined."""
    return value.is_finite() and value > 0


def fees_of(state: MarginState, instrument_id: InstrumentId) -> FeeRates:
    """The account's own fee rates for it.

    Raises:
        MissingDataError: they are not known.
    """
    found = state.tables.fees.get(instrument_id)
    if found is None:
        raise MissingDataError(
            f"{instrument_id} has no fee rate.",
            field=f"tables.fees.{instrument_id}",
            next_step="Fetch the risk tables again.",
        )
    return found
