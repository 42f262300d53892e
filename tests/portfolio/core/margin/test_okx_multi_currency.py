"""OKX multi-currency margin, term by term."""

from dataclasses import replace
from decimal import Decimal

from portfolio.core.margin.modes import OKX_MULTI_CURRENCY
from portfolio.core.margin.okx_multi_currency import (
    ACCOUNT_ASSUMPTIONS,
    ASSUMPTIONS,
    available_equity,
    margin_ratio,
    value,
    venue_mmr,
)
from portfolio.core.margin.okx_tables import OkxTables
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, liquidation_prices, stressed
from portfolio.core.margin.valuation import CoinValue, Valuation
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import BorrowTable, BorrowTier, LeveragePolicy
from tests.portfolio.core.margin.accounts import balance, order, position, ratios
from tests.portfolio.core.margin.okx_accounts import coin_tiers, okx, spot, swap

D = Decimal
BTC, USDT, STETH = Coin("BTC"), Coin("USDT"), Coin("STETH")


def carry(price: str = "60000") -> MarginState:
    """1 BTC of spot bought with a loan of 40 000 USDT, and a short of 1 BTC from 60 000."""
    return okx(
        coins={"BTC": "0.95"},
        usd={"BTC": price, "USDT": "1"},
        balances=(balance("BTC", "1"), balance("USDT", "-40000")),
        positions=(position(swap("BTC"), "-1", "60000"),),
    )


def coin(valuation: Valuation, name: Coin) -> CoinValue:
    row = valuation.coin(name)
    assert row is not None
    return row


def test_a_carry_on_a_loan_is_valued_coin_by_coin() -> None:
    valuation = value(carry("62000"))
    usdt, btc = coin(valuation, USDT), coin(valuation, BTC)
    assert (usdt.equity, usdt.unrealised_pnl, usdt.borrowed) == (D(-42000), D(-2000), D(42000))
    assert usdt.collateral_usd == -42000
    assert (btc.usd, btc.collateral_usd, btc.haircut_usd) == (D(62000), D(58900), D(3100))
    assert usdt.borrow_im == 4200
    assert usdt.borrow_mm == D(42000) * D("0.03") + D(42000) * D("1.03") * D("0.001")
    (leg,) = valuation.legs
    assert (leg.initial_margin, leg.maintenance_margin) == (D(6200), D(62000) * D("0.0045"))
    assert valuation.figures.adjusted_equity == D(58900) - 42000
    assert valuation.figures.initial_margin == 10400
    assert valuation.liquidation_fees == D(62000) * D("0.0005") + D("43.26")
    assert venue_mmr(valuation) == D(62000) * D("0.004") + 1260
    ratio = margin_ratio(valuation)
    assert ratio == D(16900) / (248 + 1260 + valuation.liquidation_fees)


def test_a_rally_hurts_a_delta_neutral_account_with_haircut_collateral() -> None:
    lost = value(carry()).figures.adjusted_equity - value(carry("66000")).figures.adjusted_equity
    assert lost == D(6000) * D("0.05")
    prices = liquidation_prices(value, carry(), BTC)
    assert prices.above is not None
    assert prices.below is None


def test_the_rate_of_a_tier_holds_for_the_whole_position() -> None:
    tiers = coin_tiers(("1", "0.01", "0.004", "100"), ("2", "0.02", "0.01", "50"))

    def mmr(quantity: str) -> Decimal:
        state = okx(
            coins={"BTC": "1"},
            usd={"BTC": "100", "USDT": "1"},
            positions=(position(swap("BTC"), quantity, "100"),),
            tiers=tiers,
        )
        return venue_mmr(value(state))

    assert mmr("1") == D("0.4")
    assert mmr("-1.5") == D("1.5")


def test_leverage_is_held_to_the_tiers_maximum_and_rate() -> None:
    state = okx(
        coins={"BTC": "1"},
        usd={"BTC": "100", "USDT": "1"},
        positions=(position(swap("BTC"), "1", "100", "75"),),
        tiers=coin_tiers(("1", "0.03", "0.01", "50")),
    )
    (leg,) = value(state).legs
    assert (leg.leverage, leg.initial_margin) == (D(50), D(3))
    (leg,) = value(state, reference=True).legs
    assert (leg.leverage, leg.initial_margin) == (D(10), D(10))


