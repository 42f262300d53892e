"""Arrays name the line that the exact rule names, at the size where it begins to bind."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from exchanges.paper.history_tables import BINANCE, BYBIT, OKX
from portfolio.backtest.account import AccountModel, Book, legs_of, margin_state
from portfolio.core.book_shares import FixedShares
from portfolio.core.errors import MissingDataError
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.book_screen import BookScreen, CarryAccount
from portfolio.core.margin.carry_tables import carry_tables
from portfolio.core.margin.results import Lines
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.stress import standard_scenarios
from portfolio.core.names import Coin, PairId, Venue
from portfolio.core.risk import LeveragePolicy
from portfolio.core.sizing import SizingInput, narrative_use, size_book
from tests.portfolio.core.margin.test_carry_arrays import COINS, MODELS, PRICES

LIMITS = RiskLimits()
EVEN = 1 / len(COINS)


def account_of(model: AccountModel, book: Book) -> CarryAccount:
    return CarryAccount(
        rule=model.rule,
        tables=model.arrays,
        pair_ids=tuple(pair.pair_id for pair in model.pairs),
        coins=COINS,
        narratives=tuple(pair.narrative for pair in model.pairs),
        perpetuals=tuple(pair.short_leg for pair in model.pairs),
        spot=book.coins,
        short=book.coins,
        entry=book.entry,
        spot_price=PRICES,
        mark=PRICES * 1.001,
        cash=book.cash,
    )


def held(usd: float) -> Book:
    coins = np.array([usd, usd, 0.0, usd, 0.0]) / PRICES
    return Book(coins, np.where(coins > 0, PRICES * 1.1, 0.0), 60_000.0 - 3 * usd)


def sizing(model: AccountModel, book: Book, *, arrays: bool, limits: RiskLimits = LIMITS) -> SizingInput:
    mark = PRICES * 1.001
    return SizingInput(
        sim=MarginSim(model.mode),
        state=margin_state(model, book, PRICES, mark),
        pairs=model.specs,
        legs=legs_of(model, book),
        prices={pair.pair_id: Decimal(repr(float(mark[n]))) for n, pair in enumerate(model.pairs)},
        total_equity=Decimal(60_000),
        carry_apr=0.5,
        borrow_apr=0.06,
        limits=limits,
        account=account_of(model, book) if arrays else None,
    )


@pytest.mark.parametrize("venue", list(MODELS))
@pytest.mark.parametrize("usd", [0.0, 20_000.0])
def test_the_size_found_on_arrays_is_the_one_the_exact_rule_finds(venue: Venue, usd: float) -> None:
    model = MODELS[venue]
    weights = {pair.pair_id: EVEN for pair in model.pairs}
    fast = size_book(FixedShares(weights), sizing(model, held(usd), arrays=True))
    exact = size_book(FixedShares(weights), sizing(model, held(usd), arrays=False))
    assert float(fast.leg_total_usd) == pytest.approx(float(exact.leg_total_usd), abs=0.01 * 60_000)
    assert fast.binding == exact.binding


@pytest.mark.parametrize("venue", list(MODELS))
def test_first_breaches_are_those_of_the_exact_simulation(venue: Venue) -> None:
    model, book = MODELS[venue], held(10_000.0)
    account = account_of(model, book)
    weights = {pair.pair_id: EVEN for pair in model.pairs}
    given = sizing(model, book, arrays=False)
    screen = BookScreen(account, FixedShares(weights), standard_scenarios(COINS), LIMITS)
    for total in (20_000.0, 60_000.0, 110_000.0, 170_000.0, 400_000.0):
        targets = {pair: Decimal(repr(EVEN * total)) / given.prices[pair] for pair in weights}
        simulated = given.sim.simulate(
            given.state, given.pairs, given.legs, targets, stresses=standard_scenarios(COINS),
            lines=Lines.BOOK, book_notional_usd=Decimal(repr(total)),
        )  # fmt: skip
        named = {row.limit for row in simulated.breaches}
        found = screen.first_breaches(np.array([total]))[0]
        assert (found is None) == (not simulated.breaches)
        assert found is None or found in named or found.partition(":")[0] in {"borrow_quota"}


@pytest.mark.parametrize("venue", list(MODELS))
@pytest.mark.parametrize("usd", [0.0, 20_000.0])
def test_what_narratives_consume_is_what_the_exact_rule_says(venue: Venue, usd: float) -> None:
    model, shares = MODELS[venue], FixedShares({pair.pair_id: EVEN for pair in MODELS[venue].pairs})
    total = Decimal(90_000)
    fast = narrative_use(shares, total, sizing(model, held(usd), arrays=True))
    exact = narrative_use(shares, total, sizing(model, held(usd), arrays=False))
    assert set(fast) == {pair.narrative for pair in model.pairs}
    assert fast == pytest.approx(exact, rel=1e-3)


def test_a_narrative_that_the_book_has_nothing_of_is_not_measured() -> None:
    model = MODELS[BYBIT]
    one = FixedShares({model.pairs[0].pair_id: 1.0})
    for arrays in (True, False):
        found = narrative_use(one, Decimal(30_000), sizing(model, held(20_000.0), arrays=arrays))
        assert set(found) == {model.pairs[0].narrative}


def lines_off(
    *,
    usage_max: str = "1000",
    health_min: str = "0",
    stress_usage_max: str = "1000",
    narrative_equity_share_max: str = "1000",
) -> RiskLimits:
    """Every line of the book far away, but those that are named."""
    book = replace(
        LIMITS.book,
        health_min=Decimal(health_min),
        usage_max=Decimal(usage_max),
        market_stress_health_min=Decimal(0),
        market_stress_usage_max=Decimal(1000),
        stress_health_min=Decimal(0),
        stress_usage_max=Decimal(stress_usage_max),
        narrative_equity_share_max=Decimal(narrative_equity_share_max),
    )
    return replace(LIMITS, book=book)


@pytest.mark.parametrize(
    ("limits", "total", "name"),
    [
        (lines_off(usage_max="0.01"), 60_000.0, "usage"),
        (lines_off(health_min="0.999"), 60_000.0, "health"),
        (lines_off(stress_usage_max="0.01"), 60_000.0, "stress:BTC -30%"),
        (lines_off(narrative_equity_share_max="0.001"), 60_000.0, "narrative:BTC"),
        (lines_off(), 4e5, "borrow_rate"),
    ],
)
def test_each_line_is_named(limits: RiskLimits, total: float, name: str) -> None:
    account = account_of(MODELS[BYBIT], held(0.0))
    weights = dict.fromkeys(account.pair_ids, EVEN)
    found = BookScreen(account, FixedShares(weights), standard_scenarios(COINS), limits).first_breaches(
        np.array([total])
    )[0]
    assert found == name


def test_a_position_beyond_its_last_tier_is_named() -> None:
    rich = replace(account_of(MODELS[BYBIT], held(0.0)), cash=1e10)
    weights = dict.fromkeys(rich.pair_ids, EVEN)
    (found,) = BookScreen(rich, FixedShares(weights), (), lines_off()).first_breaches(np.array([3e9]))
    assert found == "position_tier:bybit:linear:BTCUSDT"


def test_debt_beyond_the_quota_is_refused() -> None:
    account = account_of(MODELS[BINANCE], held(0.0))
    small = replace(account, tables=replace(account.tables, borrow_max=10.0))
    weights = dict.fromkeys(account.pair_ids, EVEN)
    screen = BookScreen(small, FixedShares(weights), standard_scenarios(COINS), lines_off())
    assert screen.first_breaches(np.array([70_000.0])) == ["borrow_quota"]


def test_a_book_of_nothing_breaches_nothing() -> None:
    account = replace(account_of(MODELS[OKX], held(0.0)), cash=100.0)
    assert BookScreen(account, FixedShares({}), (), LIMITS).first_breaches(np.array([0.0, 10.0])) == [
        None,
        None,
    ]


def test_an_expected_total_that_fits_is_taken_and_one_that_does_not_is_searched() -> None:
    model = MODELS[OKX]
    weights = {pair.pair_id: EVEN for pair in model.pairs}
    given = sizing(model, held(0.0), arrays=True)
    most = size_book(FixedShares(weights), given)
    easy = size_book(FixedShares(weights), replace(given, expected=Decimal(30_000)))
    assert (easy.leg_total_usd, easy.binding) == (Decimal(30_000), "expected")
    hard = size_book(FixedShares(weights), replace(given, expected=most.leg_total_usd * 3))
    assert float(hard.leg_total_usd) == pytest.approx(float(most.leg_total_usd), abs=600)
    unlevered = replace(given, carry_apr=0.01, expected=Decimal(60_000))
    assert size_book(FixedShares(weights), unlevered).binding == "borrow_cost"


def test_a_ceiling_just_beyond_what_fits_is_searched_in_its_last_part() -> None:
    model = MODELS[OKX]
    weights = {pair.pair_id: EVEN for pair in model.pairs}
    given = sizing(model, held(0.0), arrays=True)
    most = size_book(FixedShares(weights), given).leg_total_usd
    # A budget of 1.02 x the size that fits.
    near = replace(given, volatility=1.0, volatility_budget=float(most) * 1.02 / 60_000)
    found = size_book(FixedShares(weights), near)
    assert float(found.leg_total_usd) == pytest.approx(float(most), abs=100)
    assert found.binding != "volatility"
    below = replace(given, volatility=1.0, volatility_budget=float(most) * 0.9 / 60_000)
    assert size_book(FixedShares(weights), below).binding == "volatility"


def test_a_verified_set_of_stresses_is_the_exact_rules_last_word() -> None:
    model = MODELS[BYBIT]
    weights = {pair.pair_id: EVEN for pair in model.pairs}
    given = sizing(model, held(0.0), arrays=True)
    trusting = size_book(
        FixedShares(weights), replace(given, verified=(), scenarios=standard_scenarios(COINS))
    )
    assert float(trusting.leg_total_usd) == pytest.approx(
        float(size_book(FixedShares(weights), given).leg_total_usd), abs=600
    )
    # Arrays that were told of no stress are caught by the exact rule.
    blind = size_book(FixedShares(weights), replace(given, verified=standard_scenarios(COINS), scenarios=()))
    assert blind.leg_total_usd <= trusting.leg_total_usd * Decimal("1.01")


def test_tables_need_a_fee_and_know_what_is_no_collateral_and_not_lent() -> None:
    model = MODELS[BYBIT]
    perpetuals = [pair.short_leg for pair in model.pairs]
    spots = [pair.long_leg for pair in model.pairs]
    args = (LeveragePolicy(), COINS, perpetuals, spots, Coin("USDT"), [50.0] * len(COINS))
    with pytest.raises(MissingDataError, match="no fee rate"):
        carry_tables(replace(model.tables, fees={}), *args)
    btc = replace(model.tables.collateral[Coin("BTC")], enabled=False)
    usdt = replace(model.tables.borrow[Coin("USDT")], borrowable=False)
    found = carry_tables(
        replace(
            model.tables,
            collateral={**model.tables.collateral, Coin("BTC"): btc},
            borrow={Coin("USDT"): usdt},
        ),
        *args,
    )
    assert found.borrow_max == 0
    assert found.counted(np.ones((1, 5)), PRICES[None, :], np.zeros(1))[0, 0] == 0
    assert PairId("BTC@bybit") == model.pairs[0].pair_id
