"""From a sized book to the trades worth making: the size band, the pair band, and a day's pace.

Held coins drift with prices. What drifts together is no reason to trade: the book as a whole is left alone
while its total is inside the size band, and pairs are compared by their share of it. Large changes are spread
over days, because costs are paid at once, and a forecast that changes its mind tomorrow would pay them twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.hysteresis import band_edge
from portfolio.core.limits import TradeLimits
from portfolio.core.names import PairId


@dataclass(frozen=True, slots=True)
class Pacing:
    """When a difference is worth trading, beside the pair band. Found by walk-forward on 2021-25."""

    #: The book's total is left alone between these multiples of its target: shrinking can wait longest.
    size_low: Decimal = Decimal("0.90")
    size_high: Decimal = Decimal("1.25")
    #: Corrections that sum up to less than this share of the book wait for more of them: not where a pair is
    #: left, nor where the book is too large.
    least_turn: Decimal = Decimal("0.20")
    #: Largest sum of one-leg changes a day, a share of equity.
    daily_share: Decimal = Decimal("0.10")


@dataclass(frozen=True, slots=True)
class Rebalance:
    """One-leg USD, absolute, of the pairs that change, and one line for every pair that was looked at."""

    targets_usd: Mapping[PairId, Decimal]
    why: Mapping[PairId, str]


def rebalance(
    targets_usd: Mapping[PairId, Decimal],
    held_usd: Mapping[PairId, Decimal],
    limits: TradeLimits,
    pacing: Pacing,
    *,
    pace_usd: Decimal | None = None,
) -> Rebalance:
    """Trades that bring the held book to its target where that is worth it.

    Args:
        targets_usd: The sized book; a pair that is held and not named is left alone.
        held_usd: What is held now, at today's prices.
        limits: The pair band.
        pacing: The size band, and what is too little to trade.
        pace_usd: The most that may change now, the sum over pairs; None: no pace is kept.
    """
    size = _size(targets_usd, held_usd)
    scale = min(size, pacing.size_high) if size > pacing.size_low else ONE
    wanted: dict[PairId, Decimal] = {}
    why: dict[PairId, str] = {}
    for pair_id, target in targets_usd.items():
        held = held_usd.get(pair_id, ZERO)
        gated = band_edge(held, target * scale, limits)
        why[pair_id] = gated.why
        if gated.changed:
            wanted[pair_id] = gated.notional_usd
    if size <= pacing.size_high and _too_little(wanted, held_usd, pacing):
        wanted = {}
    return Rebalance(_paced(wanted, held_usd, pace_usd, why), why)


def _too_little(wanted: Mapping[PairId, Decimal], held_usd: Mapping[PairId, Decimal], pacing: Pacing) -> bool:
    """Whether all changes together are not worth a trade; leaving a pair always is."""
    book = sum(held_usd.values(), ZERO)
    turned = sum((abs(to - held_usd.get(pair_id, ZERO)) for pair_id, to in wanted.items()), ZERO)
    return all(to > 0 for to in wanted.values()) and turned < pacing.least_turn * book


def _size(targets_usd: Mapping[PairId, Decimal], held_usd: Mapping[PairId, Decimal]) -> Decimal:
    """What is held over its target, the totals; 1 where one of them is nothing."""
    target = sum(targets_usd.values(), ZERO)
    held = sum((held_usd.get(pair_id, ZERO) for pair_id in targets_usd), ZERO)
    return ONE if target == 0 or held == 0 else held / target


def _paced(
    wanted: Mapping[PairId, Decimal],
    held_usd: Mapping[PairId, Decimal],
    pace_usd: Decimal | None,
    why: dict[PairId, str],
) -> Mapping[PairId, Decimal]:
    """All changes cut alike to the pace."""
    changes = {pair_id: to - held_usd.get(pair_id, ZERO) for pair_id, to in wanted.items()}
    total = sum((abs(change) for change in changes.values()), ZERO)
    if pace_usd is None or total <= pace_usd:
        return wanted
    if pace_usd <= 0:
        return {}
    share = pace_usd / total
    for pair_id in changes:
        why[pair_id] = f"{why[pair_id]}; {share:.0%} of it today"
    return {pair_id: held_usd.get(pair_id, ZERO) + change * share for pair_id, change in changes.items()}
