from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.errors import AccessError, MissingDataError, UnknownNameError
from portfolio.core.margin import bybit_uta
from portfolio.service import Principal
from tests.tools.sample_desk import SampleDesk, snapshot
from tools.results import margin_block
from tools.simulate import SimulateArguments, SimulateResult, simulate_margin

pytestmark = pytest.mark.anyio


async def simulate(desk: SampleDesk, agent: Principal, **arguments: object) -> SimulateResult:
    return await simulate_margin(desk, agent, SimulateArguments.model_validate(arguments))


async def test_without_targets_it_values_the_account_as_it_is(desk: SampleDesk, agent: Principal) -> None:
    result = await simulate(desk, agent)
    assert desk.book.state is not None
    now = margin_block(bybit_uta.value(desk.book.state).figures)
    assert result.before == now
    assert result.after == now
    assert result.allowed
    assert result.worst_stress is not None
    assert [row.pair for row in result.per_pair] == ["SOL@bybit"]


async def test_a_larger_pair_uses_more_margin_and_an_absurd_one_is_refused_by_name(
    desk: SampleDesk, agent: Principal
) -> None:
    more = await simulate(desk, agent, targets=[{"pair": "ETH@bybit", "notional_usd": "10000"}])
    assert Decimal(more.after.maintenance_margin_usd) > Decimal(more.before.maintenance_margin_usd)
    absurd = await simulate(desk, agent, targets=[{"pair": "ETH@bybit", "notional_usd": 5_000_000}])
    assert not absurd.allowed
    assert absurd.blocked_by
    assert "refused by" in absurd.summary


async def test_only_closes_what_is_not_named(desk: SampleDesk, agent: Principal) -> None:
    result = await simulate(desk, agent, only=True, stress=False, detail="full")
    assert result.after.maintenance_margin_usd == "0"
    assert result.stresses == []
    assert result.worst_stress is None
    assert [row.quantity_coins for row in result.per_pair] == ["0", "0", "0"]


async def test_scenarios_of_ones_own_run_beside_the_standard_ones(desk: SampleDesk, agent: Principal) -> None:
    mine = {"name": "my crash", "moves": {"SOL": "-0.9"}, "collateral_ratio_shift": "-0.5"}
    result = await simulate(desk, agent, scenarios=[mine], detail="full")
    names = [row.scenario for row in result.stresses]
    assert "my crash" in names
    assert len(names) > 5
    alone = await simulate(desk, agent, scenarios=[mine], stress=False)
    assert [row.scenario for row in alone.stresses] == ["my crash"]
    with pytest.raises(UnknownNameError, match="DOGE"):
        await simulate(desk, agent, scenarios=[{"name": "x", "moves": {"DOGE": "0.1"}}])


async def test_find_max_gives_a_size_that_is_allowed_and_the_limit_that_binds(
    desk: SampleDesk, agent: Principal
) -> None:
    result = await simulate(desk, agent, find_max="ETH@bybit")
    assert result.find_max is not None
    assert result.find_max.binding_limit
    size = result.find_max.max_notional_usd
    assert Decimal(size) > 0
    fits = await simulate(desk, agent, targets=[{"pair": "ETH@bybit", "notional_usd": size}])
    assert fits.allowed, fits.blocked_by


async def test_ours_stands_beside_the_venues(desk: SampleDesk, agent: Principal) -> None:
    result = await simulate(desk, agent)
    assert result.venue_check is not None
    assert result.venue_check.gap == "0.00001"
    guard = replace(snapshot().guard, figures=None)
    unknown = SampleDesk(book=replace(snapshot(), guard=guard))
    assert (await simulate(unknown, agent)).venue_check is None


async def test_unknown_pairs_missing_data_and_missing_scopes_are_errors(
    desk: SampleDesk, agent: Principal
) -> None:
    with pytest.raises(UnknownNameError):
        await simulate(desk, agent, targets=[{"pair": "DOGE@bybit", "notional_usd": 1}])
    with pytest.raises(AccessError):
        await simulate(desk, Principal("reader", ("read",)))
    with pytest.raises(MissingDataError):
        await simulate(SampleDesk(book=replace(snapshot(), state=None)), agent)


async def test_on_data_that_is_too_old_the_next_step_is_to_wait_whatever_the_limits_say(
    agent: Principal,
) -> None:
    stale = SampleDesk(book=replace(snapshot(), stale=("account", "prices")))
    for notional in (10_000, 5_000_000):
        target = {"pair": "ETH@bybit", "notional_usd": notional}
        fresh = await simulate(SampleDesk(), agent, targets=[target])
        result = await simulate(stale, agent, targets=[target])
        assert (result.allowed, result.blocked_by) == (fresh.allowed, fresh.blocked_by)
        assert result.next.startswith("Wait until the data is fresh (account, prices)")
        assert "propose_rebalance" not in result.next
        assert result.summary.endswith("on data that is missing or too old.")
