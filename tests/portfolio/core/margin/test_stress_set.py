"""One batch for a set of stresses says what the exact rule says, and what decides is the exact rule's."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.limits import BookLimits, RiskLimits
from portfolio.core.margin.batch import BatchFigures, Moves
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.lines import stress_breaches, stress_lines
from portfolio.core.margin.modes import BYBIT_UTA, AccountMode
from portfolio.core.margin.results import Lines, StressResult
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, exposed_coins, standard_scenarios, stressed
from portfolio.core.margin.stress_set import stress_results
from portfolio.core.names import Coin
from tests.portfolio.core.margin.accounts import Asked, account, balance, both, chain, perp, position, tables
from tests.portfolio.core.margin.strategies import COINS, accounts, decimals

D = Decimal
BTC = Coin("BTC")
LIMITS = RiskLimits()
HUGE = {"BTC": "1e150", "ETH": "1e150", "USDT": "1"}
#: Up to 150 000 USDT at 100 x, above at 2 x: initial margin jumps from 1 500 to 75 000 there.
JUMP = (("150000", "0.004", "100"), ("1000000000", "0.005", "2"))


class Wrong:
    """A compiled account that finds every account rich and free."""

    coins = (BTC,)
    gross_usd = 1.0

    def value(self, moves: Moves) -> BatchFigures:
        nothing = np.zeros(len(moves.factors))
        return BatchFigures(nothing + 1e9, nothing + 1e9, nothing, nothing)


def results(
    state: MarginState,
    scenarios: Sequence[Scenario],
    *,
    mode: AccountMode = BYBIT_UTA,
    limits: RiskLimits = LIMITS,
) -> tuple[StressResult, ...]:
    figures = value(state, extrapolate=True).figures
    return stress_results(mode, state, figures, scenarios, lambda row: stress_lines(row, limits, Lines.BOOK))


def exact(state: MarginState, scenarios: Sequence[Scenario]) -> tuple[StressResult, ...]:
    return tuple(
        StressResult(row.name, value(stressed(state, row), extrapolate=True).figures) for row in scenarios
    )


def carry(short: str = "-2") -> MarginState:
    return account(
        balances=(balance("BTC", "2"), balance("ETH", "40"), balance("USDT", "0", "90000")),
        positions=(position(perp("BTC"), short, "60000"), position(perp("ETH"), "-40", "3000")),
        usd={"BTC": "60000", "ETH": "3000", "USDT": "1"},
        instruments=both("BTC", "ETH"),
    )


def standard(state: MarginState) -> tuple[Scenario, ...]:
    return standard_scenarios(exposed_coins(state), borrowing=True)


@st.composite
def scenario_lists(draw: st.DrawFn) -> list[Scenario]:
    found = []
    for number in range(draw(st.integers(0, 9))):
        named = sorted(draw(st.sets(st.sampled_from(COINS))))
        found.append(
            Scenario(
                str(number),
                {coin: draw(decimals("0.05", "8", 3)) for coin in named},
                draw(st.sampled_from([D(0), D("-0.05")])),
                near=draw(st.booleans()),
                binding=draw(st.integers(0, 4)) > 0,
            )
        )
    return found


@st.composite
def line_limits(draw: st.DrawFn) -> RiskLimits:
    def least() -> Decimal:
        return draw(decimals("0", "0.95", 2))

    def most() -> Decimal:
        return draw(decimals("0.1", "2", 2))

    book = BookLimits(
        market_stress_health_min=least(),
        market_stress_usage_max=most(),
        stress_health_min=least(),
        stress_usage_max=most(),
    )
    return replace(RiskLimits(), book=book)


@settings(max_examples=120, deadline=None)
@given(accounts(), scenario_lists(), line_limits())
def test_verdicts_and_the_worst_are_exact_and_the_rest_agree_to_a_billionth(
    state: MarginState, scenarios: list[Scenario], limits: RiskLimits
) -> None:
    found, expected = results(state, scenarios, limits=limits), exact(state, scenarios)
    for row, ours, theirs in zip(scenarios, found, expected, strict=True):
        names = ("total_equity", "adjusted_equity", "initial_margin", "maintenance_margin")
        pairs = ((getattr(ours.figures, name), getattr(theirs.figures, name)) for name in names)
        scale = max(D(1), abs(theirs.figures.total_equity))
        assert all(abs(left - right) <= D("1e-9") * max(scale, abs(right)) for left, right in pairs)
        breaches = tuple(stress_breaches(row, theirs.figures, limits, Lines.BOOK))
        if row.binding:
            assert tuple(stress_breaches(row, ours.figures, limits, Lines.BOOK)) == breaches
        if row.binding and breaches:
            assert ours == theirs
    if scenarios:
        worst = min(range(len(found)), key=lambda number: found[number].figures.health_score)
        assert abs(found[worst].figures.health_score - expected[worst].figures.health_score) < D("1e-9")


def test_a_book_inside_its_lines_asks_the_exact_rule_for_the_worst_and_for_interest_alone() -> None:
    state, asked = carry(), Asked()
    scenarios = standard(state)
    found = results(state, scenarios, mode=replace(BYBIT_UTA, rule=asked))
    assert (len(scenarios), asked.times) == (10, 2)
    expected = exact(state, scenarios)
    worst = min(expected, key=lambda row: row.figures.health_score)
    assert worst in found
    assert [row.scenario for row in found] == [row.name for row in scenarios]


def test_a_mode_without_a_batch_and_a_handful_of_scenarios_are_exact_all_over() -> None:
    state = carry()
    assert results(state, standard(state), mode=replace(BYBIT_UTA, compiled=None)) == exact(
        state, standard(state)
    )
    assert results(state, standard(state)[:3]) == exact(state, standard(state)[:3])
    assert results(state, ()) == ()


def test_a_batch_that_is_wrong_about_the_account_as_it_is_decides_nothing() -> None:
    state = carry()
    found = results(state, standard(state), mode=replace(BYBIT_UTA, compiled=lambda _: Wrong()))
    assert found == exact(state, standard(state))


def test_sizes_that_no_float_holds_are_left_to_the_exact_rule() -> None:
    state = account(
        balances=(balance("BTC", "1e200"), balance("ETH", "1e200")), usd=HUGE, instruments=both("BTC", "ETH")
    )
    rows = standard_scenarios((BTC,))
    assert results(state, rows) == exact(state, rows)


@pytest.mark.parametrize("tilt", ["0", "0.000000000001", "-0.000000000001"])
def test_a_move_that_ends_exactly_at_a_tiers_border_is_judged_by_the_exact_rule(tilt: str) -> None:
    state = account(
        balances=(balance("USDT", "70000"),),
        positions=(position(perp("BTC"), "-1", "100000", leverage="100"),),
        usd={"BTC": "100000", "USDT": "1"},
        risk=tables(both("BTC"), positions={perp("BTC"): chain(*JUMP)}),
    )
    rows = [Scenario(str(n), {BTC: D("1.5") + D(tilt) * n}) for n in range(-3, 4)]
    limits = replace(
        RiskLimits(),
        book=BookLimits(stress_health_min=D("0.5"), stress_usage_max=D("0.9")),
    )
    asked = Asked()
    found = results(state, rows, mode=replace(BYBIT_UTA, rule=asked), limits=limits)
    assert found == exact(state, rows)
    assert asked.times == len(rows)
    broken = [bool(list(stress_breaches(rows[n], found[n].figures, limits, Lines.BOOK))) for n in range(7)]
    assert broken == [n * D(tilt) > 0 for n in range(-3, 4)]
