"""The Bybit rule against printed examples and captured payloads."""

from dataclasses import replace
from decimal import ROUND_DOWN, Decimal

import pytest

from portfolio.core.account import Position
from portfolio.core.errors import InputError, MissingDataError, NumberError, RefusedError, SettingsError
from portfolio.core.margin.bybit_batch import BybitBatch
from portfolio.core.margin.bybit_live import BybitLive
from portfolio.core.margin.bybit_uta import ASSUMPTIONS, liquidation_estimate, rate_text, value
from portfolio.core.margin.incremental import LiveMargin
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import BorrowTier, CollateralTable, LeveragePolicy, RiskTables
from tests.portfolio.core.margin.accounts import (
    BYBIT,
    TIERS,
    account,
    balance,
    both,
    chain,
    flat_ratio,
    lending,
    order,
    perp,
    position,
    ratios,
    spot,
    tables,
    tier,
)
from tests.portfolio.core.margin.golden_bybit import (
    DEDUCTIONS,
    EXACT,
    HIGH_LEVERAGE,
    MILLIONS,
    PERCENTS,
    captured,
    captured_account,
    printed_example,
)

D = Decimal
BTC, USDT = Coin("BTC"), Coin("USDT")


def test_the_printed_example_comes_out_as_printed() -> None:
    valuation = value(printed_example())
    figures = valuation.figures
    usdt, btc = valuation.coin(USDT), valuation.coin(BTC)
    assert usdt is not None
    assert btc is not None
    assert (usdt.equity, usdt.unrealised_pnl, usdt.borrowed) == (D(-10500), D(-500), D(10500))
    assert btc.collateral_usd == 29890
    assert valuation.margin_balance == figures.adjusted_equity == 19390
    (leg,) = valuation.legs
    assert leg.initial_margin == D("3068.15")
    assert leg.maintenance_margin == D("118.80")
    assert (usdt.borrow_im, usdt.borrow_mm) == (D(1050), D(420))
    assert figures.initial_margin == D("4118.15")
    assert figures.maintenance_margin == D("538.80")
    assert rate_text(figures.initial_margin, figures.adjusted_equity) == "0.2123"
    assert rate_text(figures.maintenance_margin, figures.adjusted_equity) == "0.0277"
    assert valuation.available == D("15271.85")
    assert figures.total_equity == 20000
    assert valuation.perpetual_pnl == -500


@pytest.mark.parametrize(("args", "initial", "maintenance"), EXACT)
def test_captured_positions_at_leverage_ten_match_to_the_last_digit(
    args: tuple[str, str, str, str, str, str, str, str], initial: str, maintenance: str
) -> None:
    leg = captured(*args)
    step = D("1e-8")
    assert leg.initial_margin.quantize(step, ROUND_DOWN) == D(initial)
    assert leg.maintenance_margin.quantize(step, ROUND_DOWN) == D(maintenance)


@pytest.mark.parametrize(("args", "initial", "maintenance"), HIGH_LEVERAGE)
def test_captured_positions_at_higher_leverage_match_within_a_hair_of_the_fee_term(
    args: tuple[str, str, str, str, str, str, str, str], initial: str, maintenance: str
) -> None:
    leg = captured(*args)
    fee = leg.initial_margin - leg.mark_value / leg.leverage
    tolerance = fee * D("1.2e-5") + D("1e-8")
    assert abs(leg.initial_margin - D(initial)) <= tolerance
    assert abs(leg.maintenance_margin - D(maintenance)) <= tolerance


def test_deductions_of_the_captured_btc_tiers_follow_the_recursion() -> None:
    rows = chain(("300000", "0.0033", "150"), ("2000000", "0.005", "100"), ("2600000", "0.0056", "90"))
    assert [row.deduction for row in rows] == [0, 510, 1710]


def test_deductions_of_the_older_full_btc_table_follow_the_recursion() -> None:
    rows = chain(
        *(
            (str(D(limit) * 1_000_000), str(D(rate) / 100), "10")
            for limit, rate in zip(MILLIONS.split(), PERCENTS.split(), strict=True)
        )
    )
    assert [row.deduction for row in rows] == [D(text) for text in DEDUCTIONS.split()]