def test_minimum_rate_above_the_last_discount_tier_or_nothing() -> None:
    def counted(*tail: tuple[str, str | None, str]) -> Decimal:
        state = okx(
            coins={"BTC": "1"},
            usd={"BTC": "1", "USDT": "1"},
            balances=(balance("BTC", "100"),),
            collateral={"BTC": ratios("BTC", ("0", "20", "0.5"), *tail)},
        )
        return value(state).figures.adjusted_equity

    assert counted() == 10
    assert counted(("20", None, "0.1")) == 18


def test_a_liquid_staking_token_counts_by_its_own_table_and_price_and_nothing_where_it_is_not_listed() -> (
    None
):
    listed = okx(
        coins={"ETH": "0.98"},
        usd={"ETH": "3000", "BETH": "2990", "STETH": "2985", "USDT": "1"},
        balances=(balance("BETH", "1000"), balance("STETH", "10")),
        collateral={
            "BETH": replace(ratios("BETH", ("0", "2000000", "0.95"), ("2000000", None, "0.85")), in_usd=True)
        },
    )
    valuation = value(listed)
    assert coin(valuation, Coin("BETH")).collateral_usd == D(2000000) * D("0.95") + D(990000) * D("0.85")
    assert coin(valuation, STETH).collateral_usd == 0
    assert coin(valuation, STETH).haircut == 1
    assert valuation.figures.total_equity == 2990000 + 29850
    depegged = value(stressed(listed, Scenario("depeg", {Coin("BETH"): D("0.95")})))
    lost = valuation.figures.adjusted_equity - depegged.figures.adjusted_equity
    assert lost == D(2990000) * D("0.05") * D("0.85")


def test_accrued_interest_is_debt() -> None:
    row = replace(balance("USDT", "0"), accrued_interest=D(5))
    valuation = value(okx(coins={}, usd={"USDT": "1"}, balances=(row,)))
    assert coin(valuation, USDT).borrowed == 5
    assert valuation.figures.adjusted_equity == -5


def test_borrow_margin_goes_by_the_coins_leverage_and_the_tier_of_the_whole_debt() -> None:
    tiers = (BorrowTier(D(100), D("0.1"), D("0.03"), D(10)), BorrowTier(None, D("0.2"), D("0.06"), D(5)))
    table = BorrowTable(USDT, borrowable=True, hourly_rate=D(0), quantity_max=None, tiers=tiers)

    def margins(
        owed: str, *, leverage: str | None = None, reference: bool = False
    ) -> tuple[Decimal, Decimal]:
        own = {} if leverage is None else {USDT: D(leverage)}
        state = okx(
            coins={},
            usd={"USDT": "1"},
            balances=(balance("USDT", f"-{owed}"),),
            borrow=(table,),
            venue=OkxTables(D(0), borrow_leverage=own),
        )
        row = coin(value(state, reference=reference), USDT)
        return row.borrow_im, row.borrow_mm

    assert margins("100") == (D(10), D(3))
    assert margins("200") == (D(40), D(12))
    assert margins("100", leverage="4") == (D(25), D(3))
    assert margins("100", leverage="4", reference=True) == (D(10), D(3))
    assert margins("100", leverage="50") == (D(10), D(3))


def test_open_perpetual_orders_need_both_margins_at_their_limit_and_lift_the_tier() -> None:
    tiers = coin_tiers(("1", "0.01", "0.004", "100"), ("3", "0.02", "0.01", "50"))
    resting = (
        order(swap("BTC"), Side.BUY, "1", "90"),
        order(swap("BTC"), Side.SELL, "1", "120"),
        order(swap("BTC"), Side.SELL, "5", "100", reduce_only=True),
        order(swap("BTC"), Side.SELL, "0", "100"),
    )
    state = okx(
        coins={"BTC": "1"},
        usd={"BTC": "100", "USDT": "1"},
        positions=(position(swap("BTC"), "1", "100"),),
        orders=resting,
        tiers=tiers,
    )
    valuation = value(state)
    assert coin(valuation, USDT).order_im == 21
    assert venue_mmr(valuation) == D("0.01") * (100 + 90 + 120)
    # fees of all orders, also of those that reduce, leave adjusted equity
    assert valuation.order_loss == -D("0.0005") * (90 + 120 + 500)
    alone = value(replace(state, positions=(), orders=resting[:1]))
    assert alone.legs == ()
    assert alone.figures.initial_margin == 9
    assert coin(alone, USDT).order_im == 9


