"""An account mode knows its rule, where its venue liquidates and what it assumes: nobody else names one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.errors import MissingDataError, SettingsError
from portfolio.core.margin.batch import CompiledAccount
from portfolio.core.margin.incremental import LiveMargin
from portfolio.core.margin.modes import (
    BINANCE_PM,
    BYBIT_UTA,
    MODES,
    OKX_MULTI_CURRENCY,
    OKX_PORTFOLIO_MARGIN,
    AccountMode,
    mode_of,
)
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, liquidation_factors, stressed
from portfolio.core.names import Coin, Venue
from portfolio.core.risk import BorrowTable, BorrowTier, LeveragePolicy
from tests.portfolio.core.margin.accounts import account, balance, both, perp, position
from tests.portfolio.core.margin.binance_accounts import pm, upm
from tests.portfolio.core.margin.okx_accounts import okx, swap

D = Decimal
BTC, ETH = Coin("BTC"), Coin("ETH")


@pytest.mark.parametrize(
    ("venue", "word", "mode", "line", "lends_to"),
    [
        ("bybit", "REGULAR_MARGIN", BYBIT_UTA, "1", "0.75"),
        ("binance", "PM_2", BINANCE_PM, "1.05", "1"),
        ("okx", "3", OKX_MULTI_CURRENCY, "1", "1"),
        ("okx", "4", OKX_PORTFOLIO_MARGIN, "1", "1"),
    ],
)
def test_a_venues_word_stands_for_one_mode_and_its_lines(
    venue: str, word: str, mode: AccountMode, line: str, lends_to: str
) -> None:
    assert mode_of(Venue(venue), word) is mode
    assert mode.liquidation_line == D(line)
    assert mode.borrow_line(LeveragePolicy(borrow=D(4))) == D(lends_to)
    assert mode.assumptions


def test_an_account_that_no_rule_values_is_a_settings_error_that_says_what_is() -> None:
    with pytest.raises(SettingsError, match="'ISOLATED_MARGIN'") as caught:
        mode_of(Venue("bybit"), "ISOLATED_MARGIN")
    assert "bybit REGULAR_MARGIN" in str(caught.value.allowed)
    assert len({mode.name for mode in MODES.values()}) == len(MODES) == 4


def short_eth() -> MarginState:
    """10 000 USDT against a naked short of 10 ETH at Binance."""
    return pm(
        "ETH",
        balances=(balance("USDT", "10000"),),
        positions=(position(upm("ETH"), "-10", "3000", leverage="10"),),
        usd={"ETH": "3000"},
    )


def test_binance_liquidates_at_a_uni_mmr_of_1_05_and_the_search_says_so() -> None:
    state, sim = short_eth(), MarginSim(BINANCE_PM)
    found = sim.search(state).prices(ETH)
    assert found.below is None
    assert found.above is not None
    at = {ETH: found.above / D(3000)}
    figures = sim.rule(stressed(state, Scenario("", at)), extrapolate=True).figures
    ratio = figures.adjusted_equity / figures.maintenance_margin
    assert D("1.05") < ratio < D("1.0502")
    # A search at 100 %, another venue's line, would promise a price that is never reached.
    later = liquidation_factors(sim.rule, state, {ETH: D(1)})[1]
    assert later is not None
    assert later > at[ETH]


def test_okx_liquidates_at_100_percent_and_needs_no_batch_for_it() -> None:
    state = okx(
        coins={"BTC": "0.95"},
        usd={"BTC": "60000", "USDT": "1"},
        balances=(balance("USDT", "20000"),),
        positions=(position(swap("BTC"), "-1", "60000"),),
    )
    sim = MarginSim(OKX_MULTI_CURRENCY)
    found = sim.search(state).prices(BTC)
    assert found.above is not None
    at = stressed(state, Scenario("", {BTC: found.above / D(60000)}))
    figures = sim.rule(at, extrapolate=True).figures
    assert D(1) < figures.adjusted_equity / figures.maintenance_margin < D("1.001")


def test_what_is_staked_moves_along_with_its_coin() -> None:
    meth = Coin("METH")
    state = account(
        balances=(balance("METH", "10"), balance("USDT", "0", "25000")),
        usd={"ETH": "3000", "METH": "3000", "USDT": "1"},
        instruments=both("ETH", "METH"),
    )
    alone = MarginSim().search(state).prices(ETH)
    assert (alone.below, alone.above) == (None, None)
    followed = MarginSim(staking={meth: ETH}).search(state).prices(ETH)
    assert followed.below is not None


@pytest.mark.parametrize(("mode", "given"), [(BYBIT_UTA, "bybit"), (BINANCE_PM, "binance")])
def test_a_mode_that_can_follow_ticks_follows_its_own_rule(mode: AccountMode, given: str) -> None:
    bybit = account(
        balances=(balance("USDT", "10000"),),
        positions=(position(perp("ETH"), "-1", "3000"),),
        usd={"ETH": "3000", "USDT": "1"},
        instruments=both("ETH"),
    )
    states: Mapping[str, MarginState] = {"bybit": bybit, "binance": short_eth()}
    assert mode.live is not None
    live = LiveMargin(states[given], mode.live)
    leg = states[given].positions[0].instrument_id
    live.set_mark(leg, D(3300))
    assert live.figures() == mode.rule(live.state()).figures


def test_a_batch_belongs_to_its_rule() -> None:
    assert BYBIT_UTA.compiled is not None
    compiled: CompiledAccount = BYBIT_UTA.compiled(replace(short_eth(), positions=(), balances=()))
    assert compiled.coins == ()
    assert BINANCE_PM.compiled is None


TRADED: dict[str, tuple[AccountMode, Callable[[], MarginState]]] = {
    "bybit": (BYBIT_UTA, lambda: account(positions=(position(perp("BTC"), "1", "9"),), usd={"BTC": "9"})),
    "binance": (BINANCE_PM, short_eth),
    "okx": (
        OKX_MULTI_CURRENCY,
        lambda: okx(
            coins={"BTC": "0.95"},
            usd={"BTC": "9", "USDT": "1"},
            positions=(position(swap("BTC"), "1", "9"),),
        ),
    ),
}


@pytest.mark.parametrize("venue", TRADED)
@pytest.mark.parametrize("leverage", ["0", "-5"])
def test_a_tier_that_grants_no_leverage_is_missing_data_and_no_margin_of_less_than_nothing(
    venue: str, leverage: str
) -> None:
    mode, make = TRADED[venue]
    state = make()
    tiers = {
        key: tuple(replace(row, leverage_max=D(leverage)) for row in rows)
        for key, rows in state.tables.positions.items()
    }
    broken = replace(state, tables=replace(state.tables, positions=tiers))
    with pytest.raises(MissingDataError, match="leverage"):
        mode.rule(broken, extrapolate=True)


def test_a_loan_tier_of_okx_that_grants_no_leverage_is_missing_data() -> None:
    tiers = (BorrowTier(None, D("0.1"), D("0.02"), D(0)),)
    loan = BorrowTable(Coin("USDT"), borrowable=True, hourly_rate=D(0), quantity_max=None, tiers=tiers)
    state = okx(
        coins={"BTC": "0.95"},
        usd={"BTC": "9", "USDT": "1"},
        balances=(balance("USDT", "-5"),),
        borrow=(loan,),
    )
    with pytest.raises(MissingDataError, match="loan leverage"):
        OKX_MULTI_CURRENCY.rule(state)