def test_the_liquidation_estimate_matches_the_captured_account_of_one_position() -> None:
    valuation = captured_account()
    assert liquidation_estimate(valuation, valuation.legs[0]) == pytest.approx(D("176.89650"), abs=D("0.001"))


def test_an_account_with_nothing_in_it_has_zero_figures_health_zero_and_no_usage() -> None:
    valuation = value(account())
    figures = valuation.figures
    assert figures.total_equity == figures.adjusted_equity == 0
    assert figures.initial_margin == figures.maintenance_margin == 0
    assert figures.health_score == 0
    assert figures.margin_usage is None
    assert valuation.coins == ()
    assert valuation.legs == ()
    assert valuation.coin(BTC) is None
    assert rate_text(D(1), D(0)) == ""


def test_an_account_of_only_debt_has_negative_ecv_and_health_zero() -> None:
    figures = value(account(balances=(balance("USDT", "0", "100"),), usd={"USDT": "1"})).figures
    assert figures.adjusted_equity == -100
    assert figures.maintenance_margin == 4
    assert figures.health_score == 0
    assert figures.margin_usage is None


def test_a_coin_row_of_zeros_needs_neither_price_nor_table() -> None:
    assert value(account(balances=(balance("DUST", "0"),))).coins == ()


def test_collateral_counts_bracket_by_bracket_and_not_beyond_the_last() -> None:
    table = ratios(
        "BTC", ("0", "10", "0.98"), ("10", "20", "0.95"), ("20", "30", "0.90"), ("30", "40", "0.85")
    )
    instruments = both("BTC")
    risk = tables(instruments)
    risk = RiskTables(0, {**risk.collateral, BTC: table}, risk.borrow, risk.positions, risk.fees)
    for held, counted in (("0.000001", "0.00000098"), ("10", "9.8"), ("15", "14.55"), ("41", "36.8")):
        state = account(
            balances=(balance("BTC", held),), usd={"BTC": "1"}, instruments=instruments, risk=risk
        )
        row = value(state).coins[0]
        assert row.collateral_usd == D(counted)
        assert row.haircut_usd == D(held) - D(counted)
        assert row.haircut == row.haircut_usd / row.usd


def test_a_coin_that_is_no_collateral_counts_nothing_but_its_debt_counts_in_full() -> None:
    instruments = both("BTC")
    risk = tables(instruments)
    off = CollateralTable(BTC, enabled=False, tiers=flat_ratio("BTC", "0.9").tiers)
    risk = RiskTables(0, {**risk.collateral, BTC: off}, risk.borrow, risk.positions, risk.fees)
    held, owed = (
        value(account(balances=(row,), usd={"BTC": "1"}, instruments=instruments, risk=risk)).figures
        for row in (balance("BTC", "2"), balance("BTC", "0", "2"))
    )
    assert (held.total_equity, held.adjusted_equity) == (D(2), D(0))
    assert (owed.total_equity, owed.adjusted_equity) == (D(-2), D(-2))


def test_holding_a_coin_does_not_free_the_margin_of_owing_it() -> None:
    # captured wallet-balance row: wallet 1200, spotBorrow 200, equity 1000, borrowAmount 200
    row = value(account(balances=(balance("USDT", "1200", "200"),), usd={"USDT": "1"})).coins[0]
    assert (row.equity, row.borrowed, row.borrow_im, row.borrow_mm) == (D(1000), D(200), D(20), D(8))


def test_coins_locked_beyond_what_is_there_need_borrow_margin() -> None:
    row = value(account(balances=(balance("USDT", "100", "0", "150"),), usd={"USDT": "1"})).coins[0]
    assert (row.equity, row.borrowed) == (D(100), D(50))


def test_accrued_interest_changes_nothing() -> None:
    plain = balance("USDT", "0", "100")
    shown = type(plain)(plain.coin, plain.wallet, plain.spot_borrow, D(7), plain.locked)
    usd = {"USDT": "1"}
    assert value(account(balances=(plain,), usd=usd)) == value(account(balances=(shown,), usd=usd))


