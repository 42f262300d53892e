"""What an account meets by the clock: funding at each symbol's own times, interest at five past the hour."""

from decimal import Decimal

from exchanges.paper.config import HOUR_NS, MINUTE_NS, SECOND_NS
from exchanges.paper.holdings import count
from exchanges.paper.ledger import Entry, Origin, cash
from exchanges.paper.replay import FundingPoint, funding_between, settlement_after
from exchanges.paper.rows import Execution, ExecutionNotice, ExecutionType, LedgerKind
from exchanges.paper.state import State
from portfolio.core.decimals import ZERO
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.names import InstrumentId
from portfolio.core.orders import Side

#: Interest is booked at xx:05:00.
_INTEREST_OFFSET_NS = 5 * MINUTE_NS
#: Repayment is refused from 04:00 to 05:30, minute and second of every hour.
BLACKOUT_NS = (4 * MINUTE_NS, 5 * MINUTE_NS + 30 * SECOND_NS)


def in_blackout(at_ns: int) -> bool:
    """Whether repayment is refused at this moment."""
    return BLACKOUT_NS[0] <= at_ns % HOUR_NS < BLACKOUT_NS[1]


def interest_after(at_ns: int) -> int:
    """The next booking of interest, strictly after a moment."""
    return ((at_ns - _INTEREST_OFFSET_NS) // HOUR_NS + 1) * HOUR_NS + _INTEREST_OFFSET_NS


def funding_after(state: State, at_ns: int) -> int | None:
    """The next settlement of any listed perpetual, strictly after a moment."""
    times = [
        point.market_ns
        for coin in state.coins()[1:]
        if (point := settlement_after(state.replay, coin, at_ns)) is not None
    ]
    return min(times, default=None)


def settle_funding(state: State) -> None:
    """Pay and receive funding of every position whose symbol settles now."""
    for key, listing in state.listings.items():
        if listing.instrument.kind is not InstrumentKind.PERPETUAL or not state.holding(key).quantity:
            continue
        for point in funding_between(state.replay, listing.instrument.base, state.now_ns, state.now_ns):
            _settle(state, listing.instrument, point)


def _settle(state: State, instrument: Instrument, point: FundingPoint) -> None:
    """Received = -(signed quantity) x mark x rate: with a positive rate longs pay shorts."""
    key = instrument.instrument_id
    holding = state.holding(key)
    mark = state.mark(key)
    received = cash(-holding.quantity * mark * point.rate)
    side = Side.BUY if holding.quantity > 0 else Side.SELL
    sequence = state.next_sequence()
    execution = _payment(state, key, side, abs(holding.quantity), mark, received, point.rate, sequence)
    state.keep_holding(count(holding, received))
    state.ledger.realise(instrument.quote, received)
    state.ledger.post(
        Entry(LedgerKind.SETTLEMENT, instrument.quote, funding=received),
        state.now_ns,
        Origin(
            instrument_id=key,
            side=side,
            quantity=abs(holding.quantity),
            price=mark,
            size_after=holding.quantity,
            fee_rate=point.rate if side is Side.BUY else -point.rate,
            order_id=execution.order_id,
            execution_id=execution.execution_id,
        ),
    )
    state.keep_execution(execution)
    state.outbox.append(ExecutionNotice(execution, state.now_ns))


def _payment(
    state: State,
    key: InstrumentId,
    side: Side,
    quantity: Decimal,
    mark: Decimal,
    received: Decimal,
    rate: Decimal,
    sequence: int,
) -> Execution:
    """The funding row of the execution list: its fee is positive when paid, unlike the ledger's funding."""
    return Execution(
        execution_id=state.execution_id(InstrumentKind.PERPETUAL, sequence),
        kind=ExecutionType.FUNDING,
        order_id=f"{state.now_ns // 1_000_000_000}-{state.config.uid}-{key}",
        order_link_id="",
        instrument_id=key,
        side=side,
        price=mark,
        quantity=quantity,
        fee=-received,
        fee_coin=state.instrument(key).quote,
        fee_rate=rate if side is Side.BUY else -rate,
        maker=False,
        order_price=ZERO,
        order_quantity=quantity,
        left=ZERO,
        closed=ZERO,
        realised_pnl=ZERO,
        mark_price=mark,
        market=True,
        borrow=False,
        create_type="CreateByFunding",
        at_ns=state.now_ns,
        sequence=sequence,
    )


def charge_interest(state: State) -> None:
    """Book an hour's interest: on the spot borrow into the debt, on losses nobody paid from the wallet."""
    for coin in state.coins():
        table = state.tables.borrow.get(coin)
        if table is None:
            continue
        debt = state.ledger.debt(coin)
        on_debt = cash(debt * table.hourly_rate)
        on_losses = cash((state.owed(coin) - debt) * table.hourly_rate)
        if not on_debt and not on_losses:
            continue
        entry = Entry(LedgerKind.INTEREST, coin, cash_flow=-on_losses, debt=on_debt, interest=on_debt)
        state.ledger.post(entry, state.now_ns, Origin(quantity=state.owed(coin), fee_rate=table.hourly_rate))
