"""OKX portfolio margin: units, charges and how they are dealt out."""

from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.account import Position
from portfolio.core.margin.okx_multi_currency import ACCOUNT_ASSUMPTIONS
from portfolio.core.margin.okx_parameters import REDUCTION_TIERS, announced_unit, announced_units
from portfolio.core.margin.okx_portfolio_margin import ASSUMPTIONS, risk_units, value
from portfolio.core.margin.okx_risk_units import UnitMargin, size_factor
from portfolio.core.margin.okx_stress_grid import VOLATILITY_ON_TIES, Scenario, scenarios, worst
from portfolio.core.margin.okx_tables import OkxSizeTier, OkxTables, OkxUnit
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.stress import liquidation_prices
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from tests.portfolio.core.margin.accounts import balance, order, position
from tests.portfolio.core.margin.okx_accounts import okx, spot, swap

D = Decimal
BTC, ETH = Coin("BTC"), Coin("ETH")


def book(
    *positions: Position,
    held: str = "0",
    orders: tuple[RestingOrder, ...] = (),
    locked: str = "0",
    venue: OkxTables | None = None,
) -> MarginState:
    return okx(
        coins={"BTC": "0.98", "ETH": "0.98"},
        quotes=("USDT", "USDC"),
        usd={"BTC": "100", "ETH": "10", "USDT": "1", "USDC": "1"},
        balances=(balance("BTC", held, locked=locked), balance("USDT", "1000")),
        positions=positions,
        orders=orders,
        venue=venue,
    )


def tables(**changes: object) -> OkxTables:
    return replace(OkxTables(D(0), units=announced_units((BTC, ETH))), **changes)  # type: ignore[arg-type]


def only(state: MarginState) -> UnitMargin:
    (unit,) = risk_units(state)
    return unit


def test_spot_offsets_a_short_up_to_what_is_held_what_orders_leave_and_the_cap() -> None:
    short = position(swap("BTC"), "-2", "100")

    def used(state: MarginState) -> tuple[Decimal, Decimal]:
        unit = only(state)
        return unit.spot_in_use, unit.mr1

    assert used(book(short)) == (D(0), D(24))
    assert used(book(short, held="1.5")) == (D("1.5"), D(6))
    assert used(book(short, held="5")) == (D(2), D(0))
    assert used(book(short, held="5", locked="4")) == (D(1), D(12))
    selling = order(spot("BTC"), Side.SELL, "4.5", "100")
    assert used(book(short, held="5", orders=(selling,))) == (D("0.5"), D(18))
    assert used(book(short, held="5", venue=tables(spot_in_use_max={BTC: D(1)}))) == (D(1), D(12))


def test_spot_and_debt_offset_no_long() -> None:
    long = position(swap("BTC"), "2", "100")
    assert (only(book(long, held="-2")).spot_in_use, only(book(long, held="-2")).mr1) == (D(0), D(24))
    assert only(book(long, held="2")).spot_in_use == 0


def test_perpetuals_of_one_coin_net_in_shocks_but_not_in_basis_and_reduction() -> None:
    state = book(
        position(swap("BTC"), "3", "100"),
        position(swap("BTC", "USDC"), "-2", "100"),
        venue=tables(hedge_tiers=(OkxSizeTier(D(150), D("0.005")), OkxSizeTier(None, D("0.01")))),
    )
    unit = only(state)
    assert (unit.delta, unit.mr1, unit.mr6) == (D(100), D(12), D(12))
    assert (unit.mr4, unit.mr7) == (D(1), D("2.25"))
    assert unit.mr9 == 2
    assert unit.maintenance_margin == 12 + 1 + 2
    assert unit.initial_margin == D("19.5")


def test_a_hedged_unit_pays_its_reduction_cost_by_its_size() -> None:
    def mr7(notional: int) -> Decimal:
        size = str(D(notional) / 100)
        unit = only(book(position(swap("BTC"), f"-{size}", "100"), held=size))
        assert unit.maintenance_margin == unit.mr7
        return unit.mr7 / notional

    assert mr7(250_000) == D("0.0045")
    assert mr7(250_001) == D("0.0090")
    assert mr7(4_000_000) == D("0.045")
    assert mr7(5_000_000) == D("0.054")


