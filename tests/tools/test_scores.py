from dataclasses import replace

import pytest

from portfolio.core.errors import InputError, MissingDataError, UnknownNameError
from portfolio.service import Principal
from tests.tools.sample_desk import SampleDesk, perpetual, snapshot
from tools.scores import ScoresArguments, get_market_scores

pytestmark = pytest.mark.anyio


async def test_pairs_are_ranked_best_first_with_everything_that_a_decision_needs(
    desk: SampleDesk, agent: Principal
) -> None:
    result = await get_market_scores(desk, agent, ScoresArguments())
    assert [row.pair for row in result.rows] == ["SOL@bybit", "ETH@bybit", "BTC@bybit"]
    sol = result.rows[0]
    assert (sol.funding_rate, sol.interval_minutes) == ("0.0003", 480)
    assert sol.net_carry_apr is not None
    # 0.0003 x 3 x 365 less half a leg's interest of 0.000005 an hour
    assert float(sol.net_carry_apr) == pytest.approx(0.3285 - 0.0219, abs=0.002)
    assert sol.round_trip_cost_bps is not None
    assert float(sol.round_trip_cost_bps) == pytest.approx(
        2 * (0.7 * (2 + 1) + 0.3 * 5.5 + 10) + 1.3, abs=0.2
    )
    assert sol.payback_days is not None
    assert sol.held_notional_usd == "20000"
    assert sol.max_notional_usd is None
    assert result.next_cursor is None


async def test_detail_full_adds_the_parts_and_the_largest_size_with_its_limit(
    desk: SampleDesk, agent: Principal
) -> None:
    result = await get_market_scores(desk, agent, ScoresArguments(detail="full", pairs=("ETH@bybit",)))
    row = result.rows[0]
    assert row.parts is not None
    assert float(row.parts.apr_30d) > 0
    assert row.max_notional_usd is not None
    assert float(row.max_notional_usd) > 0
    assert row.binding_limit


async def test_filters_sorts_and_pages(desk: SampleDesk, agent: Principal) -> None:
    first = await get_market_scores(desk, agent, ScoresArguments(sort="funding_rate", limit=2))
    assert [row.pair for row in first.rows] == ["SOL@bybit", "ETH@bybit"]
    rest = await get_market_scores(
        desk, agent, ScoresArguments(sort="funding_rate", limit=2, cursor=first.next_cursor)
    )
    assert [row.pair for row in rest.rows] == ["BTC@bybit"]
    assert rest.next_cursor is None
    narrow = await get_market_scores(desk, agent, ScoresArguments(narrative="ETH", venues=("bybit",)))
    assert [row.pair for row in narrow.rows] == ["ETH@bybit"]
    nothing = await get_market_scores(desk, agent, ScoresArguments.model_validate({"min_quality": "5"}))
    assert nothing.rows == []


async def test_a_pair_that_cannot_be_scored_says_why_and_has_no_score(agent: Principal) -> None:
    book = snapshot()
    assert book.state is not None
    instruments = dict(book.state.instruments)
    leg = perpetual("BTC")
    instruments[leg] = replace(instruments[leg], funding_interval_minutes=None)
    desk = SampleDesk(book=replace(book, state=replace(book.state, instruments=instruments)))
    result = await get_market_scores(desk, agent, ScoresArguments())
    btc = next(row for row in result.rows if row.pair == "BTC@bybit")
    assert btc.quality_score is None
    assert btc.why_not is not None
    assert "interval" in btc.why_not
    assert ["BTC@bybit"] in result.excluded.values()
    tradable = await get_market_scores(desk, agent, ScoresArguments(tradable_only=True))
    assert "BTC@bybit" not in [row.pair for row in tradable.rows]


async def test_unknown_pairs_and_cursors_past_the_end_are_errors(desk: SampleDesk, agent: Principal) -> None:
    with pytest.raises(UnknownNameError):
        await get_market_scores(desk, agent, ScoresArguments(pairs=("DOGE@bybit",)))
    with pytest.raises(InputError, match="past the end"):
        await get_market_scores(desk, agent, ScoresArguments(cursor="99"))


async def test_without_complete_data_there_are_no_scores(agent: Principal) -> None:
    desk = SampleDesk(book=replace(snapshot(), state=None, stale=("tables",)))
    with pytest.raises(MissingDataError, match="tables"):
        await get_market_scores(desk, agent, ScoresArguments())
