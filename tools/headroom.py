"""How large a pair can be, and which limit binds."""

from collections.abc import Mapping
from decimal import Decimal

from portfolio.core.errors import CarrydeskError
from portfolio.core.margin.results import Headroom
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.names import PairId
from portfolio.core.pairs import PairLegs
from portfolio.service import DeskSnapshot
from tools.book import reference_price


def headroom(
    snapshot: DeskSnapshot, state: MarginState, pair_id: PairId, targets: Mapping[PairId, Decimal]
) -> Headroom:
    """How much more of a pair fits in `state`, in which `targets` (coins of one leg) are reached already.

    Raises:
        UnknownNameError: not a pair of this desk.
        MissingDataError: an input is not there.
    """
    pairs = {pair.spec.pair_id: pair.spec for pair in snapshot.pairs}
    moved = {name: PairLegs(name, coins, coins) for name, coins in targets.items()}
    legs = {**snapshot.legs, **moved}
    return MarginSim().headroom(state, pairs, legs, pair_id, snapshot.limits)


def max_notional_usd(snapshot: DeskSnapshot, pair_id: PairId) -> tuple[Decimal, str] | None:
    """Largest size of a pair (one leg, USD) and the limit that binds; None while it is not computable."""
    if snapshot.state is None:
        return None
    try:
        room = headroom(snapshot, snapshot.state, pair_id, {})
    except CarrydeskError:
        return None  # shown as null; the snapshot's warnings say what is missing
    lead = next(pair.spec.lead_leg for pair in snapshot.pairs if pair.spec.pair_id == pair_id)
    price = reference_price(snapshot, lead)
    return None if price is None else (room.target * price, room.binding)