def test_borrow_initial_margin_takes_the_larger_of_tier_and_leverage() -> None:
    state = account(
        balances=(balance("USDT", "0", "100"),),
        usd={"USDT": "1"},
        policy=LeveragePolicy(borrow=D(4)),
    )
    assert value(state).coins[0].borrow_im == 25
    rows = (BorrowTier(D(50), D("0.1"), D("0.04"), D(10)), BorrowTier(D(200), D("0.5"), D("0.1"), D(2)))
    risk = state.tables
    lent = RiskTables(0, risk.collateral, {USDT: lending("USDT", tiers=rows)}, risk.positions, risk.fees)
    row = value(account(balances=state.balances, usd={"USDT": "1"}, risk=lent)).coins[0]
    assert (row.borrow_im, row.borrow_mm) == (D(50), D(10))
    beyond = account(balances=(balance("USDT", "0", "201"),), usd={"USDT": "1"}, risk=lent)
    with pytest.raises(RefusedError) as refused:
        value(beyond)
    assert refused.value.field == "borrow_quota:USDT"
    assert value(beyond, extrapolate=True).coins[0].borrow_mm == D("20.1")
    edge = account(balances=(balance("USDT", "0", "200"),), usd={"USDT": "1"}, risk=lent)
    assert value(edge).coins[0].borrow_mm == 20


def test_a_settlement_coin_without_a_balance_row_is_valued_too() -> None:
    state = account(
        positions=(position(perp("BTC"), "1", "100"),), usd={"USDT": "2"}, marks={perp("BTC"): "90"}
    )
    valuation = value(state)
    assert [row.coin for row in valuation.coins] == [USDT]
    assert valuation.figures.total_equity == -20
    assert valuation.coins[0].borrowed == 10
    # amounts of the leg are in the coin, figures in USD
    assert valuation.figures.maintenance_margin == 2 * (valuation.legs[0].maintenance_margin + D("0.4"))


def test_tiers_meet_without_a_step() -> None:
    def maintenance(quantity: str) -> Decimal:
        state = account(
            balances=(balance("USDT", "1000000"),),
            positions=(position(perp("BTC"), quantity, "1"),),
            usd={"BTC": "1", "USDT": "1"},
        )
        return value(state).figures.maintenance_margin

    for limit in (300_000, 2_000_000):
        below, at, above = (maintenance(str(limit + D(step))) for step in ("-0.000001", "0", "0.000001"))
        assert D(0) < at - below < D("1e-6")
        assert D(0) < above - at < D("1e-6")


def test_a_position_beyond_its_last_tier_is_refused_by_name_unless_extrapolated() -> None:
    state = account(
        balances=(balance("USDT", "1e9"),),
        positions=(position(perp("BTC"), "80000001", "1"),),
        usd={"BTC": "1", "USDT": "1"},
    )
    with pytest.raises(RefusedError) as refused:
        value(state)
    assert refused.value.field == "position_tier:bybit:linear:BTCUSDT"
    edge = replace(state, positions=(position(perp("BTC"), "80000000", "1"),))
    assert value(edge) == value(edge, extrapolate=True)
    last = TIERS[-1]
    expected = D(80000001) * (last.maintenance_rate + D("0.00055") * D("0.9")) - last.deduction
    assert value(state, extrapolate=True).figures.maintenance_margin == expected


def test_leverage_is_the_venues_or_the_policys_and_never_above_the_tiers_maximum() -> None:
    state = account(
        balances=(balance("USDT", "1e9"),),
        positions=(position(perp("BTC"), "100", "1", leverage="50"),),
        usd={"BTC": "1", "USDT": "1"},
        policy=LeveragePolicy(perpetual=D(5)),
    )
    large = account(
        balances=state.balances,
        positions=(position(perp("BTC"), "3000000", "1", leverage="50"),),
        usd={"BTC": "1", "USDT": "1"},
    )
    assert value(state).legs[0].leverage == 50
    assert value(state, reference=True).legs[0].leverage == 5
    assert value(large).legs[0].leverage == 25


