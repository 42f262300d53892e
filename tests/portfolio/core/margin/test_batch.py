"""A compiled account agrees with the exact rule, scenario by scenario."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.account import MarginFigures
from portfolio.core.errors import InputError, MissingDataError, SettingsError
from portfolio.core.margin.batch import Moves, moves_of
from portfolio.core.margin.bybit_batch import BybitBatch
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, standard_scenarios, stressed
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import LeveragePolicy
from tests.portfolio.core.margin.accounts import (
    account,
    balance,
    both,
    flat_ratio,
    order,
    perp,
    position,
    ratios,
    spot,
    tables,
)
from tests.portfolio.core.margin.strategies import COINS, accounts, decimals

D = Decimal
BTC = perp("BTC")
USD = {"BTC": "60000", "USDT": "1"}


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    named = draw(st.sets(st.sampled_from(COINS)))
    factors = {coin: draw(decimals("0.05", "8", 3)) for coin in sorted(named)}
    return Scenario("made", factors, draw(st.sampled_from([D(0), D(0), D("-0.05"), D("0.3")])))


def gap(ours: MarginFigures, exact: MarginFigures) -> Decimal:
    """The largest difference of a total, relative above one USD."""
    names = ("total_equity", "adjusted_equity", "initial_margin", "maintenance_margin")
    pairs: list[tuple[Decimal, Decimal]] = [(getattr(ours, name), getattr(exact, name)) for name in names]
    return max(abs(left - right) / max(D(1), abs(right)) for left, right in pairs)


def check(state: MarginState, rows: list[Scenario], *, reference: bool = False) -> None:
    compiled = BybitBatch(state, reference=reference)
    found = compiled.value(moves_of(rows, compiled.coins))
    assert found.health.shape == found.usage.shape == (len(rows),)
    for number, scenario in enumerate(rows):
        exact = value(stressed(state, scenario), reference=reference, extrapolate=True).figures
        assert gap(found.figures(number), exact) <= D("1e-9"), scenario
        if abs(exact.adjusted_equity) < D("0.01"):
            continue  # the ratios of a rounding error to nothing
        assert abs(float(exact.health_score) - found.health[number]) < 1e-6
        usage = exact.margin_usage
        assert (
            np.isnan(found.usage[number])
            if usage is None
            else abs(float(usage) - found.usage[number]) < 1e-6 * max(1.0, float(usage))
        )


@settings(max_examples=150, deadline=None)
@given(accounts(), st.booleans(), st.lists(scenarios(), min_size=1, max_size=6))
def test_every_scenario_agrees_with_the_exact_rule_to_a_billionth(
    state: MarginState, reference: bool, rows: list[Scenario]
) -> None:
    check(state, [Scenario("now", {}), *rows], reference=reference)


@settings(max_examples=40, deadline=None)
@given(accounts(orders=False))
def test_the_standard_stresses_agree_with_the_exact_rule(state: MarginState) -> None:
    check(state, list(standard_scenarios(COINS)))


def test_a_position_of_nothing_is_valued_as_the_exact_rule_does() -> None:
    state = account(balances=(balance("USDT", "10"),), positions=(position(BTC, "0", "60000"),), usd=USD)
    check(state, list(standard_scenarios(COINS)))


@pytest.mark.parametrize("quantity", ["5", "-5", "10"])
def test_a_value_exactly_at_the_border_of_a_tier_stays_in_it(quantity: str) -> None:
    # 5 coins at 60,000 are the first tier's limit; a leverage above the second tier's shows the tier.
    state = account(
        balances=(balance("USDT", "1000000"),), positions=(position(BTC, quantity, "60000", "90"),), usd=USD
    )
    factors = [D(1), D("0.7"), D("1.00001"), D("0.5")]
    check(state, [Scenario("border", {Coin("BTC"): factor}) for factor in factors])


@pytest.mark.parametrize("side", list(Side))
def test_orders_resting_on_both_sides_of_the_price_lose_only_on_one(side: Side) -> None:
    state = account(
        balances=(balance("USDT", "100000", "0", "300"), balance("BTC", "2")),
        orders=(
            order(BTC, side, "1", "58000"),
            order(BTC, side, "2", "66000"),
            order(BTC, side, "1", "60000", reduce_only=True),
            order(spot("BTC"), side, "1", "61000"),
        ),
        usd=USD,
    )
    moves = ("0.5", "0.96", "1", "1.05", "1.1", "3")
    check(state, [Scenario("move", {Coin("BTC"): D(move)}) for move in moves])


def test_an_order_that_can_only_reduce_and_holds_nothing_needs_no_margin() -> None:
    state = account(
        balances=(balance("USDT", "10"),),
        orders=(order(BTC, Side.SELL, "1", "1", reduce_only=True),),
        usd=USD,
    )
    check(state, [Scenario("now", {})])


def test_coins_without_tiers_switched_off_or_owed_count_what_the_exact_rule_says() -> None:
    known = both("BTC", "ETH", "SOL")
    risk = tables(known)
    collateral = dict(risk.collateral) | {
        Coin("BTC"): ratios("BTC", ("0", "1", "0.9"), ("1", "2", "0.5"), enabled=False),
        Coin("ETH"): replace(flat_ratio("ETH", "1"), tiers=()),
    }
    state = account(
        balances=(
            balance("BTC", "1"),
            balance("ETH", "3"),
            balance("SOL", "0", "5"),
            balance("USDT", "0", "0", "9"),
        ),
        usd={"BTC": "60000", "ETH": "3000", "SOL": "150", "USDT": "1"},
        instruments=known,
        risk=replace(risk, collateral=collateral),
    )
    rows = [Scenario("now", {}), Scenario("ratios", {Coin("SOL"): D(2)}, D("-0.05"))]
    check(state, rows)
    owing = replace(state, balances=state.balances[2:])
    check(owing, rows)


def test_an_empty_account_is_worth_nothing_in_every_scenario() -> None:
    compiled = BybitBatch(account(usd=USD))
    found = compiled.value(moves_of([Scenario("a", {Coin("BTC"): D(2)}), Scenario("b", {})], compiled.coins))
    assert found.total_equity.tolist() == [0.0, 0.0]
    assert found.health.tolist() == [0.0, 0.0]
    assert np.isnan(found.usage).all()
    assert found.figures(0) == MarginFigures(D(0), D(0), D(0), D(0))


def test_what_the_exact_rule_misses_is_missed_too() -> None:
    held = account(balances=(balance("BTC", "1"),), positions=(position(BTC, "1", "60000"),), usd=USD)
    without_price = replace(held, prices=replace(held.prices, usd={Coin("USDT"): D(1)}))
    without_table = replace(held, tables=replace(held.tables, collateral={}))
    without_tiers = replace(held, tables=replace(held.tables, positions={}))
    for state in (without_price, without_table, without_tiers):
        with pytest.raises(MissingDataError):
            BybitBatch(state)
    with pytest.raises(SettingsError):
        BybitBatch(replace(held, policy=LeveragePolicy(borrow=D(0))))


def test_a_table_that_only_some_scenarios_need_is_missed_by_those() -> None:
    held = account(positions=(position(BTC, "1", "60000"),), usd=USD)
    state = replace(held, tables=replace(held.tables, collateral={}, borrow={}))
    compiled = BybitBatch(state)
    unmoved = compiled.value(moves_of([Scenario("now", {})], compiled.coins))
    assert unmoved.total_equity.tolist() == [0.0]
    for factor in ("0.9", "1.1"):
        with pytest.raises(MissingDataError):
            compiled.value(moves_of([Scenario("move", {Coin("BTC"): D(factor)})], compiled.coins))


def test_factors_that_are_no_multipliers_and_odd_shapes_are_refused() -> None:
    for factor in ("0", "-1", "NaN"):
        with pytest.raises(InputError):
            moves_of([Scenario("bad", {Coin("BTC"): D(factor)})], [Coin("BTC")])
    with pytest.raises(InputError):
        moves_of([Scenario("bad", {}, D("Infinity"))], [Coin("BTC")])
    with pytest.raises(InputError):
        Moves(np.ones((2, 1)), np.zeros(3))
    assert moves_of([Scenario("other", {Coin("ETH"): D(2)})], [Coin("BTC")]).factors.tolist() == [[1.0]]
