"""The venue's rows as the engine's values (portfolio.core)."""

from exchanges.paper.bybit_tables import USDT
from exchanges.paper.core import VenueCore
from exchanges.paper.rows import (
    EndOfDataNotice,
    Execution,
    ExecutionNotice,
    ExecutionType,
    LedgerKind,
    LedgerRow,
    Notice,
    OrderNotice,
    PositionNotice,
    VenueOrder,
    VenueOrderStatus,
    WalletNotice,
)
from portfolio.core.account import AccountSnapshot
from portfolio.core.entries import CashBooked
from portfolio.core.events import (
    BalanceUpdate,
    EndOfData,
    FillUpdate,
    OrderUpdate,
    PositionUpdate,
    VenueEvent,
)
from portfolio.core.instrument import InstrumentKind
from portfolio.core.market import CoinPrice, FundingOutlook, Mark, Quote
from portfolio.core.names import ClientOrderId, VenueOrderId
from portfolio.core.orders import Fill, OrderState, OrderStatus
from portfolio.ports import MarketSnapshot

_STATUS = {
    VenueOrderStatus.NEW: OrderStatus.WORKING,
    VenueOrderStatus.PARTIALLY_FILLED: OrderStatus.WORKING,
    VenueOrderStatus.FILLED: OrderStatus.FILLED,
    VenueOrderStatus.CANCELLED: OrderStatus.CANCELLED,
    VenueOrderStatus.PARTIALLY_FILLED_CANCELLED: OrderStatus.CANCELLED,
    VenueOrderStatus.REJECTED: OrderStatus.REJECTED,
}
_CASH = {
    LedgerKind.SETTLEMENT: "funding",
    LedgerKind.INTEREST: "interest",
    LedgerKind.TRANSFER_IN: "transfer",
    LedgerKind.TRANSFER_OUT: "transfer",
}


def order_state(order: VenueOrder) -> OrderState:
    """An order of the venue's own (liquidation, ADL) has an empty client id."""
    return OrderState(
        client_order_id=ClientOrderId(order.order_link_id),
        venue_order_id=VenueOrderId(order.order_id),
        instrument_id=order.instrument_id,
        side=order.side,
        quantity=order.quantity,
        limit_price=None if order.market else order.price,
        filled=order.filled,
        average_price=order.average_price,
        status=_STATUS[order.status],
        reduce_only=order.reduce_only,
        reject_reason=None if order.reject_reason == "EC_NoError" else order.reject_reason,
    )


def fill_of(execution: Execution) -> Fill | None:
    """A fill; None for a funding payment."""
    if execution.kind is ExecutionType.FUNDING:
        return None
    return Fill(
        fill_id=execution.execution_id,
        client_order_id=ClientOrderId(execution.order_link_id),
        venue_order_id=VenueOrderId(execution.order_id),
        instrument_id=execution.instrument_id,
        side=execution.side,
        quantity=execution.quantity,
        price=execution.price,
        fee=execution.fee,
        fee_coin=execution.fee_coin,
        maker=execution.maker,
        event_market_ns=execution.at_ns,
    )


def cash_of(row: LedgerRow) -> CashBooked | None:
    """Funding, interest and transfers; None for what fills, loans and repayments explain.

    Interest is negative whether it went into the debt or out of the wallet.
    """
    kind = _CASH.get(row.kind)
    if kind is None:
        return None
    return CashBooked(
        kind=kind,
        reference=row.row_id,
        instrument_id=row.instrument_id,
        coin=row.coin,
        amount=row.change - row.debt,
        event_market_ns=row.at_ns,
    )


def event_of(notice: Notice, seen_wire_ns: int) -> VenueEvent | None:
    """The event that an adapter would make of it; None for a funding payment (its ledger row tells it)."""
    match notice:
        case OrderNotice():
            return OrderUpdate(order_state(notice.order), seen_wire_ns)
        case ExecutionNotice():
            fill = fill_of(notice.execution)
            return None if fill is None else FillUpdate(fill, seen_wire_ns)
        case PositionNotice():
            row = notice.row
            return PositionUpdate(row.instrument_id, row.position, notice.at_ns, seen_wire_ns)
        case WalletNotice():
            balances = tuple(row.balance for row in notice.coins)
            return BalanceUpdate(balances, notice.figures, notice.at_ns, seen_wire_ns)
        case EndOfDataNotice():
            return EndOfData(notice.at_ns, seen_wire_ns)


def account_snapshot(core: VenueCore, seen_wire_ns: int) -> AccountSnapshot:
    """The whole account, read now."""
    return AccountSnapshot(
        account=core.config.account,
        uid=core.config.uid,
        margin_mode=core.config.margin_mode,
        balances=tuple(row.balance for row in core.coins()),
        positions=tuple(row.position for row in core.positions() if row.position is not None),
        orders=tuple(order_state(order) for order in core.open_orders()),
        figures=core.figures(),
        event_market_ns=core.now_ns,
        seen_wire_ns=seen_wire_ns,
    )


def market_snapshot(core: VenueCore, depth: int, seen_wire_ns: int) -> MarketSnapshot:
    """Every price now. A perpetual whose data has no further settlement has no funding outlook."""
    quotes: list[Quote] = []
    marks: list[Mark] = []
    coins: list[CoinPrice] = [CoinPrice(USDT, core.usd_price(USDT), core.now_ns, seen_wire_ns)]
    funding: list[FundingOutlook] = []
    for instrument in core.instruments():
        key = instrument.instrument_id
        shown = core.book(key, depth)
        quotes.append(Quote(key, shown.bids, shown.asks, shown.at_ns, seen_wire_ns))
        if instrument.kind is not InstrumentKind.PERPETUAL:
            continue
        prices = core.ticker(key, with_book=False)
        marks.append(Mark(key, prices.mark, prices.index, core.now_ns, seen_wire_ns))
        coins.append(CoinPrice(instrument.base, prices.usd_index, core.now_ns, seen_wire_ns))
        rate, settles_ns, minutes = prices.predicted_rate, prices.next_settlement_ns, prices.interval_minutes
        if rate is not None and settles_ns is not None and minutes is not None:
            funding.append(FundingOutlook(key, rate, settles_ns, minutes, core.now_ns, seen_wire_ns))
    return MarketSnapshot(tuple(quotes), tuple(marks), tuple(coins), tuple(funding))
