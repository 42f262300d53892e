from decimal import Decimal

from exchanges.paper.commands import AutoDeleverage, ChangeTables, Shock
from exchanges.paper.core import VenueCore
from exchanges.paper.rows import ExecutionType, OrderNotice, VenueOrderStatus
from portfolio.core.decimals import ZERO
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import CollateralTable, CollateralTier
from tests.exchanges.paper.venues import (
    BTC,
    BTC_PERP,
    BTC_SPOT,
    SOL_SPOT,
    USDT,
    debt,
    do,
    order,
    run,
    venue,
    wallet,
)


def carry(*, usdt: str = "20000", size: str = "1") -> VenueCore:
    core = venue(usdt=usdt)
    do(core, order(BTC_SPOT, Side.BUY, size, borrow=True))
    do(core, order(BTC_PERP, Side.SELL, size))
    core.advance(core.now_ns)
    return core


def test_a_healthy_account_is_left_alone_for_a_day() -> None:
    core = carry()
    run(core, hours=24)
    assert core.positions()[0].position is not None
    assert {row.create_type for row in core.closed_orders()} == {"CreateByUser"}


def test_an_account_at_the_line_loses_orders_then_debt_then_positions_and_survives() -> None:
    core = carry()
    do(core, order(BTC_PERP, Side.BUY, "0.1", "59500"))
    core.advance(core.now_ns)
    lower = CollateralTable(BTC, enabled=True, tiers=(CollateralTier(ZERO, None, Decimal("0.69")),))
    core.handle(ChangeTables(collateral=(lower,)), core.now_ns)
    notices = run(core, seconds=300)
    told = [notice.order for notice in notices if isinstance(notice, OrderNotice)]
    assert told[0].cancel_type == "CancelAllBeforeLiq"
    assert any(row.create_type == "CreateByLiq" and row.instrument_id == BTC_SPOT for row in told)
    after = core.figures()
    assert after.maintenance_margin < after.adjusted_equity
    assert debt(core, USDT) < 42000


def test_a_naked_short_in_a_rally_is_reduced_step_by_step_before_it_is_bankrupt() -> None:
    core = venue(usdt="12000")
    do(core, order(BTC_PERP, Side.SELL, "1"))
    core.handle(Shock({BTC: Decimal("1.197")}, ramp_ns=600 * 10**9), core.now_ns)
    notices = run(core, seconds=1200)
    forced = [
        notice.order
        for notice in notices
        if isinstance(notice, OrderNotice)
        and notice.order.create_type == "CreateByLiq"
        and notice.order.status is not VenueOrderStatus.NEW
    ]
    assert forced
    assert all(row.side is Side.BUY for row in forced)
    assert core.margin_state().positions[0].quantity > -1
    after = core.figures()
    assert after.maintenance_margin < after.adjusted_equity


def test_borrowed_coins_are_bought_back_to_the_last_lot_and_no_further() -> None:
    core = venue(usdt="20000")
    do(core, order(BTC_SPOT, Side.SELL, "1", borrow=True))
    core.handle(Shock({BTC: Decimal("1.3")}, ramp_ns=600 * 10**9), core.now_ns)
    run(core, seconds=1200)
    assert any(row.create_type == "CreateByLiq" for row in core.closed_orders())
    assert debt(core, BTC) == 0
    lot = next(row.lot_size for row in core.instruments() if row.instrument_id == BTC_SPOT)
    assert ZERO <= wallet(core, BTC) <= lot


def test_an_account_without_equity_is_taken_over_at_once() -> None:
    core = venue(usdt="12000")
    do(core, order(BTC_PERP, Side.SELL, "1"))
    core.handle(Shock({BTC: Decimal("1.5")}), core.now_ns)
    assert core.positions() == ()
    bust = [row for row in core.executions() if row.kind is ExecutionType.BUST]
    assert [(row.quantity, row.price, row.fee) for row in bust] == [(Decimal(1), Decimal(90000), Decimal(0))]
    assert wallet(core, USDT) < 0


def test_adl_cuts_a_position_at_the_mark_without_a_fee_and_cancels_its_orders() -> None:
    core = carry()
    resting = do(core, order(BTC_PERP, Side.BUY, "0.1", "59500"))
    reply = core.handle(AutoDeleverage(BTC_PERP, Decimal("0.5")), core.now_ns)
    assert reply.quantity == Decimal("0.5")
    assert core.position(BTC_PERP).position is not None
    row = core.executions()[-1]
    assert (row.kind, row.fee, row.price) == (ExecutionType.ADL, ZERO, core.ticker(BTC_PERP).mark)
    cancelled = core.order(BTC_PERP, order_id=resting.order_id)
    assert cancelled is not None
    assert cancelled.cancel_type == "CancelAllBeforeAdl"
    assert core.handle(AutoDeleverage(BTC_PERP, Decimal(2)), core.now_ns).code == "10001"


def test_a_shock_moves_the_coin_it_names_and_a_premium_moves_the_perpetual_only() -> None:
    core = venue()
    core.handle(Shock({BTC: Decimal("0.9")}, premium={BTC: Decimal("0.01")}), core.now_ns)
    assert core.usd_price(BTC) == 54000
    assert core.ticker(BTC_SPOT).index == 54000
    assert core.ticker(BTC_PERP).mark == 54540
    assert core.ticker(SOL_SPOT).index == 150
    assert core.handle(Shock({Coin("BTC"): Decimal(0)}), core.now_ns).code == "10001"


def test_a_ramped_shock_arrives_over_its_time() -> None:
    core = venue()
    core.handle(Shock({BTC: Decimal("1.2")}, ramp_ns=100 * 10**9), core.now_ns)
    assert core.usd_price(BTC) == 60000
    run(core, seconds=50)
    assert core.usd_price(BTC) == 66000
    run(core, seconds=60)
    assert core.usd_price(BTC) == 72000
