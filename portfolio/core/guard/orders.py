"""From the guard's actions to urgent orders.

Invariants: a cut never takes a leg below its target and a hedge never lifts it above, whatever is still in
flight; cuts of perpetuals are reduce-only, sales of spot never borrow; the coarser lot decides where both
legs meet, so that a cut leaves no net delta beyond it; equal input gives equal ids.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.client_ids import client_order_id
from portfolio.core.decimals import ZERO, round_down_to_step, round_up_to_step
from portfolio.core.guard.values import ActionKind, PairAction
from portfolio.core.increments import gross_for_net
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.market import Quote
from portfolio.core.names import AccountId, InstrumentId, IntentId, PairId
from portfolio.core.orders import OrderClass, OrderRequest, Side, TimeInForce
from portfolio.core.pairs import PairSpec
from portfolio.core.pricing import taker_price

#: Most orders of one leg in one batch: what is left goes with the next one, after a fresh read.
CHUNKS_MAX = 20


@dataclass(frozen=True, slots=True)
class LegNow:
    """One leg of a pair at the moment of ordering."""

    instrument: Instrument
    #: Coins held on the pair's side, >= 0.
    held: Decimal
    #: Coins that orders in flight may still take off this leg, or still add to it; >= 0.
    leaving: Decimal
    arriving: Decimal
    #: For minimum order values; None: unknown.
    price: Decimal | None
    #: A fresh book; None makes a market order, which is how cuts stay possible on stale data.
    quote: Quote | None
    #: Share of bought coins that the venue keeps as its fee (spot buys), a fraction.
    fee_rate: Decimal
    #: In how many orders its trade goes: more than one after the venue refused larger ones.
    parts: int = 1

    @property
    def is_spot(self) -> bool:
        """Whether the leg is spot."""
        return self.instrument.kind is InstrumentKind.SPOT


def operation_id(account: AccountId, number: int, wire_ns: int) -> IntentId:
    """The id of a guard operation: its persisted number and a hash of when and where.

    The hash keeps a new journal, which counts from one again, away from the ids of the old one.
    """
    digest = hashlib.sha256(f"{account}:{number}:{wire_ns}".encode()).hexdigest()
    return IntentId(f"g{number}x{digest[:10]}")


@dataclass(frozen=True, slots=True)
class _Trade:
    leg: LegNow
    side: Side
    quantity: Decimal
    order_class: OrderClass


def orders_for(
    actions: Sequence[PairAction],
    pairs: Mapping[PairId, PairSpec],
    legs: Mapping[PairId, tuple[LegNow, LegNow]],
    operation: IntentId,
    slippage_max: Mapping[PairId, Decimal | None],
) -> tuple[OrderRequest, ...]:
    """All orders of one batch, in the order of the actions.

    Args:
        actions: What to do, one per pair.
        pairs: The pairs they name.
        legs: Long and short leg of each of them, as read now.
        operation: Their operation id.
        slippage_max: Share of the best price by which a limit may be worse, by pair; None: whatever the
            venue's own protection of market orders allows.
    """
    used: dict[InstrumentId, int] = {}
    orders = []
    for action in actions:
        long, short = legs[action.pair_id]
        for trade in _trades(action, long, short):
            instrument_id = trade.leg.instrument.instrument_id
            for quantity, limit in _chunks(trade, slippage_max[action.pair_id]):
                slice_no = used.get(instrument_id, 0)
                used[instrument_id] = slice_no + 1
                orders.append(
                    OrderRequest(
                        client_order_id=client_order_id(operation, instrument_id, slice_no, 0),
                        instrument_id=instrument_id,
                        side=trade.side,
                        quantity=quantity,
                        limit_price=limit,
                        time_in_force=TimeInForce.IOC,
                        reduce_only=not trade.leg.is_spot and trade.order_class is OrderClass.REDUCE,
                        borrow=_may_borrow(trade),
                        order_class=trade.order_class,
                        pair_id=pairs[action.pair_id].pair_id,
                        intent_id=operation,
                    )
                )
    return tuple(orders)


def _may_borrow(trade: _Trade) -> bool:
    """A cut never sells what is not owned; buying back a borrowed coin, or a hedge, may owe instead."""
    return trade.leg.is_spot and (trade.side is Side.BUY or trade.order_class is OrderClass.HEDGE)


def _trades(action: PairAction, long: LegNow, short: LegNow) -> tuple[_Trade, ...]:
    if action.kind is ActionKind.HEDGE:
        leg, larger, side = (long, short, Side.BUY) if long.held < short.held else (short, long, Side.SELL)
        # What already takes the larger leg back needs no hedge: both would make the next naked leg.
        target = min(action.to_quantity, larger.held - larger.leaving)
        return (_Trade(leg, side, target - leg.held - leg.arriving, OrderClass.HEDGE),)
    long_cut, short_cut = _cuts(action.to_quantity, long, short)
    trades = (
        _Trade(long, Side.SELL, long_cut - long.leaving, OrderClass.REDUCE),
        _Trade(short, Side.BUY, short_cut - short.leaving, OrderClass.REDUCE),
    )
    # The perpetual first: the venue itself bounds it.
    return tuple(sorted(trades, key=lambda trade: trade.leg.is_spot))


def _cuts(target: Decimal, long: LegNow, short: LegNow) -> tuple[Decimal, Decimal]:
    """Coins off each leg: the coarser leg down to its last lot above the target, the finer one to meet it."""
    if target <= 0:
        return long.held, short.held
    if long.instrument.lot_size >= short.instrument.lot_size:
        cut = _whole_lots(long.held - target, long.instrument)
        return cut, max(ZERO, short.held - max(target, long.held - cut))
    cut = _whole_lots(short.held - target, short.instrument)
    return max(ZERO, long.held - max(target, short.held - cut)), cut


def _whole_lots(quantity: Decimal, instrument: Instrument) -> Decimal:
    return round_down_to_step(max(ZERO, quantity), instrument.lot_size)


def _chunks(trade: _Trade, slippage_max: Decimal | None) -> Iterator[tuple[Decimal, Decimal | None]]:
    """The trade in orders that the venue takes, each with its limit; a rest below the minimum stays."""
    leg, instrument = trade.leg, trade.leg.instrument
    limit = _limit(leg, trade.side, slippage_max)
    left = trade.quantity
    if leg.is_spot and trade.side is Side.BUY:
        left = gross_for_net(left, leg.fee_rate)
    largest = _largest(instrument, market=limit is None)
    if leg.parts > 1:
        piece = _piece(left, leg)
        largest = piece if largest is None else min(piece, largest)
    for _ in range(CHUNKS_MAX):
        part = _whole_lots(left if largest is None else min(left, largest), instrument)
        if part <= 0 or part < instrument.quantity_min:
            return
        if leg.price is not None and part * leg.price < instrument.notional_min:
            return
        yield part, limit
        left -= part


def _piece(quantity: Decimal, leg: LegNow) -> Decimal:
    """One of the leg's parts; fewer and larger ones where these would be too small for the venue."""
    instrument = leg.instrument
    least = max(instrument.lot_size, instrument.quantity_min)
    if leg.price is not None:
        least = max(least, round_up_to_step(instrument.notional_min / leg.price, instrument.lot_size))
    parts = max(1, min(leg.parts, int(quantity // least)))
    return round_up_to_step(quantity / parts, instrument.lot_size)


def _limit(leg: LegNow, side: Side, slippage_max: Decimal | None) -> Decimal | None:
    if leg.quote is None or slippage_max is None:
        return None
    levels = leg.quote.asks if side is Side.BUY else leg.quote.bids
    if not levels:
        return None
    return taker_price(levels[0].price, side, slippage_max, leg.instrument.tick_size, None)


def _largest(instrument: Instrument, *, market: bool) -> Decimal | None:
    bounds = (instrument.quantity_max, instrument.market_quantity_max if market else None)
    present = [bound for bound in bounds if bound is not None]
    return min(present) if present else None
