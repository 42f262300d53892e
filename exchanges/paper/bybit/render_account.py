"""Account rows of the wire: wallet, positions, orders, executions, transaction log."""

from exchanges.paper.bybit.wire import Row, ms, plain, rate
from exchanges.paper.core import VenueCore
from exchanges.paper.rows import CoinRow, Execution, LedgerKind, LedgerRow, PositionRow, VenueOrder
from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import InstrumentId
from portfolio.core.orders import Side, TimeInForce

_FORCE = {
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.POST_ONLY: "PostOnly",
}


def side(value: Side) -> str:
    """Buy or Sell."""
    return "Buy" if value is Side.BUY else "Sell"


def category(name: InstrumentId) -> str:
    """Second part of our id."""
    return name.split(":")[1]


def symbol(name: InstrumentId) -> str:
    """Third part of our id."""
    return name.split(":")[2]


def wallet(core: VenueCore, coins: tuple[CoinRow, ...], figures: MarginFigures) -> Row:
    """The unified account; totals in USD."""
    unrealised = sum((row.unrealised_pnl * row.usd_price for row in core.coins()), ZERO)
    base = figures.adjusted_equity
    usage = figures.initial_margin / base if base > 0 else ZERO
    maintenance = figures.maintenance_margin / base if base > 0 else ZERO
    return {
        "accountType": "UNIFIED",
        "accountLTV": "0",
        "accountIMRate": rate(usage),
        "accountMMRate": rate(maintenance),
        "accountIMRateByMp": rate(usage),
        "accountMMRateByMp": rate(maintenance),
        "totalEquity": plain(figures.total_equity),
        "totalWalletBalance": plain(base - unrealised),
        "totalMarginBalance": plain(base),
        "totalAvailableBalance": plain(max(ZERO, base - figures.initial_margin)),
        "totalPerpUPL": plain(unrealised),
        "totalInitialMargin": plain(figures.initial_margin),
        "totalMaintenanceMargin": plain(figures.maintenance_margin),
        "totalInitialMarginByMp": plain(figures.initial_margin),
        "totalMaintenanceMarginByMp": plain(figures.maintenance_margin),
        "coin": [_coin(core, row) for row in coins],
    }


def _coin(core: VenueCore, row: CoinRow) -> Row:
    settled = [
        one
        for one in core.positions()
        if core.listing(one.instrument_id).instrument.quote == row.balance.coin
    ]
    return {
        "coin": row.balance.coin,
        "equity": plain(row.equity),
        "usdValue": plain(row.equity * row.usd_price),
        "walletBalance": plain(row.balance.wallet),
        "locked": plain(row.balance.locked),
        "spotHedgingQty": "0",
        "borrowAmount": plain(row.borrowed),
        "spotBorrow": plain(row.balance.spot_borrow),
        "accruedInterest": plain(row.balance.accrued_interest),
        "totalOrderIM": "0",
        "totalPositionIM": plain(sum((one.initial_margin for one in settled), ZERO)),
        "totalPositionMM": plain(sum((one.maintenance_margin for one in settled), ZERO)),
        "unrealisedPnl": plain(row.unrealised_pnl),
        "cumRealisedPnl": plain(row.cumulative_realised),
        "bonus": "0",
        "marginCollateral": row.marginable,
        "collateralSwitch": row.switch_on,
        "colRes": "0",
        "availableToBorrow": "",
        "availableToWithdraw": "",
        "free": "",
    }


def position(core: VenueCore, row: PositionRow, *, pushed: bool) -> Row:
    """One position; the entry price is called avgPrice in REST and entryPrice in pushes."""
    held = row.position
    quantity = held.quantity if held else ZERO
    value = abs(quantity) * row.mark_price
    tiers = core.tables(0).positions.get(row.instrument_id, ())
    index = next((i for i, tier in enumerate(tiers) if value <= tier.notional_to), max(0, len(tiers) - 1))
    entry = plain(held.entry_price) if held else "0"
    word = "" if not quantity else ("Buy" if quantity > 0 else "Sell")
    rendered: Row = {
        "positionIdx": 0,
        "tradeMode": 0,
        "riskId": index + 1,
        "riskLimitValue": plain(tiers[index].notional_to) if tiers else "0",
        "symbol": symbol(row.instrument_id),
        "side": word,
        "size": plain(abs(quantity)),
        ("entryPrice" if pushed else "avgPrice"): entry,
        "positionValue": plain(value),
        "autoAddMargin": 0,
        "positionStatus": "Normal",
        "leverage": plain(row.leverage),
        "breakEvenPrice": entry,
        "markPrice": plain(row.mark_price),
        "liqPrice": "",
        "bustPrice": "",
        "positionIM": plain(row.initial_margin),
        "positionIMByMp": plain(row.initial_margin),
        "positionMM": plain(row.maintenance_margin),
        "positionMMByMp": plain(row.maintenance_margin),
        "positionBalance": "0",
        "tpslMode": "Full",
        "takeProfit": "0.00",
        "stopLoss": "0.00",
        "trailingStop": "0.00",
        "sessionAvgPrice": "",
        "unrealisedPnl": plain(held.unrealised_pnl if held else ZERO),
        "curRealisedPnl": plain(row.realised_current),
        "cumRealisedPnl": plain(row.realised_total),
        "adlRankIndicator": 0 if not quantity else 2,
        "createdTime": ms(row.created_ns),
        "updatedTime": ms(row.updated_ns),
        "openTime": row.created_ns // 1_000_000,
        "seq": row.sequence,
        "isReduceOnly": False,
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
    }
    return rendered | ({"category": "linear"} if pushed else {})