def test_a_spot_order_costs_what_its_swap_loses_after_all_the_others() -> None:
    def loss(*sizes: str) -> Decimal:
        state = okx(
            coins={"BTC": "0.9"},
            usd={"BTC": "100", "USDT": "1"},
            balances=(balance("USDT", "150"),),
            orders=tuple(order(spot("BTC"), Side.BUY, size, "100") for size in sizes),
        )
        return value(state).haircut_loss

    assert loss("1") == 10
    # USDT owed weighs in full whatever was bought first: the worst place counts for both
    assert loss("1", "1") == 20
    assert loss() == 0


def test_a_spot_order_above_the_index_costs_its_price_and_one_below_gains_nothing() -> None:
    def loss(side: Side, price: str) -> Decimal:
        state = okx(
            coins={"BTC": "1"},
            usd={"BTC": "100", "USDT": "1"},
            balances=(balance("USDT", "1000"), balance("BTC", "5")),
            orders=(order(spot("BTC"), side, "1", price),),
        )
        return value(state).haircut_loss

    assert loss(Side.BUY, "103") == 3
    assert loss(Side.BUY, "97") == 0
    assert loss(Side.SELL, "97") == 3


def test_open_spot_orders_need_initial_margin_for_what_they_would_borrow() -> None:
    state = okx(
        coins={"BTC": "1"},
        usd={"BTC": "100", "USDT": "1"},
        balances=(balance("USDT", "150"),),
        orders=(order(spot("BTC"), Side.BUY, "2", "100"), order(spot("BTC"), Side.SELL, "1", "100")),
    )
    valuation = value(state)
    assert (coin(valuation, USDT).borrow_im, coin(valuation, USDT).borrow_mm) == (D(5), D(0))
    # the coin to be sold is not held at all: it still has a row
    assert (coin(valuation, BTC).borrow_im, coin(valuation, BTC).equity) == (D(10), D(0))
    frozen = replace(state, orders=(), balances=(balance("USDT", "150", locked="250"),))
    assert coin(value(frozen), USDT).borrow_im == 10


def test_coins_over_the_collateral_cap_back_no_new_orders() -> None:
    state = okx(
        coins={"BTC": "0.9", "ETH": "0.9"},
        usd={"BTC": "100", "ETH": "10", "USDT": "1"},
        balances=(balance("BTC", "2"), balance("ETH", "-1"), balance("USDT", "50")),
        venue=OkxTables(D(0), restricted=frozenset({BTC, Coin("ETH")})),
    )
    valuation = value(state)
    figures = valuation.figures
    assert figures.adjusted_equity == 180 - 10 + 50
    assert available_equity(state, valuation) == figures.adjusted_equity - 180 - figures.initial_margin


def test_a_rebate_is_no_fee() -> None:
    state = carry()
    fees = {key: replace(row, taker=D("-0.0001")) for key, row in state.tables.fees.items()}
    state = replace(
        state,
        tables=replace(state.tables, fees=fees),
        orders=(order(swap("BTC"), Side.SELL, "1", "60000"),),
    )
    valuation = value(state)
    assert valuation.order_loss == 0
    assert valuation.liquidation_fees == D(40000) * D("1.03") * D("0.001")


def test_the_what_if_runs_on_the_rule() -> None:
    state = carry()
    assert MarginSim(OKX_MULTI_CURRENCY).simulate(state, {}, {}, {}).before.maintenance_margin == (
        value(state).figures.maintenance_margin
    )


def test_assumptions_are_sentences_and_those_of_both_modes_come_first() -> None:
    assert ASSUMPTIONS[: len(ACCOUNT_ASSUMPTIONS)] == ACCOUNT_ASSUMPTIONS
    assert len(set(ASSUMPTIONS)) == len(ASSUMPTIONS)
    assert all(text.endswith(".") for text in ASSUMPTIONS)


def test_the_policys_borrow_leverage_holds_where_the_account_sets_none() -> None:
    state = replace(carry(), policy=LeveragePolicy(D(10), D(4)))
    assert coin(value(state), USDT).borrow_im == 10000
