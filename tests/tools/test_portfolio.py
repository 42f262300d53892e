from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.errors import AccessError
from portfolio.core.margin import bybit_uta
from portfolio.core.names import PairId
from portfolio.core.pairs import PairLegs, PairStatus
from portfolio.ports import Freeze
from portfolio.service import DataAges, DeskSnapshot, GuardReport, Principal
from tests.tools.sample_desk import FIGURES, WIRE_NS, SampleDesk, snapshot
from tools.portfolio import PortfolioArguments, get_portfolio

pytestmark = pytest.mark.anyio


async def test_the_book_is_shown_with_its_margin_and_only_held_pairs(
    desk: SampleDesk, agent: Principal
) -> None:
    result = await get_portfolio(desk, agent, PortfolioArguments())
    assert [pair.pair for pair in result.pairs] == ["SOL@bybit"]
    pair = result.pairs[0]
    assert (pair.long_coins, pair.short_coins, pair.unhedged_coins) == ("100", "100", "0")
    assert pair.notional_usd == "20000"
    assert pair.carry_usd_per_day == "18"  # 20 000 x 0.0003 x 3 settlements
    assert (pair.funding_rate, pair.interval_minutes) == ("0.0003", 480)
    assert result.margin is not None
    assert result.margin.total_equity_usd == "100000"
    assert result.margin.health_score == "0.9952"  # 1 - 1.2 x 400 / 99 000
    assert (result.gross_usd, result.utilisation) == ("40000", "0.4")
    assert result.attribution.carry_expected_usd_per_day == "18"
    assert result.summary.startswith("1 pairs held, equity 100000 USD, health 0.995, utilisation 0.4")
    assert result.data_age_s.model_dump() == {"account": 1.0, "prices": 0.5, "risk": 60.0}
    assert (result.as_of, result.market_time) == ("2025-11-20T12:00:00Z", "2025-03-01T00:00:00Z")
    assert result.warnings == []


async def test_full_detail_shows_every_pair_and_what_the_guard_did(
    desk: SampleDesk, agent: Principal
) -> None:
    result = await get_portfolio(desk, agent, PortfolioArguments(detail="full"))
    assert [pair.pair for pair in result.pairs] == ["BTC@bybit", "ETH@bybit", "SOL@bybit"]
    action = result.guard.last_actions[0]
    assert (action.rule, action.pairs, action.health_before) == ("usage reduction", ["SOL@bybit"], "0.79")
    assert [intent.intent_id for intent in result.intents] == ["i7f3a"]


def entering(book: DeskSnapshot) -> DeskSnapshot:
    """ETH is on its way in, with nothing filled yet."""
    pairs = tuple(
        replace(pair, status=PairStatus.ENTERING, size=Decimal(5)) if pair.spec.coin == "ETH" else pair
        for pair in book.pairs
    )
    return replace(book, pairs=pairs)


@pytest.mark.parametrize("detail", ["concise", "full"])
async def test_the_summary_counts_what_is_held_whatever_is_shown(agent: Principal, detail: str) -> None:
    arguments = PortfolioArguments.model_validate({"detail": detail})
    empty = replace(
        snapshot(),
        legs={key: PairLegs(key, Decimal(0), Decimal(0)) for key in snapshot().legs},
        pairs=tuple(replace(row, size=Decimal(0), status=PairStatus.FLAT) for row in snapshot().pairs),
    )
    for book, count in ((snapshot(), 1), (entering(snapshot()), 1), (empty, 0), (entering(empty), 0)):
        result = await get_portfolio(SampleDesk(book=book), agent, arguments)
        assert result.summary.startswith(f"{count} pairs held, equity")


async def test_liquidation_prices_are_where_the_rule_says_so(desk: SampleDesk, agent: Principal) -> None:
    result = await get_portfolio(desk, agent, PortfolioArguments())
    pair = result.pairs[0]
    assert pair.liquidation_below_usd is None  # long spot, short perpetual: a fall harms nothing
    assert desk.book.state is not None
    assert bybit_uta.value(desk.book.state).figures.maintenance_margin > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"halted": True}, "Halted by the operator"),
        ({"recovered": False}, "in flight at its last stop"),
        ({"stale": ("prices",)}, "Missing or too old: prices"),
        ({"freezes": (Freeze("gap", "figures differ", "self", WIRE_NS),)}, "frozen (gap): figures differ"),
        ({"mode": "live"}, "Same-user install"),
    ],
)
async def test_what_a_reader_must_know_is_a_warning(
    agent: Principal, change: dict[str, object], words: str
) -> None:
    desk = SampleDesk(book=replace(snapshot(), **change))  # type: ignore[arg-type]
    result = await get_portfolio(desk, agent, PortfolioArguments())
    assert any(words in warning for warning in result.warnings)


def unread() -> DeskSnapshot:
    guard = GuardReport("frozen", None, None, None, (PairId("SOL@bybit"),), (), None)
    return replace(
        snapshot(),
        venue=None,
        state=None,
        stale=("account", "prices"),
        ages=DataAges(None, None, None, None),
        quotes={},
        funding={},
        guard=guard,
    )


async def test_what_is_not_known_is_null_and_never_zero(agent: Principal) -> None:
    result = await get_portfolio(SampleDesk(book=unread()), agent, PortfolioArguments(detail="full"))
    assert result.margin is None
    assert result.utilisation is None
    assert result.data_age_s.account is None
    held = next(pair for pair in result.pairs if pair.pair == "SOL@bybit")
    assert held.notional_usd is None
    assert held.carry_usd_per_day is None
    assert held.liquidation_above_usd is None
    assert result.attribution.carry_expected_usd_per_day is None
    assert "not been read" in result.summary


async def test_an_unhedged_leg_shows_with_its_sign(agent: Principal) -> None:
    book = snapshot()
    sol = PairId("SOL@bybit")
    legs = {**book.legs, sol: PairLegs(sol, Decimal(100), Decimal("102.5"))}
    pairs = tuple(
        replace(pair, status=PairStatus.UNWINDING) if pair.spec.pair_id == sol else pair
        for pair in book.pairs
    )
    result = await get_portfolio(
        SampleDesk(book=replace(book, legs=legs, pairs=pairs)), agent, PortfolioArguments()
    )
    assert (result.pairs[0].unhedged_coins, result.pairs[0].unhedged_usd) == ("-2.5", "-500")
    assert result.pairs[0].status == "unwinding"


async def test_a_token_without_the_scope_reads_nothing(desk: SampleDesk) -> None:
    with pytest.raises(AccessError):
        await get_portfolio(desk, Principal("p", ("propose",)), PortfolioArguments())


def test_the_sample_figures_are_those_of_the_design() -> None:
    assert FIGURES.margin_usage == Decimal(2_000) / Decimal(99_000)