def order(row: VenueOrder, *, pushed: bool) -> Row:
    """One order."""
    linear = category(row.instrument_id) == InstrumentKind.PERPETUAL.value
    average = row.average_price
    left = row.left if row.status.open else ZERO
    rendered: Row = {
        "orderId": row.order_id,
        "orderLinkId": row.order_link_id,
        "parentOrderLinkId": "",
        "blockTradeId": "",
        "symbol": symbol(row.instrument_id),
        "price": plain(row.price),
        "qty": plain(row.quantity),
        "side": side(row.side),
        "isLeverage": "" if linear else ("1" if row.borrow else "0"),
        "positionIdx": 0,
        "orderStatus": row.status.value,
        "cancelType": row.cancel_type,
        "rejectReason": row.reject_reason,
        "avgPrice": plain(average) if average is not None else ("" if pushed else "0"),
        "leavesQty": plain(left),
        "leavesValue": plain(left * row.price),
        "cumExecQty": plain(row.filled),
        "cumExecValue": plain(row.filled_quote),
        "cumExecFee": plain(sum((fee for _, fee in row.fees), ZERO)),
        "cumFeeDetail": {coin: plain(fee) for coin, fee in row.fees},
        "timeInForce": _FORCE[row.time_in_force],
        "orderType": "Market" if row.market else "Limit",
        "stopOrderType": "",
        "orderIv": "",
        "marketUnit": "",
        "slippageToleranceType": "UNKNOWN",
        "slippageTolerance": "",
        "triggerPrice": "",
        "takeProfit": "",
        "stopLoss": "",
        "tpslMode": "UNKNOWN",
        "ocoTriggerBy": "",
        "tpLimitPrice": "",
        "slLimitPrice": "",
        "tpTriggerBy": "",
        "slTriggerBy": "",
        "triggerDirection": 0,
        "triggerBy": "",
        "lastPriceOnCreated": "",
        "reduceOnly": row.reduce_only,
        "closeOnTrigger": False,
        "placeType": "",
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "createdTime": ms(row.created_ns),
        "updatedTime": ms(row.updated_ns),
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
    }
    if linear:
        rendered["createType"] = row.create_type
    if pushed:
        rendered |= {"category": category(row.instrument_id), "closedPnl": "0", "feeCurrency": ""}
    return rendered


def execution(row: Execution, *, pushed: bool) -> Row:
    """One fill or funding payment."""
    linear = category(row.instrument_id) == InstrumentKind.PERPETUAL.value
    rendered: Row = {
        "symbol": symbol(row.instrument_id),
        "orderId": row.order_id,
        "orderLinkId": row.order_link_id,
        "side": side(row.side),
        "orderPrice": plain(row.order_price),
        "orderQty": plain(row.order_quantity),
        "leavesQty": plain(row.left),
        "orderType": "Market" if row.market else "Limit",
        "stopOrderType": "UNKNOWN",
        "execFee": plain(row.fee),
        "execFeeV2": "",
        "execId": row.execution_id,
        "execPrice": plain(row.price),
        "execQty": plain(row.quantity),
        "execType": row.kind.value,
        "execValue": plain(row.quantity * row.price),
        "execTime": ms(row.at_ns),
        "feeCurrency": row.fee_coin,
        "isMaker": row.maker,
        "feeRate": plain(row.fee_rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": plain(row.mark_price),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": plain(row.closed),
        "extraFees": "",
        "seq": row.sequence,
    }
    if linear:
        rendered["createType"] = row.create_type
    if pushed:
        rendered |= {
            "category": category(row.instrument_id),
            "isLeverage": "1" if row.borrow else "0",
            "marketUnit": "",
            "execPnl": plain(row.realised_pnl),
        }
    return rendered


def ledger(row: LedgerRow) -> Row:
    """One row of the transaction log. Interest that went into the debt is shown as what equity lost."""
    change = row.change - row.debt if row.kind is LedgerKind.INTEREST else row.change
    flow = change if row.kind is LedgerKind.INTEREST else row.cash_flow
    named = row.instrument_id
    return {
        "id": row.row_id,
        "symbol": symbol(named) if named else "",
        "category": category(named) if named else "",
        "side": side(row.side) if row.side else "None",
        "transactionTime": ms(row.at_ns),
        "type": row.kind.value,
        "transSubType": "",
        "qty": plain(row.quantity),
        "size": plain(row.size_after),
        "currency": row.coin,
        "tradePrice": plain(row.price),
        "funding": plain(row.funding) if row.kind is LedgerKind.SETTLEMENT else "",
        "fee": plain(row.fee),
        "cashFlow": plain(flow),
        "change": plain(change),
        "cashBalance": plain(row.wallet_after),
        "feeRate": plain(row.fee_rate),
        "bonusChange": "",
        "tradeId": row.execution_id,
        "orderId": row.order_id,
        "orderLinkId": row.order_link_id,
        "extraFees": "",
    }
