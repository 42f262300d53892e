"""Carries the guard's actions out: one operation from its journal entry to the moment the account shows it.

1. The action and the guard's state are committed before its orders; if the journal cannot commit, the orders
   go all the same (the worker keeps them in the emergency file).
2. Sizes come from the view and the journal at the moment of ordering and count everything in flight, so that
   a repeated operation cannot overshoot.
3. Every wait has a limit. A pair is free again once the account shows what its orders did, or was read again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import anyio

from portfolio.core.decimals import ZERO
from portfolio.core.errors import JOURNAL_FATAL, CarrydeskError, InputError, MissingDataError
from portfolio.core.guard.orders import LegNow, orders_for
from portfolio.core.guard.values import PairAction, Rule
from portfolio.core.instrument import InstrumentKind
from portfolio.core.limits import SECOND_NS, RiskLimits
from portfolio.core.market import Quote
from portfolio.core.names import Coin, InstrumentId, IntentId, PairId
from portfolio.core.orders import (
    Accepted,
    CancelRequest,
    NotSent,
    OrderRequest,
    Priority,
    Rejected,
    Side,
    TimeInForce,
    Unknown,
)
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.guard_facts import FactsGatherer
from portfolio.operations import Sender
from portfolio.ports import Clocks, OrderRow
from portfolio.repayment import Repayer
from portfolio.view import AccountView
from portfolio.worker import OrderResult

#: Longest time for one operation: then its pairs may be acted on again, counting what is still in flight.
CARRY_LIMIT_NS = 5 * SECOND_NS
#: How long fills, and then the account's own figures, are waited for before the next look (DESIGN 7).
SETTLE_NS = SECOND_NS
#: Between two tries on a pair that had no effect.
RETRY_NS = SECOND_NS
#: A pair's limits double with every try that met nothing: 0.5, 1 and 2 %. Then orders go at market.
WIDENED_MAX = 2
#: A leg that the venue refuses goes in twice as many orders the next time, up to so many.
PARTS_MAX = 8
#: Rules whose actions are one ladder: no second one starts before the first has shown its effect.
LADDER_RULES = frozenset({Rule.HEALTH, Rule.USAGE, Rule.FLATTEN, Rule.DRAWDOWN})


class GuardWorker(Sender, Protocol):
    """The worker, as the guard uses it."""

    def unknown_pairs(self) -> frozenset[PairId]:
        """Pairs with an order of unknown outcome."""
        ...


#: Commits the operation's entries; answers the orders in flight, as the journal has them.
Commit = Callable[[], Awaitable[Sequence[OrderRow]]]


@dataclass(slots=True)
class _Busy:
    """Why a pair is left alone."""

    ladder: bool
    #: Its orders are on their way.
    carrying: bool = True
    #: Not before this wire time: a try had no effect.
    rests_until_ns: int = 0
    #: Not before an account read newer than this: a try had an effect that is not shown yet.
    spent_ns: int | None = None


class Carrier:
    """The guard's hands, one per account."""

    def __init__(
        self,
        *,
        view: AccountView,
        worker: GuardWorker,
        clocks: Clocks,
        limits: RiskLimits,
        gatherer: FactsGatherer,
        repayer: Repayer,
    ) -> None:
        self._view = view
        self._worker = worker
        self._clocks = clocks
        self._limits = limits
        self._gatherer = gatherer
        self._repayer = repayer
        self._busy: dict[PairId, _Busy] = {}
        #: Tries in a row on each pair that the venue took and that met nothing.
        self._missed: dict[PairId, int] = {}
        #: In how many orders a leg's trade goes, where the venue refused fewer.
        self._parts: dict[InstrumentId, int] = {}

    # --- what is on its way -------------------------------------------------------------------------------

    def busy(self) -> frozenset[PairId]:
        """Pairs to leave alone for the moment."""
        self._forget()
        return frozenset(self._busy)

    def ladder_out(self) -> bool:
        """A ladder has not shown its effect yet."""
        self._forget()
        return any(row.ladder for row in self._busy.values())

    def take(self, actions: Sequence[PairAction]) -> None:
        """Mark the pairs before anything is awaited, so that no second decision names them."""
        for action in actions:
            self._busy[action.pair_id] = _Busy(ladder=bool(LADDER_RULES & set(action.rules)))

    def _forget(self) -> None:
        now = self._clocks.wire_ns()
        # The venue's totals come with whole reads of the account; single events may show half a batch.
        age = self._view.ages().figures_ns
        seen = -1 if age is None else now - age
        for pair_id, row in list(self._busy.items()):
            waits = row.carrying or now < row.rests_until_ns
            if not waits and (row.spent_ns is None or seen > row.spent_ns):
                del self._busy[pair_id]

    # --- carrying out -------------------------------------------------------------------------------------

    async def carry(
        self, operation: IntentId, actions: Sequence[PairAction], commit: Commit
    ) -> tuple[str, ...]:
        """Do it; whatever did not go as planned comes back as words for the audit."""
        notes: list[str] = []
        sent: dict[PairId, list[OrderResult]] = {action.pair_id: [] for action in actions}
        try:
            with anyio.move_on_after(CARRY_LIMIT_NS / SECOND_NS) as scope:
                await self._send(operation, actions, commit, sent, notes)
            if scope.cancelled_caught:
                notes.append("not finished within its limit; what is in flight is counted by the next look")
        except JOURNAL_FATAL:
            raise
        except CarrydeskError as error:
            notes.append(str(error))
        finally:
            for pair_id, results in sent.items():
                self._release(pair_id, results)
        return tuple(notes)

    async def _send(
        self,
        operation: IntentId,
        actions: Sequence[PairAction],
        commit: Commit,
        sent: Mapping[PairId, list[OrderResult]],
        notes: list[str],
    ) -> None:
        flying = await commit()
        before = self._gatherer.holdings_now()
        orders = self.orders(operation, actions, flying)
        resting = [row.request for row in flying if _rests(row) and row.request.pair_id in sent]
        results: tuple[OrderResult, ...] = ()
        async with anyio.create_task_group() as group:
            # What rests for these pairs would trade on beside the guard: cancels overtake everything else.
            group.start_soon(self._cancel, resting, notes)
            try:
                results = await self._worker.submit(orders, Priority.GUARD)
            except InputError as error:
                notes.append(str(error))
        for result in results:
            sent[result.request.pair_id].append(result)
            if not isinstance(result.outcome, Accepted):
                notes.append(f"{result.request.client_order_id} {result.outcome}")
        self._count_refusals(results)
        if not orders:
            notes.append("nothing to send: orders in flight do it already, or what is left is too small")
        filled = await self._settled(results)
        await self._shown(before, filled)

    async def _cancel(self, orders: Sequence[OrderRequest], notes: list[str]) -> None:
        if not orders:
            return
        requests = [CancelRequest(one.client_order_id, one.instrument_id) for one in orders]
        try:
            outcomes = await self._worker.cancel(requests)
        except InputError as error:
            notes.append(str(error))
            return
        notes.extend(
            f"a cancel failed: {outcome.reason}"
            for outcome in outcomes
            if isinstance(outcome, NotSent | Unknown)
        )

    def _release(self, pair_id: PairId, results: Sequence[OrderResult]) -> None:
        row = self._busy[pair_id]
        row.carrying = False
        now = self._clocks.wire_ns()
        if any(isinstance(one.outcome, Accepted | Unknown) for one in results):
            row.spent_ns = now
        else:
            row.rests_until_ns = now + RETRY_NS

    async def _settled(self, results: Sequence[OrderResult]) -> dict[InstrumentId, Decimal]:
        """Signed base coins that the accepted orders traded, as far as booked within the limit."""
        filled: dict[InstrumentId, Decimal] = {}
        deadline = self._clocks.monotonic_ns() + SETTLE_NS
        for result in results:
            if not isinstance(result.outcome, Accepted):
                continue
            left = max(0, deadline - self._clocks.monotonic_ns())
            row = await self._worker.settled(result.request.client_order_id, timeout_ns=left)
            self._count_miss(row)
            instrument_id = result.request.instrument_id
            traded = result.request.side.sign * row.filled - row.fee_base
            filled[instrument_id] = filled.get(instrument_id, ZERO) + traded
        return filled

    def _count_miss(self, row: OrderRow) -> None:
        """A limit that met nothing was too near in a market that runs: the next one goes further."""
        pair_id = row.request.pair_id
        if row.filled > 0:
            self._missed.pop(pair_id, None)
        elif row.state == "closed":
            self._missed[pair_id] = self._missed.get(pair_id, 0) + 1

    def _count_refusals(self, results: Sequence[OrderResult]) -> None:
        """An account that cannot carry one large order may carry the first of many smaller ones.

        So it is with buying borrowed coins back: each piece, once it is repaid, makes room for the next.
        """
        taken: dict[InstrumentId, set[bool]] = {}
        for result in results:
            if isinstance(result.outcome, Accepted | Rejected):
                outcomes = taken.setdefault(result.request.instrument_id, set())
                outcomes.add(isinstance(result.outcome, Accepted))
            if isinstance(result.outcome, Rejected):
                # The limit itself may be what was refused.
                self._missed[result.request.pair_id] = WIDENED_MAX + 1
        for instrument_id, outcomes in taken.items():
            if outcomes == {True}:
                self._parts.pop(instrument_id, None)
            elif outcomes == {False}:
                self._parts[instrument_id] = min(2 * self._parts.get(instrument_id, 1), PARTS_MAX)

    def _slippage(self, pair_id: PairId) -> Decimal | None:
        """How much worse than the best price an order for this pair may trade, a fraction; None: at market.

        Venues refuse limits too far from their price, so a limit does not widen for ever.
        """
        doublings = self._missed.get(pair_id, 0)
        if doublings > WIDENED_MAX:
            return None
        return self._limits.trade.urgent_slippage_max * Decimal(2**doublings)

    async def _shown(
        self, before: Mapping[InstrumentId, Decimal], filled: Mapping[InstrumentId, Decimal]
    ) -> None:
        """Until the account shows those fills, or the limit passes."""
        wanted = {key: before[key] + traded for key, traded in filled.items() if key in before}
        with anyio.move_on_after(SETTLE_NS / SECOND_NS):
            while True:
                version = self._view.version
                if all(self._near(key, coins) for key, coins in wanted.items()):
                    return
                await self._view.changed(version)

    def _near(self, instrument_id: InstrumentId, coins: Decimal) -> bool:
        lot = self._view.instrument(instrument_id).lot_size
        return abs(self._view.signed_holding(instrument_id) - coins) <= lot

    # --- orders -------------------------------------------------------------------------------------------

    def orders(
        self, operation: IntentId, actions: Sequence[PairAction], flying: Sequence[OrderRow]
    ) -> tuple[OrderRequest, ...]:
        """The orders of these actions from here."""
        pairs = {action.pair_id: self._view.pair(action.pair_id) for action in actions}
        legs = {pair_id: self._legs(pair, flying) for pair_id, pair in pairs.items()}
        slippage = {pair_id: self._slippage(pair_id) for pair_id in pairs}
        return orders_for(actions, pairs, legs, operation, slippage)

    def _legs(self, pair: PairSpec, flying: Sequence[OrderRow]) -> tuple[LegNow, LegNow]:
        held: PairLegs = self._view.legs(pair.pair_id)
        price = self._gatherer.price_of(pair)
        long = self._leg(pair.long_leg, held.long_quantity, Side.SELL, flying, price)
        return long, self._leg(pair.short_leg, held.short_quantity, Side.BUY, flying, price)

    def _leg(
        self,
        instrument_id: InstrumentId,
        held: Decimal,
        away: Side,
        flying: Sequence[OrderRow],
        price: Decimal | None,
    ) -> LegNow:
        instrument = self._view.instrument(instrument_id)
        rows = [row for row in flying if row.request.instrument_id == instrument_id]
        tables = self._view.tables
        rates = None if tables is None else tables.fees.get(instrument_id)
        is_spot = instrument.kind is InstrumentKind.SPOT
        return LegNow(
            instrument=instrument,
            held=held,
            leaving=_in_flight(rows, away),
            arriving=_in_flight(rows, away.opposite),
            price=price,
            quote=self._fresh_quote(instrument_id),
            fee_rate=rates.taker if is_spot and rates is not None else ZERO,
            parts=self._parts.get(instrument_id, 1),
        )

    def _fresh_quote(self, instrument_id: InstrumentId) -> Quote | None:
        seen = self._view.market.seen_of_quotes([instrument_id])[0]
        if seen is None or self._clocks.wire_ns() - seen > self._limits.freshness.price_ns:
            return None
        return self._view.quote(instrument_id)

    # --- afterwards ---------------------------------------------------------------------------------------

    async def repay(self, operation: IntentId, actions: Sequence[PairAction]) -> tuple[str, ...]:
        """Repay what the sales brought: an exit is complete when its debts are. Words where it failed."""
        notes = []
        for coin in self._owed(actions):
            try:
                left = await self._repayer.settle(operation, coin)
            except CarrydeskError as error:
                left = str(error)
            if left is not None:
                notes.append(left)
        return tuple(notes)

    def _owed(self, actions: Sequence[PairAction]) -> list[Coin]:
        coins: set[Coin] = set()
        for action in actions:
            pair = self._view.pair(action.pair_id)
            for leg in (pair.long_leg, pair.short_leg):
                instrument = self._view.instrument(leg)
                if instrument.kind is InstrumentKind.SPOT:
                    coins |= {instrument.base, instrument.quote}
        try:
            return sorted(coin for coin in coins if self._view.debt(coin) > 0)
        except MissingDataError:
            return []


def _rests(row: OrderRow) -> bool:
    return row.request.time_in_force in (TimeInForce.GTC, TimeInForce.POST_ONLY)


def _in_flight(rows: Sequence[OrderRow], side: Side) -> Decimal:
    """Coins that orders of this side may still trade; what rests is being cancelled and does not count."""
    return sum(
        (row.request.quantity - row.filled for row in rows if row.request.side is side and not _rests(row)),
        start=ZERO,
    )
