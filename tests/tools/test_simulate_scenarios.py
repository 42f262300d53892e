"""Scenarios of a caller's own: what they move, what they may not say, and that they refuse nothing."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest
from pydantic import ValidationError

from portfolio.core.account import Balance
from portfolio.core.errors import CarrydeskError, InputError, UnknownNameError
from portfolio.core.margin import bybit_uta
from portfolio.core.margin.stress import Scenario, stressed
from portfolio.core.names import Coin
from portfolio.core.risk import CollateralTable, CollateralTier
from portfolio.service import DeskSnapshot, Principal
from tests.tools.sample_desk import SampleDesk, margin_state, snapshot
from tools.failures import bad_arguments
from tools.simulate import SimulateArguments, SimulateResult, simulate_margin
from tools.simulate_text import simulation_text

pytestmark = pytest.mark.anyio
D = Decimal
METH = Coin("METH")


def staked() -> DeskSnapshot:
    """The sample desk with 20 METH besides, at 90 %, and 10 000 USDT owed."""
    state = margin_state()
    table = CollateralTable(METH, True, (CollateralTier(D(0), None, D("0.9")),))
    state = replace(
        state,
        balances=(
            Balance(Coin("USDT"), D(80_000), D(10_000), D(0), D(0)),
            *state.balances[1:],
            Balance(METH, D(20), D(0), D(0), D(0)),
        ),
        tables=replace(state.tables, collateral={**state.tables.collateral, METH: table}),
        prices=replace(state.prices, usd={**state.prices.usd, METH: D(2120)}),
    )
    return replace(snapshot(), state=state)


async def simulate(agent: Principal, *scenarios: Mapping[str, object], **arguments: object) -> SimulateResult:
    given = SimulateArguments.model_validate({"scenarios": list(scenarios), **arguments})
    return await simulate_margin(SampleDesk(book=staked()), agent, given)


async def ecv(agent: Principal, **scenario: object) -> Decimal:
    """Adjusted equity under one scenario."""
    result = await simulate(agent, {"name": "mine", **scenario}, stress=False)
    return D(result.stresses[0].adjusted_equity_usd)


#: 80 000 USDT less 10 000 owed, 100 SOL at 200 and 95 %, 20 METH at 2 120 and 90 %.
NOW = D(70_000) + 100 * 200 * D("0.95") + 20 * 2120 * D("0.9")


async def test_a_staked_token_follows_its_coin_and_may_leave_it(agent: Principal) -> None:
    assert await ecv(agent, moves={"ETH": "-0.5"}) == NOW - 20 * 1060 * D("0.9")
    assert await ecv(agent, moves={"ETH": "-0.5", "METH": "0"}) == NOW
    assert await ecv(agent, depegs={"METH": "-0.1"}) == NOW - 20 * 212 * D("0.9")
    both = await ecv(agent, moves={"ETH": "-0.5"}, depegs={"METH": "-0.1"})
    assert both == NOW - 20 * 2120 * (1 - D("0.45")) * D("0.9")


async def test_a_market_move_goes_by_betas_and_a_coin_of_its_own_move_is_left_out(agent: Principal) -> None:
    # SOL is held against a short of as many: its ECV changes by 5 % of the move.
    flat = await ecv(agent, market_move="-0.2")
    assert flat == NOW + 100 * 40 * D("0.05") - 20 * 424 * D("0.9")
    steep = await ecv(agent, market_move="-0.2", betas={"ETH": "2", "SOL": "0"})
    assert steep == NOW - 20 * 848 * D("0.9"), "a staked token has its coin's beta"
    own = await ecv(agent, market_move="-0.2", moves={"SOL": "0"})
    assert own == NOW - 20 * 424 * D("0.9")
    floor = await ecv(agent, market_move="-0.5", betas={"ETH": "10", "SOL": "0"})
    assert floor == NOW - 20 * 2120 * D("0.99") * D("0.9"), "no price falls below a hundredth of itself"


async def test_ratios_are_cut_together_and_one_by_one(agent: Principal) -> None:
    assert await ecv(agent, collateral_ratio_shifts={"METH": "-0.4"}) == NOW - 20 * 2120 * D("0.4")
    every = await ecv(agent, collateral_ratio_shift="-0.1")
    assert every == NOW - 7_000 - 2_000 - 20 * 212
    assert await ecv(agent, collateral_ratio_shift="-0.1", collateral_ratio_shifts={"METH": "-0.1"}) == (
        every - 20 * 212
    )


async def test_a_borrow_rate_costs_a_day_of_interest(agent: Principal) -> None:
    assert await ecv(agent, borrow_rate_multiple="3") == NOW - 10_000 * D("0.000005") * 24 * 3
    assert await ecv(agent, borrow_rate_multiple=0) == NOW
    full = await simulate(agent, detail="full")
    by_name = {row.scenario: D(row.adjusted_equity_usd) for row in full.stresses}
    assert by_name["borrow rates x3"] == NOW - 10_000 * D("0.000005") * 24 * 3


async def test_all_of_them_together_beside_the_standard_set_are_the_exact_rules_figures(
    agent: Principal,
) -> None:
    mine = {
        "name": "all at once",
        "moves": {"SOL": "0.3"},
        "market_move": "-0.1",
        "depegs": {"METH": "-0.05"},
        "collateral_ratio_shift": "-0.02",
        "collateral_ratio_shifts": {"METH": "-0.3"},
        "borrow_rate_multiple": 5,
    }
    result = await simulate(agent, mine, {"name": "flat", "market_move": "0.25"}, detail="full")
    state = staked().state
    assert state is not None
    factors = {Coin(c): D("0.9") for c in ("BTC", "ETH")} | {Coin("SOL"): D("1.3"), METH: D("0.855")}
    expected = Scenario("", factors, D("-0.02"), ratio_shifts={METH: D("-0.3")}, borrow_multiple=D(5))
    figures = bybit_uta.value(stressed(state, expected), extrapolate=True).figures
    found = {row.scenario: row for row in result.stresses}
    assert D(found["all at once"].adjusted_equity_usd) == round(figures.adjusted_equity, 2)
    assert D(found["all at once"].maintenance_margin_usd) == round(figures.maintenance_margin, 2)
    assert [row.own for row in result.stresses].count(True) == 2
    assert len(result.stresses) > 12
    assert "all at once (yours)" in simulation_text(result)


async def test_ones_own_scenario_is_always_shown_marked_and_refuses_nothing(agent: Principal) -> None:
    end = {"name": "the end", "moves": {"SOL": "9"}, "collateral_ratio_shift": -1}
    mild = {"name": "mild", "moves": {"SOL": "-0.01"}}
    target = [{"pair": "ETH@bybit", "notional_usd": 1000}]
    result = await simulate(agent, end, mild, targets=target, find_max="BTC@bybit")
    assert result.allowed
    assert result.blocked_by == []
    shown = {row.scenario: row for row in result.stresses}
    assert {"the end", "mild"} <= shown.keys()
    assert (shown["the end"].keeps_lines, shown["mild"].keeps_lines) == (False, True)
    plain = await simulate(agent, targets=target, find_max="BTC@bybit")
    assert plain.find_max == result.find_max
    assert result.worst_stress == plain.worst_stress
    assert "your the end: 0" in result.summary
    assert result.summary.endswith("; allowed.")


async def test_hiding_the_standard_stresses_changes_no_verdict(agent: Principal) -> None:
    target = [{"pair": "ETH@bybit", "notional_usd": 5_000_000}]
    hidden = await simulate(agent, targets=target, stress=False)
    shown = await simulate(agent, targets=target)
    assert hidden.stresses == []
    assert hidden.blocked_by == shown.blocked_by
    assert any(name.startswith("stress:") for name in hidden.blocked_by)


@pytest.mark.parametrize(
    ("scenario", "field", "says"),
    [
        ({"moves": {"DOGE": "0.1"}}, "scenarios.0.moves", "DOGE has no price here"),
        ({"market_move": 1, "betas": {"DOGE": 1}}, "scenarios.0.betas", "DOGE has no price here"),
        ({"depegs": {"WBETH": "-0.1"}}, "scenarios.0.depegs", "WBETH has no price here"),
        ({"depegs": {"SOL": "-0.1"}}, "scenarios.0.depegs", "SOL is no staked token"),
        (
            {"collateral_ratio_shifts": {"DOGE": "-0.1"}},
            "scenarios.0.collateral_ratio_shifts",
            "DOGE has no collateral ratio here",
        ),
        ({"betas": {"SOL": 2}}, "scenarios.0.betas", "Betas without a market move"),
        ({"market_move": 1, "betas": {"USDT": 1}}, "scenarios.0.betas", "USDT is stable"),
        (
            {"market_move": 1, "betas": {"SOL": 1}, "moves": {"SOL": 1}},
            "scenarios.0.moves",
            "SOL has a move of its own",
        ),
        (
            {"moves": {"METH": 1}, "depegs": {"METH": "-0.1"}},
            "scenarios.0.moves",
            "METH has a move of its own",
        ),
        ({}, "scenarios.0", "'mine' changes nothing"),
        ({"collateral_ratio_shift": 0}, "scenarios.0", "'mine' changes nothing"),
        ({"name": "market +40%", "moves": {"SOL": 1}}, "scenarios", "name of a standard stress"),
    ],
)
async def test_what_a_scenario_cannot_say_is_one_error_that_names_the_place(
    agent: Principal, scenario: dict[str, object], field: str, says: str
) -> None:
    with pytest.raises(CarrydeskError, match=says) as caught:
        await simulate(agent, {"name": "mine", **scenario})
    assert isinstance(caught.value, InputError | UnknownNameError)
    assert caught.value.field == field
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("scenario", "field"),
    [
        ({"market_move": "-1"}, "market_move"),
        ({"market_move": "NaN"}, "market_move"),
        ({"market_move": 1, "betas": {"SOL": "11"}}, "betas.SOL"),
        ({"depegs": {"METH": "0.1"}}, "depegs.METH"),
        ({"depegs": {"METH": "-1"}}, "depegs.METH"),
        ({"collateral_ratio_shift": "0.01"}, "collateral_ratio_shift"),
        ({"collateral_ratio_shifts": {"SOL": "-1.1"}}, "collateral_ratio_shifts.SOL"),
        ({"borrow_rate_multiple": "-1"}, "borrow_rate_multiple"),
        ({"borrow_rate_multiple": "1001"}, "borrow_rate_multiple"),
        ({"borrow_rate_multiple": "three"}, "borrow_rate_multiple"),
        ({"moves": {f"C{n}": 0 for n in range(41)}}, "moves"),
        ({"shift": 1}, "shift"),
    ],
)
async def test_a_number_out_of_range_is_refused_at_the_door_with_its_place(
    scenario: dict[str, object], field: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        SimulateArguments.model_validate({"scenarios": [{"name": "x", **scenario}]})
    assert f'"field": "scenarios.0.{field}"' in bad_arguments("simulate_margin", ("scenarios",), caught.value)


async def test_more_than_twenty_scenarios_are_too_many() -> None:
    many = [{"name": str(n), "market_move": "0.1"} for n in range(21)]
    with pytest.raises(ValidationError):
        SimulateArguments.model_validate({"scenarios": many})
