"""Which lines of the limits an account violates. Pure comparisons; every number comes from `RiskLimits`."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO
from portfolio.core.instrument import InstrumentKind
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.lookups import instrument_of, mark_of
from portfolio.core.margin.results import Breach, Lines, StressResult
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario
from portfolio.core.margin.tiers import borrow_table, largest_value
from portfolio.core.margin.valuation import Valuation
from portfolio.core.names import Coin, InstrumentId


def account_breaches(figures: MarginFigures, limits: RiskLimits, lines: Lines) -> Iterator[Breach]:
    """Health and usage now."""
    if lines is Lines.ENTRY:
        health_min, usage_max = limits.guard.entry_health_min, limits.guard.entry_usage_max
    else:
        health_min, usage_max = limits.book.health_min, limits.book.usage_max
    if figures.health_score < health_min:
        yield Breach("health", figures.health_score, health_min)
    usage = figures.margin_usage
    if usage is None or usage > usage_max:
        yield Breach("usage", usage, usage_max)


def stress_lines(scenario: Scenario, limits: RiskLimits, lines: Lines) -> tuple[Decimal, Decimal]:
    """The least health and the most usage that a scenario must leave."""
    book = limits.book
    if _is_near(scenario, lines):
        return book.market_stress_health_min, book.market_stress_usage_max
    return book.stress_health_min, book.stress_usage_max


def _is_near(scenario: Scenario, lines: Lines) -> bool:
    return scenario.near and lines is Lines.BOOK


def stress_breaches(
    scenario: Scenario, figures: MarginFigures, limits: RiskLimits, lines: Lines
) -> Iterator[Breach]:
    """Health or usage after one scenario; the first that is violated names it."""
    near = _is_near(scenario, lines)
    health_min, usage_max = stress_lines(scenario, limits, lines)
    usage = figures.margin_usage
    if figures.health_score < health_min:
        yield Breach(f"stress:{scenario.name}", figures.health_score, health_min)
    elif usage is None or usage > usage_max or (usage == usage_max and not near):
        yield Breach(f"stress:{scenario.name}", usage, usage_max)


def stresses_broken(
    scenarios: Sequence[Scenario], results: Sequence[StressResult], limits: RiskLimits, lines: Lines
) -> Iterator[Breach]:
    """Stresses that bind and whose line is violated; the results are in their order."""
    for scenario, result in zip(scenarios, results, strict=True):
        if scenario.binding:
            yield from stress_breaches(scenario, result.figures, limits, lines)


def tier_breaches(state: MarginState) -> Iterator[Breach]:
    """Symbols whose position and opening orders are beyond the venue's largest, in quote."""
    quantities: dict[InstrumentId, Decimal] = {
        row.instrument_id: abs(row.quantity) for row in state.positions
    }
    for order in state.orders:
        if (
            not order.reduce_only
            and instrument_of(state, order.instrument_id).kind is InstrumentKind.PERPETUAL
        ):
            quantities[order.instrument_id] = quantities.get(order.instrument_id, ZERO) + order.quantity
    for instrument_id, quantity in quantities.items():
        mark = mark_of(state, instrument_id)
        value, bound = quantity * mark, largest_value(state.tables, instrument_id, mark)
        if value > bound:
            yield Breach(f"position_tier:{instrument_id}", value, bound)


def borrow_breaches(
    before: MarginState,
    after: MarginState,
    valuation: Valuation,
    deltas: Mapping[InstrumentId, Decimal],
    line: Decimal,
) -> Iterator[Breach]:
    """Loans that the venue would refuse; only coins whose spot debt grows are looked at.

    A coin or an instrument for which nothing is lent, the quota, the last borrow tier, and no new loan once
    IM / ECV reaches the account mode's `line`.
    """
    owed = {row.coin: row.spot_borrow for row in before.balances}
    grown = {row.coin for row in after.balances if row.spot_borrow > owed.get(row.coin, ZERO)}
    for coin in sorted(grown):
        row = valuation.coin(coin)
        borrowed = ZERO if row is None else row.borrowed
        bound = _quota(after, coin)
        if not _lent(after, coin, deltas) or (bound is not None and borrowed > bound):
            yield Breach(f"borrow_quota:{coin}", borrowed, bound)
    usage = valuation.figures.margin_usage
    if grown and (usage is None or usage >= line):
        yield Breach("borrow_rate", usage, line)


def _quota(state: MarginState, coin: Coin) -> Decimal | None:
    """The most that may be owed, coins; None without a limit."""
    table = borrow_table(state.tables, coin)
    if not table.borrowable:
        return ZERO
    bounds = [row for row in (table.quantity_max, table.tiers[-1].quantity_to) if row is not None]
    return min(bounds, default=None)


def _lent(state: MarginState, coin: Coin, deltas: Mapping[InstrumentId, Decimal]) -> bool:
    """Whether every spot trade that needs the coin is on an instrument for which the venue lends."""
    for instrument_id, delta in deltas.items():
        instrument = instrument_of(state, instrument_id)
        spent = instrument.quote if delta > 0 else instrument.base
        if instrument.kind is InstrumentKind.SPOT and spent == coin and delta and not instrument.marginable:
            return False
    return True
