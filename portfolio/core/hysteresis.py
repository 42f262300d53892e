"""When a better book is worth trading for: band, cost gate, swap rule, patience with exits (DESIGN 5).

Optional trades only; the guard's exits ignore all of it. Every decision is one line of text for the proposal.
"""

from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.limits import TradeLimits
from portfolio.core.scoring import PairScore


@dataclass(frozen=True, slots=True)
class Gated:
    """What is left of a wanted change after the gates. Sizes are USD of one leg."""

    notional_usd: Decimal
    changed: bool
    why: str


def band_edge(held_usd: Decimal, target_usd: Decimal, limits: TradeLimits) -> Gated:
    """Trade to the nearer edge of the band around the target, and only from outside it."""
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
    """Extra carry over the expected holding time against a multiple of the round trip, bps of one leg."""
    gain_bps = score.net_carry_apr / 365.0 * score.holding_days * 1e4
    need = float(limits.gain_over_cost_min) * round_trip_cost_bps
    text = f"{gain_bps:.1f} bps over {score.holding_days:.1f} d against {need:.1f} bps needed"
    if gain_bps >= need:
        return Verdict(passes=True, why=f"pays: {text}")
    return Verdict(passes=False, why=f"does not pay: {text}")


def swap_allowed(new: PairScore, old: PairScore, limits: TradeLimits) -> bool:
    """A forced swap needs a score 1.5 x the one it replaces."""
    return new.quality >= float(limits.swap_score_multiple) * old.quality


def should_exit(score: PairScore) -> bool:
    """Leave only when the week and the blended carry are both negative: never on one negative print."""
    return score.net_carry_apr <= 0 and score.apr_7d <= 0
