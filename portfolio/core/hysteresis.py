"""When a better book is worth trading for: band, cost gate, swap rule, patience with exits (DESIGN 5).

Optional trades only; the guard's exits ignore all of it. Every decision is one line of text for the proposal.
"""

from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.limits import TradeLimits
from portfolio.core.scoring import PairScore

_BPS = 10_000.0


@dataclass(frozen=True, slots=True)
class Gated:
    """What is left of a wanted change after the gates. Sizes are USD of one leg."""

    notional_usd: Decimal
    changed: bool
    why: str


def band_edge(held_usd: Decimal, target_usd: Decimal, limits: TradeLimits) -> Gated:
    """Trade to the nearer edge of the band around the target, and only from outside it.

    A pair that is entered or left is all the way outside: it goes to the target itself, because a rest of a
    band's width would cost both trades and serve nothing.
    """
    if (held_usd == 0 or target_usd == 0) and held_usd != target_usd:
        return Gated(target_usd, changed=True, why="entered" if held_usd == 0 else "left")
    width = target_usd * limits.band
    low, high = target_usd - width, target_usd + width
    if low <= held_usd <= high:
        return Gated(held_usd, changed=False, why=f"inside the {limits.band:.0%} band")
    edge = low if held_usd < low else high
    return Gated(edge, changed=True, why=f"outside the {limits.band:.0%} band: to its edge")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's answer and its reason in one line."""

    passes: bool
    why: str


def cost_gate(score: PairScore, round_trip_cost_bps: float, limits: TradeLimits) -> Verdict:
    """Expected gain over the holding time against a multiple of the round trip, bps of one leg.

    The gain is that of a mean-reverting forecast: a spike pays for as long as spikes of this pair last.
    """
    gain_bps = score.expected_gain * _BPS
    need = float(limits.gain_over_cost_min) * round_trip_cost_bps
    text = (
        f"{gain_bps:.1f} bps expected over {score.holding_days:.1f} d against {need:.1f} bps needed "
        f"({limits.gain_over_cost_min} x {round_trip_cost_bps:.1f} bps)"
    )
    return Verdict(passes=gain_bps >= need, why=f"{'pays' if gain_bps >= need else 'does not pay'}: {text}")


def swap_gate(new: PairScore, old: PairScore, costs_bps: tuple[float, float], limits: TradeLimits) -> Verdict:
    """A forced swap needs 1.5 x the score it replaces, and to pay for both trades.

    Args:
        new: The newcomer.
        old: The held pair whose place it would take.
        costs_bps: The round trip of the newcomer, and of the held one of which only the way out is due.
        limits: The multiples.
    """
    multiple = limits.swap_score_multiple
    if new.quality < float(multiple) * old.quality:
        return Verdict(
            passes=False,
            why=f"no place: {new.quality:.4f} is not {multiple} x the {old.quality:.4f} of {old.pair_id}",
        )
    extra_bps = (new.expected_gain - old.expected_gain) * _BPS
    need = float(limits.gain_over_cost_min) * (costs_bps[0] + costs_bps[1] / 2)
    text = f"{extra_bps:.1f} bps more than {old.pair_id} against {need:.1f} bps needed"
    if extra_bps < need:
        return Verdict(passes=False, why=f"no place: {text}")
    return Verdict(passes=True, why=f"swapped in: {text}")


def exit_gate(score: PairScore) -> Verdict:
    """Leave only when a quarter did not pay and its regime has ended: never on one negative print.

    Carry counts after the pair's own costs; what leverage costs is for sizing, which takes the book down
    instead. Faster exits cost more than they save: on 29 pairs of 2021-25, leaving on a day's negative mean
    took 1 off the Sharpe ratio. `passes` means that the pair is left.
    """
    quarter, month = score.apr_90d + score.leverage_apr, score.apr_30d + score.leverage_apr
    text = f"90 days {quarter:.2%}, 30 days {month:.2%} a year"
    if quarter <= 0 and score.regime_age_days == 0:
        return Verdict(passes=True, why=f"leave: {text}, and its regime has ended")
    return Verdict(passes=False, why=f"keep: {text}")