def test_open_perpetual_orders_need_margin_lose_at_once_and_choose_the_tier() -> None:
    key = perp("BTC")
    state = account(
        balances=(balance("USDT", "100000"),),
        positions=(position(key, "200000", "1"),),
        orders=(
            order(key, Side.BUY, "200000", "1.01"),
            order(key, Side.SELL, "10", "0.9"),
            order(key, Side.SELL, "100", "1.5", reduce_only=True),
        ),
        usd={"BTC": "1", "USDT": "1"},
    )
    valuation = value(state)
    taker = D("0.00055")
    buy = D(202000) * (D("0.1") + taker + taker * D("0.9"))
    sell = D(9) * (D("0.1") + taker + taker * D("1.1"))
    assert valuation.coins[0].order_im == buy + sell
    # the buy would fill 0.01 above the mark, the sell 0.1 below it; the reduce-only one above it gains
    assert valuation.order_loss == -2000 - 1
    assert valuation.figures.adjusted_equity == 100000 - 2001
    assert valuation.available == 100000 - valuation.figures.initial_margin
    second = TIERS[1]
    share = second.deduction * 200000 / 400010
    fee = D(200000) * D("0.9") * taker
    assert valuation.legs[0].maintenance_margin == 200000 * second.maintenance_rate - share + fee


def test_orders_without_a_position_use_the_policys_leverage() -> None:
    key = perp("BTC")
    state = account(
        balances=(balance("USDT", "1000"),),
        orders=(order(key, Side.BUY, "10", "1"),),
        usd={"BTC": "1", "USDT": "1"},
        policy=LeveragePolicy(perpetual=D(2)),
    )
    expected = 10 * (D("0.5") + D("0.00055") * D("1.5"))
    assert value(state).figures.initial_margin == expected
    assert value(state, reference=True).figures.initial_margin == expected
    assert value(state).figures.maintenance_margin == 0


def test_open_spot_orders_cost_the_collateral_that_the_swap_would_lose() -> None:
    usd = {"BTC": "100", "USDT": "1"}
    buy = order(spot("BTC"), Side.BUY, "2", "100")
    sell = order(spot("BTC"), Side.SELL, "2", "100")
    rich, short = (balance("USDT", "1000"),), (balance("USDT", "50"),)
    assert value(account(balances=rich, orders=(buy,), usd=usd)).haircut_loss == 10
    # what the wallet lacks becomes debt, which counts in full as well
    assert value(account(balances=short, orders=(buy,), usd=usd)).haircut_loss == 10
    held = (balance("BTC", "2"),)
    assert value(account(balances=held, orders=(sell,), usd=usd)).haircut_loss == 0
    assert value(account(balances=rich, orders=(sell,), usd=usd)).haircut_loss == 0
    valuation = value(account(balances=rich, orders=(buy,), usd=usd))
    assert valuation.figures.adjusted_equity == 990
    assert valuation.haircut_usd == 10
    assert valuation.consumed_usd == 10


def test_a_size_of_a_million_million_keeps_every_digit_that_matters() -> None:
    key = perp("BTC")
    instruments = both("BTC")
    state = account(
        balances=(balance("USDT", "1e12"), balance("BTC", "1e12")),
        positions=(position(key, "-1e12", "1.000001"),),
        usd={"BTC": "1.000003", "USDT": "1"},
        instruments=instruments,
        risk=tables(instruments, positions={key: (tier("1e13", "0.01", "50"),)}),
    )
    assert value(state).figures.total_equity == D("2000001000000")


@pytest.mark.parametrize(
    ("state", "field"),
    [
        (account(balances=(balance("BTC", "1"),)), "prices.usd.BTC"),
        (account(positions=(position(perp("BTC"), "1", "1"),), usd={"USDT": "1"}), "prices.marks"),
        (account(positions=(position(perp("SOL"), "1", "1"),), marks={perp("SOL"): "1"}), "tables.positions"),
        (account(orders=(order(perp("SOL"), Side.BUY, "1", "1"),)), "instruments.bybit:linear:SOLUSDT"),
        (account(positions=(position(perp("BTC"), "1", "1", "0"),), usd={"BTC": "1"}), "leverage."),
        (
            account(
                positions=(position(perp("BTC"), "1", "1"),),
                usd={"BTC": "1", "USDT": "1"},
                risk=RiskTables(0, {}, {}, {perp("BTC"): TIERS}, {}),
            ),
            "tables.fees.",
        ),
        (
            account(balances=(balance("BTC", "1"),), usd={"BTC": "1"}, risk=RiskTables(0, {}, {}, {}, {})),
            "tables.collateral.BTC",
        ),
        (
            account(
                balances=(balance("BTC", "0", "1"),), usd={"BTC": "1"}, risk=RiskTables(0, {}, {}, {}, {})
            ),
            "tables.borrow.BTC",
        ),
    ],
)
def test_a_missing_input_is_an_error_that_names_it(state: MarginState, field: str) -> None:
    with pytest.raises(MissingDataError) as missing:
        value(state)
    assert missing.value.field is not None
    assert missing.value.field.startswith(field)
    assert missing.value.next_step


