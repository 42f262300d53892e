"""The what-if in every account mode: the mode's own rule, line and assumptions, and no venue's by default."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.errors import MissingDataError, SettingsError
from portfolio.core.margin.modes import (
    BINANCE_PM,
    OKX_MULTI_CURRENCY,
    OKX_PORTFOLIO_MARGIN,
    AccountMode,
)
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, stressed
from portfolio.core.names import Coin, InstrumentId, Narrative, PairId
from portfolio.core.pairs import ArbitragePair, PairLegs, PairSpec, PairStatus
from portfolio.service import DeskSnapshot, Principal
from tests.portfolio.core.margin.accounts import balance, position
from tests.portfolio.core.margin.binance_accounts import margin, pm, upm
from tests.portfolio.core.margin.okx_accounts import okx, swap
from tests.portfolio.core.margin.okx_accounts import spot as okx_spot
from tests.tools.sample_desk import SampleDesk, snapshot
from tools.portfolio import PortfolioArguments, show
from tools.results import margin_block
from tools.simulate import SimulateArguments, SimulateResult, simulate_margin
from tools.simulate_text import simulation_text

pytestmark = pytest.mark.anyio
D = Decimal
ETH = Coin("ETH")


def shown(state: MarginState, word: str, long: InstrumentId, short: InstrumentId) -> DeskSnapshot:
    """A desk with one pair: 20 ETH held against a short of as many."""
    venue = state.instruments[short].venue
    spec = PairSpec(PairId(f"ETH@{venue}"), ETH, Narrative("eth"), long, short, short)
    sample = snapshot()
    assert sample.venue is not None
    return replace(
        sample,
        state=state,
        venue=replace(sample.venue, margin_mode=word),
        pairs=(ArbitragePair(spec, "ETHUSDT", D(20), None, PairStatus.HELD, spec.narrative),),
        legs={spec.pair_id: PairLegs(spec.pair_id, D(20), D(20))},
        guard=replace(sample.guard, figures=None, gap_samples=()),
    )


def binance() -> DeskSnapshot:
    state = pm(
        "ETH",
        balances=(balance("USDT", "-30000"), balance("ETH", "20")),
        positions=(position(upm("ETH"), "-20", "3000"),),
        usd={"ETH": "3000"},
    )
    return shown(state, "PM_2", margin("ETH"), upm("ETH"))


def okx_book(word: str) -> DeskSnapshot:
    state = okx(
        coins={"ETH": "0.95"},
        usd={"ETH": "3000", "USDT": "1"},
        balances=(balance("USDT", "-30000"), balance("ETH", "20")),
        positions=(position(swap("ETH"), "-20", "3000"),),
    )
    return shown(state, word, okx_spot("ETH"), swap("ETH"))


CASES: dict[str, tuple[Callable[[], DeskSnapshot], AccountMode]] = {
    "binance": (binance, BINANCE_PM),
    "okx multi-currency": (lambda: okx_book("3"), OKX_MULTI_CURRENCY),
    "okx portfolio": (lambda: okx_book("4"), OKX_PORTFOLIO_MARGIN),
}


async def simulate(book: DeskSnapshot, agent: Principal, **arguments: object) -> SimulateResult:
    given = SimulateArguments.model_validate(arguments)
    return await simulate_margin(SampleDesk(book=book), agent, given)


@pytest.mark.parametrize("name", CASES)
async def test_it_answers_by_the_modes_own_rule_line_and_assumptions(name: str, agent: Principal) -> None:
    make, mode = CASES[name]
    book = make()
    assert book.state is not None
    result = await simulate(book, agent, detail="full")
    assert result.before == margin_block(mode.rule(book.state, extrapolate=True).figures)
    assert result.liquidates_at_ratio == str(mode.liquidation_line)
    assert set(mode.assumptions) <= set(result.assumptions)
    assert "A rally, not a crash, is what hurts" in simulation_text(result)


@pytest.mark.parametrize("name", CASES)
async def test_at_the_price_it_names_the_venue_liquidates_and_a_hair_before_it_does_not(
    name: str, agent: Principal
) -> None:
    make, mode = CASES[name]
    book = make()
    assert book.state is not None
    answer = await simulate(book, agent)
    named = answer.per_pair[0].liquidation_above_usd
    assert named is not None
    title = f"account liquidates (ECV / MM {mode.liquidation_line}) with this coin at"
    assert title in simulation_text(answer)

    def ratio_at(price: Decimal) -> Decimal:
        moved = stressed(book.state, Scenario("", {ETH: price / 3000}))  # type: ignore[arg-type]
        figures = mode.rule(moved, extrapolate=True).figures
        return figures.adjusted_equity / figures.maintenance_margin

    assert ratio_at(D(named) * D("1.0001")) <= mode.liquidation_line < ratio_at(D(named) * D("0.9999"))
    (pair,) = (await show(book, PortfolioArguments())).pairs
    assert pair.liquidation_above_usd is not None
    assert abs(D(pair.liquidation_above_usd) / D(named) - 1) < D("1e-4"), "the portfolio says the same"


@pytest.mark.parametrize("name", CASES)
async def test_shares_add_up_and_the_largest_size_is_allowed_in_every_mode(
    name: str, agent: Principal
) -> None:
    book = CASES[name][0]()
    pair = book.pairs[0].spec.pair_id
    result = await simulate(book, agent, find_max=pair)
    for field in type(result.shares.account).model_fields:
        parts = [getattr(row.average, field) for row in result.per_pair]
        parts.append(getattr(result.shares.treasury, field))
        assert sum(map(D, parts)) == D(getattr(result.shares.account, field))
    assert result.find_max is not None
    size = result.find_max.max_notional_usd
    fits = await simulate(book, agent, targets=[{"pair": pair, "notional_usd": size}])
    assert fits.allowed, fits.blocked_by


async def test_what_the_sheets_leave_open_is_named_in_the_answer(agent: Principal) -> None:
    negative = (await simulate(binance(), agent)).assumptions
    assert any("below zero without a margin loan" in text for text in negative)
    units = " ".join((await simulate(okx_book("4"), agent)).assumptions)
    assert all(charge in units for charge in ("MR4", "MR6", "MR7", "MR9"))


async def test_a_mode_that_no_rule_values_is_refused_and_never_valued_as_another(agent: Principal) -> None:
    with pytest.raises(SettingsError, match="No margin rule for okx accounts in mode '2'"):
        await simulate(okx_book("2"), agent)
    with pytest.raises(MissingDataError, match="not been read"):
        await simulate(replace(binance(), venue=None), agent)
    portfolio = await show(okx_book("2"), PortfolioArguments())
    assert portfolio.pairs[0].liquidation_above_usd is None
