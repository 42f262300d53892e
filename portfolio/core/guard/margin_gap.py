"""Two numbers, always: ours against the venue's, and which of them decides reductions.

Both are taken at the same prices: ours is valued at the moment the venue's totals arrive, and again until the
prices that they rest on have arrived as well, for these come on other streams. Over the first line in
several samples in a row entries freeze. Over the second line our number is not believed: a fresh venue figure
decides, and without one nobody does, because a bug of ours must not sell the book.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.guard.gap_sample import SAMPLES_KEPT, GapSample
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import FreezeWanted, GuardInput, PairFacts, Rule, Simulate
from portfolio.core.limits import SECOND_NS, GuardLimits
from portfolio.core.names import PairId

#: While one of these is late the two figures are not of the same moment, and comparing them says nothing.
_INPUTS = frozenset({"prices", "tables"})
#: Prices may come so much later than the totals that rest on them; a sample is taken again until then.
SAMPLED_AGAIN_NS = SECOND_NS
#: A gap over the second line for less than this may be a jump of prices that we have not seen yet (venues
#: push tickers every 100 ms): the venue's totals alone would then send orders at prices of before the jump.
DISTRUST_AFTER_NS = SECOND_NS // 4


def margin_gap(ours: MarginFigures, venue: MarginFigures) -> Decimal:
    """The larger relative difference of maintenance margin and ECV, a fraction of the venue's figure."""
    return GapSample(0, ours, venue).gap


def sampled(state: GuardState, inp: GuardInput) -> GuardState:
    """The state with this tick's sample, if the venue's totals are new and ours are of the same prices.

    A sample over the first line is taken again, of the same totals, while their prices may still arrive.
    """
    if inp.ours is None or _INPUTS & set(inp.stale):
        return state
    if inp.venue_is_new and inp.venue is not None:
        state = _with_sample(state, GapSample(inp.now_wire_ns, inp.ours, inp.venue), inp.limits.guard)
    else:
        state = _sampled_again(state, inp, inp.ours)
    if state.gap is None or state.gap <= inp.limits.guard.gap_distrust:
        return replace(state, distrusted_since=None)
    since = inp.now_wire_ns if state.distrusted_since is None else state.distrusted_since
    return replace(state, distrusted_since=since)


def _with_sample(state: GuardState, sample: GapSample, limits: GuardLimits) -> GuardState:
    state = replace(state, gap=sample.gap, gap_samples=(*state.gap_samples, sample)[-SAMPLES_KEPT:])
    if sample.gap > limits.gap_freeze:
        return replace(state, gap_over=state.gap_over + 1, gap_within=0)
    return replace(state, gap_over=0, gap_within=state.gap_within + 1)


def _sampled_again(state: GuardState, inp: GuardInput, ours: MarginFigures) -> GuardState:
    if not state.gap_over or not state.gap_samples:
        return state
    last = state.gap_samples[-1]
    again = replace(last, ours=ours)
    if inp.now_wire_ns - last.wire_ns > SAMPLED_AGAIN_NS or again.gap >= last.gap:
        return state
    before = replace(state, gap_samples=state.gap_samples[:-1], gap_over=state.gap_over - 1)
    return _with_sample(before, again, inp.limits.guard)


def gap_freeze(state: GuardState, limits: GuardLimits) -> FreezeWanted | None:
    """Freeze after enough samples over the line in a row; stay until as many in a row are within it."""
    over = state.gap_over >= limits.gap_freeze_samples
    standing = Rule.GAP in state.frozen and state.gap_within < limits.gap_freeze_samples
    if not over and not standing:
        return None
    shown = "unknown" if state.gap is None else f"{state.gap * 100:.2f} %"
    return FreezeWanted(Rule.GAP, f"our margin figures and the venue's differ (last sample {shown})")


@dataclass(frozen=True, slots=True)
class Basis:
    """Whose figures decide reductions now, and how the account looks after cuts in the same terms."""

    #: ours, venue or none.
    name: str
    figures: MarginFigures | None
    simulate: Simulate | None


def basis(inp: GuardInput, state: GuardState, simulate: Simulate | None) -> Basis:
    """Ours while the last gap sample is within the second line; else a fresh venue figure; else nobody's.

    While a gap over that line may still be a jump of prices, whoever sees the healthier account decides.
    """
    if inp.ours is not None and simulate is not None and not _distrusted(inp, state, inp.ours):
        return Basis("ours", inp.ours, simulate)
    if inp.venue is not None and inp.venue_fresh:
        return Basis("venue", inp.venue, proportional(inp.venue, inp.pairs))
    return Basis("none", None, None)


def _distrusted(inp: GuardInput, state: GuardState, ours: MarginFigures) -> bool:
    if state.gap is None or state.gap <= inp.limits.guard.gap_distrust:
        return False
    since = state.distrusted_since
    if since is None or inp.now_wire_ns - since >= DISTRUST_AFTER_NS or inp.venue is None:
        return True
    return ours.health_score < inp.venue.health_score


def proportional(venue: MarginFigures, pairs: Mapping[PairId, PairFacts]) -> Simulate:
    """A simulation without our margin rules: IM and MM shrink with the book's value, ECV stays."""
    values = {pair_id: facts.notional or ZERO for pair_id, facts in pairs.items()}
    book = sum(values.values(), start=ZERO)

    def after(targets: Mapping[PairId, Decimal]) -> MarginFigures:
        if book == 0:
            return venue
        kept = book
        for pair_id, target in targets.items():
            larger = pairs[pair_id].larger
            if larger > 0:
                kept -= values[pair_id] * (ONE - min(ONE, target / larger))
        share = kept / book
        return replace(
            venue,
            initial_margin=venue.initial_margin * share,
            maintenance_margin=venue.maintenance_margin * share,
        )

    return after
