"""The forced hand of the venue: liquidation when MM >= margin balance, and auto-deleveraging.

Order of things (reference 5.7): cancel every order; repay debts, selling collateral in the venue's order;
reduce positions step by step, largest maintenance margin first. With no equity left everything is taken
over at once at mark and index prices. MADE: a step is a quarter of the position, steps come at grid times,
and debts are repaid by market orders in the made book.
"""

from dataclasses import replace
from decimal import Decimal

from exchanges.paper import matching, risk
from exchanges.paper.bybit_tables import LIQUIDATION_ORDER, USDT
from exchanges.paper.fills import Match, fill
from exchanges.paper.rows import ExecutionType, OrderNotice, VenueOrder, VenueOrderStatus
from exchanges.paper.state import State
from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ONE, ZERO, round_down_to_step, round_up_to_step
from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side, TimeInForce

#: MADE: share of a position that one step closes, and the value below which a step closes it all, in quote.
STEP_SHARE = Decimal("0.25")
STEP_MIN = Decimal(1000)
#: Forced market orders may go this far from the middle.
_REACH = Decimal("0.1")


def check(state: State) -> None:
    """Look at the margin now and do one step of liquidation if it is due; sets the next look."""
    totals = risk.figures(state)
    if not _breached(totals):
        state.liquidating = False
        state.next_margin_check_ns = state.now_ns + _pause(state, totals)
        return
    state.liquidating = True
    cancel_everything(state, "CancelAllBeforeLiq")
    if totals.adjusted_equity <= 0:
        _take_over(state)
    elif _breached(risk.figures(state)):
        _repay_debts(state)
        if _breached(risk.figures(state)):
            _reduce_one(state)
    state.liquidating = _breached(risk.figures(state))
    state.next_margin_check_ns = state.now_ns + state.config.grid_ns


def cancel_everything(state: State, cancel_type: str, only: InstrumentId | None = None) -> None:
    """Cancel all working orders, or those of one instrument."""
    for order in tuple(state.working.values()):
        if only is None or order.instrument_id == only:
            matching.cancel(state, order, cancel_type=cancel_type, reason="EC_NoError")


def deleverage(state: State, key: InstrumentId, fraction: Decimal) -> Decimal:
    """ADL: close this share of a position at the mark price without a fee. The base coins that it closed."""
    holding = state.holding(key)
    lot = state.instrument(key).lot_size
    quantity = min(abs(holding.quantity), round_up_to_step(abs(holding.quantity) * fraction, lot))
    if quantity:
        cancel_everything(state, "CancelAllBeforeAdl", key)
        _close_at(state, key, quantity, ExecutionType.ADL, "CreateByAdl_PassThrough")
    return quantity


def _breached(totals: MarginFigures) -> bool:
    return totals.maintenance_margin > 0 and totals.maintenance_margin >= totals.adjusted_equity


def _pause(state: State, totals: MarginFigures) -> int:
    """Until the next look: rarely while far from the line, at every grid time near it."""
    grid = state.config.grid_ns
    if totals.maintenance_margin * 4 < totals.adjusted_equity or totals.maintenance_margin == 0:
        return grid * 12
    return grid * 2 if totals.maintenance_margin * 2 < totals.adjusted_equity else grid


def _repay_debts(state: State) -> None:
    """Repay from own coins, then from sold collateral; coins borrowed and sold are bought back with USDT."""
    for coin in state.coins():
        _repay_own(state, coin)
    for coin in state.coins():
        debt = state.ledger.debt(coin)
        if coin == USDT or not debt:
            continue
        instrument = _spot(state, coin)
        # What the debt needs and no more: whatever is bought beyond it would be a position of nobody's.
        gross = debt / (ONE - state.tables.fees[instrument.instrument_id].taker)
        _market(state, instrument, Side.BUY, round_up_to_step(gross, instrument.lot_size))
        _repay_own(state, coin)
    for coin in sorted(state.coins(), key=lambda name: LIQUIDATION_ORDER.get(name, 99)):
        missing = state.ledger.debt(USDT) + max(ZERO, -state.ledger.wallet(USDT)) - state.free(USDT)
        if missing <= 0 or not _breached(risk.figures(state)):
            break
        if coin != USDT:
            instrument = _spot(state, coin)
            wanted = round_up_to_step(missing / (state.usd(coin) * Decimal("0.99")), instrument.lot_size)
            _market(state, instrument, Side.SELL, min(wanted, state.free(coin)))
            _repay_own(state, USDT)


