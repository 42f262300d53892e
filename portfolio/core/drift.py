"""Whether the world is still the one that the operator approves: otherwise the intent is void.

Pure. Checked while an intent waits and once more before its first order; afterwards its own trades move the
positions, and the gates before every slice take over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import BPS, ONE, plain
from portfolio.core.digest import fingerprint
from portfolio.core.intents import Intent, LegBound, Target
from portfolio.core.margin.state import MarginState
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.pairs import PairLegs, PairSpec


def account_fingerprint(state: MarginState, pairs: Iterable[PairSpec]) -> str:
    """The fingerprint of what an account holds: its perpetuals and the coins of its pairs, no other coin.

    The coin that contracts settle in changes with every funding payment, which is no change from outside.
    """
    coins = {pair.coin for pair in pairs}
    return fingerprint(state.positions, [row for row in state.balances if row.coin in coins])


@dataclass(frozen=True, slots=True)
class World:
    """What drift compares an intent with, read at one moment."""

    fingerprint: str
    #: Reference price of every leg, in quote: the mark of a perpetual, the index of spot.
    prices: Mapping[InstrumentId, Decimal]
    legs: Mapping[PairId, PairLegs]
    #: Per pair, the net delta that counts as hedged, in coins.
    tolerance: Mapping[PairId, Decimal]
    #: Health if the intent were executed now; None: it could not be simulated.
    health_after: Decimal | None


def drifted(intent: Intent, pairs: Mapping[PairId, PairSpec], world: World) -> str | None:
    """Why the intent is void, in words; None while it is not."""
    if world.fingerprint != intent.fingerprint:
        return "positions changed outside"
    for target in intent.targets:
        reason = _target_drift(intent, target, pairs[target.pair_id], world)
        if reason is not None:
            return reason
    if world.health_after is None:
        return "its margin cannot be simulated any more"
    drop = intent.health_after - world.health_after
    if drop > intent.drift.health_drop_max:
        return f"simulated health fell by {plain(drop.quantize(BPS))}"
    return None


def _target_drift(intent: Intent, target: Target, pair: PairSpec, world: World) -> str | None:
    legs = world.legs[target.pair_id]
    if abs(legs.hedged - target.from_quantity) > world.tolerance[target.pair_id]:
        return f"{target.pair_id} now holds {plain(legs.hedged)}, not {plain(target.from_quantity)}"
    references = {bound.instrument_id: bound for bound in target.bounds}
    for bound in target.bounds:
        move = abs(world.prices[bound.instrument_id] / bound.reference_price - ONE)
        if move > intent.drift.mark_move_max:
            return f"{bound.instrument_id} moved by {plain((move * 100).quantize(BPS))} %"
    long, short = references.get(pair.long_leg), references.get(pair.short_leg)
    if long is None or short is None:
        return None
    worse = basis_worsening_bps(target, long, short, world.prices)
    if worse > intent.drift.basis_worsening_bps_max:
        return f"the basis of {target.pair_id} worsened by {plain(worse.quantize(BPS))} bps"
    return None


def basis_worsening_bps(
    target: Target, long: LegBound, short: LegBound, prices: Mapping[InstrumentId, Decimal]
) -> Decimal:
    """How much less favourable short / long - 1 is than at the proposal, in bps; negative: better.

    An entry sells the short leg and buys the long one, so it wants the ratio high; an exit wants it low.
    """
    before = short.reference_price / long.reference_price
    now = prices[short.instrument_id] / prices[long.instrument_id]
    sign = 1 if target.to_quantity > target.from_quantity else -1
    return sign * (before - now) / BPS
