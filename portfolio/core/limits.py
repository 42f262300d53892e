"""Every limit of the desk in one frozen value, with the design's numbers as defaults.

The operator's file may tighten them at once and loosen them only with a signature. Shares and ratios are
fractions, durations integer ns or minutes as named.
"""

from dataclasses import dataclass
from decimal import Decimal

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class Freshness:
    """Oldest age at which an input still counts, wire clock (DESIGN 7)."""

    price_ns: int = 2 * SECOND_NS
    account_ns: int = 3 * SECOND_NS
    funding_ns: int = 5 * MINUTE_NS
    borrow_ns: int = 2 * HOUR_NS
    tables_ns: int = 24 * HOUR_NS


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """The lines of the guard (DESIGN 7)."""

    #: ENTRY is refused when the account after it would be below / above these.
    entry_health_min: Decimal = Decimal("0.8")
    entry_usage_max: Decimal = Decimal("0.65")
    reduce_below_health: Decimal = Decimal("0.7")
    reduce_to_health: Decimal = Decimal("0.75")
    #: Share of a pair cut per ladder step.
    ladder_cut: Decimal = Decimal("0.5")
    #: A rest smaller than this share of the book, or this many times the minimum notional, is closed fully.
    rest_book_share_min: Decimal = Decimal("0.01")
    rest_notional_min_multiple: Decimal = Decimal(5)
    reduce_above_usage: Decimal = Decimal("0.65")
    reduce_to_usage: Decimal = Decimal("0.60")
    flatten_below_health: Decimal = Decimal("0.5")
    naked_leg_ns: int = 5 * SECOND_NS
    drawdown_max: Decimal = Decimal("0.10")
    cooldown_ns: int = 60 * MINUTE_NS
    gap_freeze: Decimal = Decimal("0.01")
    gap_freeze_samples: int = 3
    gap_distrust: Decimal = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class BookLimits:
    """Size of the book: strictly inside the guard's lines (DESIGN 5)."""

    health_min: Decimal = Decimal("0.84")
    usage_max: Decimal = Decimal("0.50")
    #: Under market +-20 %.
    market_stress_health_min: Decimal = Decimal("0.8")
    market_stress_usage_max: Decimal = Decimal("0.65")
    #: Under every other stress.
    stress_health_min: Decimal = Decimal("0.7")
    stress_usage_max: Decimal = Decimal("0.95")
    pair_book_share_max: Decimal = Decimal("0.25")
    #: Margin consumed at reference leverage over total equity, per narrative.
    narrative_equity_share_max: Decimal = Decimal("0.15")
    depth_share_max: Decimal = Decimal("0.10")
    quality_min: Decimal = Decimal("0.01")
    pairs_max: int = 40


@dataclass(frozen=True, slots=True)
class TradeLimits:
    """When and how the book is traded (DESIGN 5, 6)."""

    band: Decimal = Decimal("0.07")
    gain_over_cost_min: Decimal = Decimal("2.5")
    swap_score_multiple: Decimal = Decimal("1.5")
    #: No ENTRY or optional exit from this long before a settlement to that long after it, market clock.
    settlement_before_ns: int = 60 * SECOND_NS
    settlement_after_ns: int = 30 * SECOND_NS
    exit_waits_for_settlement_ns: int = 30 * MINUTE_NS
    #: Urgent orders may trade through the book by at most this fraction of the reference price.
    urgent_slippage_max: Decimal = Decimal("0.005")
    slice_notional_max: Decimal = Decimal(25_000)
    maker_wait_ns: int = 10 * SECOND_NS
    bucket_reserve: Decimal = Decimal("0.20")


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """All of them."""

    freshness: Freshness = Freshness()
    guard: GuardLimits = GuardLimits()
    book: BookLimits = BookLimits()
    trade: TradeLimits = TradeLimits()