def test_open_orders_count_at_their_worst() -> None:
    long = position(swap("BTC"), "1", "100")
    buys = order(swap("BTC"), Side.BUY, "2", "90")
    sells = order(swap("BTC"), Side.SELL, "5", "110")
    closing = order(swap("BTC"), Side.SELL, "1", "100", reduce_only=True)
    assert only(book(long, orders=(buys,))).mr1 == 36
    assert only(book(long, orders=(buys, sells))).mr1 == 48
    assert only(book(long, orders=(buys, sells))).mr4 == D("0.8")
    assert only(book(long, orders=(closing,))).mr1 == 12
    # the grid is of the positions as they are
    assert {row.pnl for row in only(book(long, orders=(buys,))).mr1_scenarios} == {0, 4, 8, 12, -4, -8, -12}


def test_a_units_margin_is_dealt_out_by_size_to_positions_and_orders() -> None:
    state = book(
        position(swap("BTC"), "-3", "100"),
        orders=(order(swap("BTC", "USDC"), Side.SELL, "1", "100"),),
    )
    unit = only(state)
    valuation = value(state)
    (leg,) = valuation.legs
    assert leg.initial_margin == unit.initial_margin * 3 / 4
    assert leg.leverage == leg.mark_value / leg.initial_margin
    usdc = valuation.coin(Coin("USDC"))
    assert usdc is not None
    assert usdc.order_im == unit.initial_margin / 4
    assert usdc.position_mm == unit.maintenance_margin / 4
    assert valuation.figures.maintenance_margin == unit.maintenance_margin


def test_a_unit_that_needs_nothing_leaves_the_positions_leverage() -> None:
    free = OkxUnit((D(0),), D(0), D(0), D(0), D(0), (OkxSizeTier(None, D(1)),))
    state = book(position(swap("BTC"), "1", "100", "7"), venue=tables(units={BTC: free}))
    (leg,) = value(state).legs
    assert (leg.leverage, leg.initial_margin) == (D(7), D(0))


def test_the_liquidation_price_of_a_naked_short_lies_above_and_of_a_hedge_nowhere_near() -> None:
    short = position(swap("BTC"), "-20", "100")
    naked = liquidation_prices(value, book(short), BTC)
    assert naked.above is not None
    assert naked.below is None
    hedged = liquidation_prices(value, book(short, held="20"), BTC)
    assert hedged.above is None or hedged.above > naked.above * 4


@pytest.mark.parametrize(
    ("coin", "largest", "basis", "reduction"),
    [
        ("BTC", "0.12", "0.002", "0.0045"),
        ("ETH", "0.12", "0.002", "0.0070"),
        ("LTC", "0.18", "0.008", "0.0070"),
        ("DOT", "0.18", "0.016", "0.0070"),
        ("SOL", "0.25", "0.008", "0.0070"),
        ("HYPE", "0.25", "0.016", "0.0140"),
    ],
)
def test_announced_parameters_go_by_class(coin: str, largest: str, basis: str, reduction: str) -> None:
    unit = announced_unit(Coin(coin))
    assert len(unit.shocks) == 7
    assert (unit.shocks[0], unit.shocks[3], unit.shocks[-1]) == (-D(largest), D(0), D(largest))
    assert (unit.extreme, unit.extreme_share) == (2 * D(largest), D("0.5"))
    assert (unit.basis_rate, unit.reduction_rate) == (D(basis), D(reduction))
    assert unit.reduction_tiers == REDUCTION_TIERS


def test_the_worst_scenario_is_the_largest_loss_and_none_where_nothing_loses() -> None:
    moves = (D("-0.1"), D(0), D("0.2"))
    assert worst(D(-100), moves) == Scenario(D("0.2"), D(-20))
    assert worst(D(100), moves) == Scenario(D("-0.1"), D(-10))
    assert worst(D(100), moves).loss == 10
    nothing = Scenario(D(0), D(0))
    assert worst(D(0), moves) == worst(D(100), ()) == worst(D(100), (D("0.1"),)) == nothing
    assert [row.pnl for row in scenarios(D(100), moves)] == [-10, 0, 20]
    assert Scenario(D(1), D(5)).loss == 0
    assert VOLATILITY_ON_TIES == "up"


def test_beyond_the_last_size_tier_its_factor_holds_on() -> None:
    tiers = (OkxSizeTier(D(10), D(1)), OkxSizeTier(D(20), D(2)))
    assert [size_factor(tiers, D(size)) for size in (10, 11, 21)] == [1, 2, 2]


def test_assumptions_are_sentences_and_those_of_both_modes_come_first() -> None:
    assert ASSUMPTIONS[: len(ACCOUNT_ASSUMPTIONS)] == ACCOUNT_ASSUMPTIONS
    assert len(set(ASSUMPTIONS)) == len(ASSUMPTIONS)
    assert all(text.endswith(".") for text in ASSUMPTIONS)
