"""What one fill does to coins, positions and its order. Fees: spot in the coin bought, perpetuals in USDT."""

from dataclasses import dataclass, replace
from decimal import Decimal

from exchanges.paper.holdings import count, trade
from exchanges.paper.ledger import Entry, Origin, cash
from exchanges.paper.rows import (
    Execution,
    ExecutionNotice,
    ExecutionType,
    LedgerKind,
    VenueOrder,
    VenueOrderStatus,
)
from exchanges.paper.state import State
from portfolio.core.decimals import ZERO
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.names import Coin
from portfolio.core.orders import Side


@dataclass(frozen=True, slots=True)
class Match:
    """One fill to book."""

    quantity: Decimal
    price: Decimal
    maker: bool
    kind: ExecutionType = ExecutionType.TRADE
    #: ADL and takeovers cost no fee.
    free: bool = False


_LEDGER_KINDS = {
    ExecutionType.TRADE: LedgerKind.TRADE,
    ExecutionType.ADL: LedgerKind.ADL,
    ExecutionType.BUST: LedgerKind.LIQUIDATION,
}


def fill(state: State, order: VenueOrder, match: Match) -> VenueOrder:
    """Book one fill: ledger rows, position, execution and the order's new state (the caller tells it)."""
    instrument = state.instrument(order.instrument_id)
    fees = state.tables.fees[order.instrument_id]
    rate = ZERO if match.free else fees.maker if match.maker else fees.taker
    sequence = state.next_sequence()
    execution_id = state.execution_id(instrument.kind, sequence)
    book = _book_spot if instrument.kind is InstrumentKind.SPOT else _book_perpetual
    effect = book(state, instrument, order, match, rate, sequence, execution_id)
    filled = order.filled + match.quantity
    new = replace(
        order,
        filled=filled,
        filled_quote=order.filled_quote + match.quantity * match.price,
        fees=_add_fee(order.fees, effect.fee_coin, effect.fee),
        locked=_lock_after(order, match, filled),
        status=VenueOrderStatus.FILLED if filled == order.quantity else VenueOrderStatus.PARTIALLY_FILLED,
        updated_ns=state.now_ns,
    )
    state.keep_order(new, tell=False)
    execution = Execution(
        execution_id=execution_id,
        kind=match.kind,
        order_id=order.order_id,
        order_link_id=order.order_link_id,
        instrument_id=order.instrument_id,
        side=order.side,
        price=match.price,
        quantity=match.quantity,
        fee=effect.fee,
        fee_coin=effect.fee_coin,
        fee_rate=rate,
        maker=match.maker,
        order_price=order.price,
        order_quantity=order.quantity,
        left=new.left,
        closed=effect.closed,
        realised_pnl=effect.realised,
        mark_price=state.mark(order.instrument_id) if instrument.kind is InstrumentKind.PERPETUAL else ZERO,
        market=order.market,
        borrow=order.borrow,
        create_type=order.create_type,
        at_ns=state.now_ns,
        sequence=sequence,
    )
    state.keep_execution(execution)
    state.outbox.append(ExecutionNotice(execution, state.now_ns))
    return new


@dataclass(frozen=True, slots=True)
class _Effect:
    fee: Decimal
    fee_coin: Coin
    closed: Decimal = ZERO
    realised: Decimal = ZERO


def _book_spot(
    state: State,
    instrument: Instrument,
    order: VenueOrder,
    match: Match,
    rate: Decimal,
    sequence: int,
    execution_id: str,
) -> _Effect:
    """A buy pays its fee in base, a sell in quote; what is missing is borrowed if asked for."""
    value = cash(match.quantity * match.price)
    buying = order.side is Side.BUY
    paid, paid_coin = (value, instrument.quote) if buying else (match.quantity, instrument.base)
    got, got_coin = (match.quantity, instrument.base) if buying else (value, instrument.quote)
    fee = cash(got * rate)
    origin = _origin(order, match, rate, execution_id)
    missing = paid - state.free(paid_coin, besides=order.order_id)
    if order.borrow and missing > 0:
        state.ledger.borrow(paid_coin, missing, state.now_ns, origin)
    for coin, amount, cost in ((paid_coin, -paid, ZERO), (got_coin, got, fee)):
        after = state.ledger.wallet(coin) + amount - cost
        entry = Entry(_LEDGER_KINDS[match.kind], coin, cash_flow=amount, fee=cost)
        state.ledger.post(entry, state.now_ns, replace(origin, size_after=after))
    return _Effect(fee, got_coin)


def _book_perpetual(
    state: State,
    instrument: Instrument,
    order: VenueOrder,
    match: Match,
    rate: Decimal,
    sequence: int,
    execution_id: str,
) -> _Effect:
    """Realised PnL and the fee go through the settlement coin's wallet, below zero if need be."""
    fee = cash(match.quantity * match.price * rate)
    before = state.holding(order.instrument_id)
    traded = trade(before, order.side.sign * match.quantity, match.price, state.now_ns, sequence)
    state.keep_holding(count(traded.holding, -fee))
    entry = Entry(_LEDGER_KINDS[match.kind], instrument.quote, cash_flow=traded.realised, fee=fee)
    origin = replace(_origin(order, match, rate, execution_id), size_after=traded.holding.quantity)
    state.ledger.post(entry, state.now_ns, origin)
    state.ledger.realise(instrument.quote, traded.realised - fee)
    return _Effect(fee, instrument.quote, traded.closed, traded.realised)


def _origin(order: VenueOrder, match: Match, rate: Decimal, execution_id: str) -> Origin:
    return Origin(
        instrument_id=order.instrument_id,
        side=order.side,
        quantity=match.quantity,
        price=match.price,
        fee_rate=rate,
        order_id=order.order_id,
        order_link_id=order.order_link_id,
        execution_id=execution_id,
    )


def _add_fee(
    fees: tuple[tuple[Coin, Decimal], ...], coin: Coin, fee: Decimal
) -> tuple[tuple[Coin, Decimal], ...]:
    known = dict(fees)
    known[coin] = known.get(coin, ZERO) + fee
    return tuple(known.items())


def _lock_after(order: VenueOrder, match: Match, filled: Decimal) -> Decimal:
    """The lock pays for the fill first, and is never more than the rest of the order needs."""
    buying = order.side is Side.BUY
    used = match.quantity * match.price if buying else match.quantity
    rest = (order.quantity - filled) * (order.price if buying else 1)
    return max(ZERO, min(order.locked - used, rest))
