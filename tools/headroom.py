"""How large a pair can be, and which limit binds."""

from collections.abc import Collection, Mapping
from decimal import ROUND_CEILING, Decimal

from portfolio.core.decimals import round_toward_zero_to_step
from portfolio.core.errors import CarrydeskError
from portfolio.core.margin.results import Headroom
from portfolio.core.margin.state import MarginState
from portfolio.core.names import PairId
from portfolio.core.pairs import PairLegs
from portfolio.service import DeskSnapshot
from tools.account_mode import sim_of
from tools.book import reference_price

#: Decimal places of USD that are tried to name a size; beyond these it is written out.
_PLACES = (2, 4, 6, 8)


def headroom(
    snapshot: DeskSnapshot,
    state: MarginState,
    legs: Mapping[PairId, PairLegs],
    pair_id: PairId,
    growing: Collection[PairId] = (),
) -> Headroom:
    """How much more of a pair fits in `state`, in which every pair holds `legs` and `growing` have grown.

    Raises:
        UnknownNameError: not a pair of this desk.
        MissingDataError: an input is not there.
    """
    pairs = {pair.spec.pair_id: pair.spec for pair in snapshot.pairs}
    return sim_of(snapshot).headroom(state, pairs, legs, pair_id, snapshot.limits, growing=growing)


def usd_of_coins(quantity: Decimal, price: Decimal, lot: Decimal) -> Decimal:
    """The shortest USD amount that is taken for as many lots: what a target of it comes to, to the lot."""
    exact = quantity * price
    wanted = round_toward_zero_to_step(quantity, lot)
    for places in _PLACES:
        rounded = exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_CEILING)
        if round_toward_zero_to_step(rounded / price, lot) == wanted:
            return rounded
    return exact


def max_notional_usd(snapshot: DeskSnapshot, pair_id: PairId) -> tuple[Decimal, str] | None:
    """Largest size of a pair (one leg, USD) and the limit that binds; None while it is not computable."""
    if snapshot.state is None:
        return None
    try:
        room = headroom(snapshot, snapshot.state, snapshot.legs, pair_id)
    except CarrydeskError:
        return None  # shown as null; the snapshot's warnings say what is missing
    lead = next(pair.spec.lead_leg for pair in snapshot.pairs if pair.spec.pair_id == pair_id)
    price = reference_price(snapshot, lead)
    return None if price is None else (room.target * price, room.binding)