def _repay_own(state: State, coin: Coin) -> None:
    quantity = min(state.free(coin), state.ledger.debt(coin))
    if quantity > 0:
        state.ledger.repay(coin, quantity, state.now_ns)


def _reduce_one(state: State) -> None:
    """One step on the position that needs the most maintenance margin (approximated by its mark value)."""
    values = {
        key: abs(holding.quantity) * state.mark(key)
        for key, holding in state.holdings.items()
        if holding.quantity
    }
    if not values:
        return
    key = max(values, key=lambda name: values[name])
    holding, instrument = state.holding(key), state.instrument(key)
    whole = values[key] < STEP_MIN
    share = ONE if whole else STEP_SHARE
    quantity = min(
        abs(holding.quantity), round_up_to_step(abs(holding.quantity) * share, instrument.lot_size)
    )
    side = Side.SELL if holding.quantity > 0 else Side.BUY
    _market(state, instrument, side, quantity)


def _take_over(state: State) -> None:
    """Bankruptcy: positions at mark, then coins at index, against what is owed."""
    for key, holding in tuple(state.holdings.items()):
        if holding.quantity:
            _close_at(state, key, abs(holding.quantity), ExecutionType.BUST, "CreateByTakeOver_PassThrough")
    for coin in state.coins():
        _repay_own(state, coin)
        if coin != USDT and (quantity := state.free(coin)) > 0:
            order = _forced(state, _spot(state, coin), Side.SELL, quantity, state.usd(coin), "CreateByLiq")
            _finish(
                state, fill(state, order, Match(quantity, order.price, False, ExecutionType.BUST, free=True))
            )
    _repay_own(state, USDT)


def _market(state: State, instrument: Instrument, side: Side, quantity: Decimal) -> None:
    """A forced market order in the made book."""
    quantity = round_down_to_step(quantity, instrument.lot_size)
    if quantity <= 0:
        return
    price = state.middle(instrument.instrument_id) * (ONE + side.sign * _REACH)
    order = _forced(state, instrument, side, quantity, price, "CreateByLiq")
    matching.enter(state, order)


def _close_at(state: State, key: InstrumentId, quantity: Decimal, kind: ExecutionType, create: str) -> None:
    side = Side.SELL if state.holding(key).quantity > 0 else Side.BUY
    order = _forced(state, state.instrument(key), side, quantity, state.mark(key), create)
    _finish(state, fill(state, order, Match(quantity, order.price, maker=False, kind=kind, free=True)))


def _finish(state: State, order: VenueOrder) -> None:
    state.outbox.append(OrderNotice(order, state.now_ns))


def _forced(
    state: State, instrument: Instrument, side: Side, quantity: Decimal, price: Decimal, create: str
) -> VenueOrder:
    """An order of the venue's own; stored before it matches."""
    order = VenueOrder(
        order_id=state.next_order_id(instrument.kind),
        order_link_id="",
        instrument_id=instrument.instrument_id,
        side=side,
        market=True,
        price=round_down_to_step(price, instrument.tick_size),
        quantity=quantity,
        time_in_force=TimeInForce.IOC,
        reduce_only=False,
        # A buy-back may leave USDT below zero: it is the venue that acts, and a loss is a debt.
        borrow=instrument.kind is InstrumentKind.SPOT and side is Side.BUY,
        status=VenueOrderStatus.NEW,
        filled=ZERO,
        filled_quote=ZERO,
        fees=(),
        locked=ZERO,
        locked_coin=Coin(""),
        reject_reason="EC_NoError",
        cancel_type="UNKNOWN",
        create_type=create,
        created_ns=state.now_ns,
        updated_ns=state.now_ns,
    )
    state.keep_order(order)
    return replace(order)


def _spot(state: State, coin: Coin) -> Instrument:
    return state.instrument(instrument_id(state.config.venue, InstrumentKind.SPOT, f"{coin}{USDT}"))