def test_a_borrow_leverage_of_zero_is_refused() -> None:
    with pytest.raises(SettingsError):
        value(account(policy=LeveragePolicy(borrow=D(0))))


def test_the_assumptions_are_sentences() -> None:
    assert len(ASSUMPTIONS) == 8
    assert all(text.endswith(".") for text in ASSUMPTIONS)


def test_the_mark_of_the_prices_counts_not_the_one_stored_with_the_position() -> None:
    stale = Position(perp("BTC"), D(1), D(100), D(1), D(10))
    state = account(positions=(stale,), usd={"USDT": "1"}, marks={perp("BTC"): "110"})
    assert value(state).legs[0].unrealised_pnl == 10
    assert state.instruments[perp("BTC")].venue == BYBIT


# --- what no account can be ------------------------------------------------------------------------------


def unsound() -> dict[str, MarginState]:
    sound = account(
        balances=(balance("USDT", "100"), balance("BTC", "1")),
        positions=(position(perp("BTC"), "1", "100"),),
        orders=(order(perp("BTC"), Side.BUY, "1", "90"), order(spot("BTC"), Side.BUY, "1", "90")),
        usd={"BTC": "100", "USDT": "1"},
    )
    (usdt, btc), (long,), (bid, swap) = sound.balances, sound.positions, sound.orders
    return {
        "a wallet that is no number": replace(sound, balances=(replace(usdt, wallet=D("NaN")), btc)),
        "an endless wallet": replace(sound, balances=(replace(usdt, wallet=D("Infinity")), btc)),
        "a negative debt": replace(sound, balances=(replace(usdt, spot_borrow=D(-5)), btc)),
        "a debt that is no number": replace(sound, balances=(replace(usdt, spot_borrow=D("sNaN")), btc)),
        "a position of no size": replace(sound, positions=(replace(long, quantity=D("NaN")),)),
        "a negative entry": replace(sound, positions=(replace(long, entry_price=D(-100)),)),
        "a leverage that is no number": replace(sound, positions=(replace(long, leverage=D("NaN")),)),
        "an order of negative size": replace(sound, orders=(replace(bid, quantity=D(-1)), swap)),
        "a swap at no price": replace(sound, orders=(bid, replace(swap, limit_price=D("NaN")))),
    }


@pytest.mark.parametrize("name", unsound())
def test_what_no_account_can_be_is_a_typed_error_in_every_form_of_the_rule(name: str) -> None:
    state = unsound()[name]
    for valued in (
        lambda: value(state, extrapolate=True),
        lambda: BybitBatch(state),
        lambda: LiveMargin(state, BybitLive()).figures(),
    ):
        with pytest.raises(NumberError) as refused:
            valued()
        assert refused.value.field
        assert refused.value.next_step


def test_a_coin_or_a_perpetual_that_is_there_twice_is_refused_and_not_counted_twice() -> None:
    sound = account(
        balances=(balance("USDT", "100"),),
        positions=(position(perp("BTC"), "1", "100"),),
        usd={"BTC": "100", "USDT": "1"},
    )
    for twice in (
        replace(sound, balances=sound.balances * 2),
        replace(sound, positions=sound.positions * 2),
    ):
        for valued in (lambda state=twice: value(state), lambda state=twice: BybitBatch(state)):
            with pytest.raises(InputError, match="is there twice"):
                valued()
