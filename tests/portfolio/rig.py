"""A desk's lower half for tests: venue, journal, view, worker and bookkeeper, all real, on one clock."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypedDict, TypeVar, Unpack

import anyio

from exchanges.memory import MemoryExchange, MemoryOptions
from exchanges.paper.config import VenueConfig
from exchanges.paper.core import VenueCore
from exchanges.paper.faults import NO_FAULTS, FaultPlan
from exchanges.paper.synthetic import SyntheticReplay
from portfolio.approvals import OperatorKey, PinnedVerifier, create_operator_key, sign_approval, unlock
from portfolio.bookkeeper import Bookkeeper
from portfolio.clocks import LoopClocks
from portfolio.core.account import AccountSnapshot
from portfolio.core.client_ids import client_order_id
from portfolio.core.digest import sealed
from portfolio.core.entries import IntentApproved, IntentMoved, IntentProposed
from portfolio.core.errors import JournalError
from portfolio.core.events import VenueEvent
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.intents import DriftBounds, Intent, IntentStatus, LegBound, SignedApproval, Target
from portfolio.core.limits import HOUR_NS, SECOND_NS, TradeLimits
from portfolio.core.market import Settlement
from portfolio.core.names import AccountId, ClientOrderId, Coin, InstrumentId, IntentId, Narrative, PairId
from portfolio.core.orders import (
    Absent,
    Accepted,
    CancelRequest,
    FindResult,
    OrderClass,
    OrderRequest,
    Outcome,
    Priority,
    Side,
    TimeInForce,
)
from portfolio.core.pairs import PairSpec
from portfolio.core.risk import LeveragePolicy
from portfolio.journal.open import open_journal
from portfolio.journal.sql import SqlJournal
from portfolio.ports import EmergencyLog
from portfolio.view import AccountView
from portfolio.worker import EntryVeto, OrderResult, RebalanceWorker

T = TypeVar("T")

ACCOUNT = AccountId("bybit:main")
MODE = "paper"
UID = "10000001"
START_NS = 1_735_689_600 * SECOND_NS  # 2025-01-01T00:00Z
COINS = ("SOL", "BTC", "ETH", "XRP", "DOGE", "BNB", "AVAX")
PASSPHRASE = "correct horse battery"
KEY: OperatorKey = create_operator_key(PASSPHRASE, scrypt_n=2)


def perpetual(coin: str) -> InstrumentId:
    return InstrumentId(f"bybit:linear:{coin}USDT")


def spot(coin: str) -> InstrumentId:
    return InstrumentId(f"bybit:spot:{coin}USDT")


def pair_id(coin: str) -> PairId:
    return PairId(f"{coin}@bybit")


def pair_spec(coin: str) -> PairSpec:
    return PairSpec(
        PairId(f"{coin}@bybit"), Coin(coin), Narrative(coin), spot(coin), perpetual(coin), perpetual(coin)
    )


PAIRS = {spec.pair_id: spec for spec in map(pair_spec, COINS)}


NEAR = MemoryOptions()


class More(TypedDict, total=False):
    """What tests change of an order."""

    intent: str
    price: Decimal | None
    time_in_force: TimeInForce
    borrow: bool
    slice_no: int | None


class Crash(Exception):
    """The process dies here."""


class Rails:
    """A runner whose disk can fail, and which can die before or after a chosen call."""

    def __init__(self) -> None:
        self.broken: str | None = None
        self.delay_seconds = 0.0
        #: A call that fails does so after this: another process may hold the lock.
        self.failing_seconds = 0.0
        self.calls = 0
        self.die_before: int | None = None
        self.die_after: int | None = None

    async def run(self, call: Callable[[], T]) -> T:
        await anyio.sleep(self.delay_seconds)
        self.calls += 1
        if self.calls == self.die_before:
            raise Crash
        if self.broken is not None:
            raise JournalError(self.broken)
        try:
            result = call()
        except JournalError:
            await anyio.sleep(self.failing_seconds)
            raise
        if self.calls == self.die_after:
            raise Crash
        return result


class WatchedExchange(MemoryExchange):
    """The in-memory venue, which says what reached it and when, and at which the desk can die."""

    def __init__(
        self, core: VenueCore, clocks: LoopClocks, faults: FaultPlan, options: MemoryOptions
    ) -> None:
        super().__init__(core, clocks, faults=faults, options=options)
        self.wire = clocks
        self.requests: list[tuple[int, str, tuple[str, ...]]] = []
        self.on_place: Callable[[Sequence[OrderRequest]], None] = lambda orders: None
        self.die_after_place = False
        self.silent = False
        #: Events of these classes get lost without a Gap.
        self.mute: tuple[type, ...] = ()
        #: Orders that no query shows.
        self.hidden: set[str] = set()
        self.read_account: Callable[[], Awaitable[AccountSnapshot]] = super().snapshot
        #: Every question for settled funding, and whether the venue has yet to tell of a new one.
        self.asked_since: list[tuple[InstrumentId, int]] = []
        self.funding_is_late = False

    async def snapshot(self) -> AccountSnapshot:
        return await self.read_account()

    async def settlements(self, instrument_id: InstrumentId, since_market_ns: int) -> tuple[Settlement, ...]:
        self.asked_since.append((instrument_id, since_market_ns))
        found = await super().settlements(instrument_id, since_market_ns)
        return () if self.funding_is_late else found

    async def find(self, client_order_id: ClientOrderId, instrument_id: InstrumentId) -> FindResult:
        found = await super().find(client_order_id, instrument_id)
        return Absent(self.wire.wire_ns()) if client_order_id in self.hidden else found

    def tell(self, event: VenueEvent) -> None:
        """Put an event of the test's own on the stream."""
        super()._send(event, self.wire.wire_ns())

    def hang_up(self) -> None:
        """Close every event stream for good."""
        self.mute = (object,)
        for listener in self._listeners._listeners:
            listener._send.close()

    def _send(self, event: VenueEvent, now: int) -> None:
        if not isinstance(event, self.mute):
            super()._send(event, now)

    async def place(self, orders: Sequence[OrderRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        self.requests.append((self.wire.wire_ns(), "place", tuple(one.client_order_id for one in orders)))
        self.on_place(orders)
        outcomes = await super().place(orders, deadline_wire_ns)
        if self.die_after_place:
            raise Crash
        if self.silent:
            await anyio.sleep_forever()
        return outcomes

    async def cancel(self, orders: Sequence[CancelRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        self.requests.append((self.wire.wire_ns(), "cancel", tuple(one.client_order_id for one in orders)))
        return await super().cancel(orders, deadline_wire_ns)

    @property
    def placed(self) -> list[str]:
        return [key for _, what, keys in self.requests if what == "place" for key in keys]


class Watchman:
    """A guard that refuses what it is told to refuse and holds what it is told to hold."""

    def __init__(self) -> None:
        self.refused: dict[PairId, str] = {}
        self.held: set[PairId] = set()
        self.asked: list[tuple[OrderRequest, ...]] = []

    def veto(self, orders: Sequence[OrderRequest]) -> str | None:
        self.asked.append(tuple(orders))
        return next((self.refused[one.pair_id] for one in orders if one.pair_id in self.refused), None)

    def holds(self, pair_id: PairId) -> bool:
        return pair_id in self.held


@dataclass
class Settings:
    """What differs between tests."""

    faults: FaultPlan = NO_FAULTS
    options: MemoryOptions = NEAR
    usdt: Decimal = Decimal(200_000)
    guard: bool = True
    emergency: EmergencyLog | None = None
    recovered: bool = True
    #: When the desk starts, on both clocks; the venue's history begins an hour before START_NS.
    start_ns: int = START_NS
    broken: str | None = None


@dataclass
class Rig:
    """Everything of one desk run. The venue and the journal outlive it."""

    clocks: LoopClocks
    exchange: WatchedExchange
    journal: SqlJournal
    rails: Rails
    view: AccountView
    guard: Watchman
    worker: RebalanceWorker
    bookkeeper: Bookkeeper
    instruments: dict[InstrumentId, Instrument]
    stop: Callable[[], None]
    #: References when the venue opened: for orders that must be the same in every life of a desk.
    opening: dict[InstrumentId, Decimal]
    sliced: dict[tuple[IntentId, InstrumentId], int] = field(default_factory=dict)

    def disk(self, *, fails: bool) -> None:
        """Let the journal's database refuse to write, for real."""
        connection = self.journal._connection
        assert connection is not None
        connection.exec_driver_sql(f"PRAGMA query_only = {int(fails)}")
        if connection.in_transaction():
            connection.rollback()

    def price(self, instrument_id: InstrumentId, side: Side, beyond: Decimal = Decimal("0.005")) -> Decimal:
        """A limit that surely trades, on a tick."""
        reference = self.view.reference_price(instrument_id)
        tick = self.instruments[instrument_id].tick_size
        return ((reference * (1 + side.sign * beyond)) // tick) * tick

    def order(
        self,
        coin: str,
        kind: InstrumentKind,
        side: Side,
        quantity: Decimal,
        order_class: OrderClass,
        *,
        intent: str = "i1",
        price: Decimal | None = None,
        time_in_force: TimeInForce = TimeInForce.IOC,
        reduce_only: bool = False,
        borrow: bool = False,
        slice_no: int | None = None,
    ) -> OrderRequest:
        instrument_id = perpetual(coin) if kind is InstrumentKind.PERPETUAL else spot(coin)
        key = (IntentId(intent), instrument_id)
        number = self.sliced.get(key, 0) if slice_no is None else slice_no
        self.sliced[key] = number + 1
        return OrderRequest(
            client_order_id=client_order_id(key[0], instrument_id, number, 0),
            instrument_id=instrument_id,
            side=side,
            quantity=quantity,
            limit_price=self.price(instrument_id, side) if price is None else price,
            time_in_force=time_in_force,
            reduce_only=reduce_only,
            borrow=borrow,
            order_class=order_class,
            pair_id=PairId(f"{coin}@bybit"),
            intent_id=key[0],
        )

    def entry(self, coin: str, quantity: str, **more: Unpack[More]) -> OrderRequest:
        """The lead of an entry: a sale of the perpetual."""
        return self.order(
            coin, InstrumentKind.PERPETUAL, Side.SELL, Decimal(quantity), OrderClass.ENTRY, **more
        )

    def hedge(self, coin: str, quantity: str, **more: Unpack[More]) -> OrderRequest:
        """What follows it: a purchase on spot."""
        return self.order(coin, InstrumentKind.SPOT, Side.BUY, Decimal(quantity), OrderClass.HEDGE, **more)

    def reduction(self, coin: str, quantity: str, **more: Unpack[More]) -> OrderRequest:
        """Buying a short perpetual back."""
        more.setdefault("intent", "g1")
        return self.order(
            coin,
            InstrumentKind.PERPETUAL,
            Side.BUY,
            Decimal(quantity),
            OrderClass.REDUCE,
            reduce_only=True,
            **more,
        )

    def approve(self, *targets: tuple[str, str], intent_id: str = "i1", **more: Any) -> Intent:
        """Propose and approve an intent that grows these pairs by so many coins."""
        intent = self.intent(*targets, intent_id=intent_id, **more)
        self.journal.append([IntentProposed(intent)], self.clocks.wire_ns())
        approval = self.sign(intent)
        self.journal.append([IntentApproved(intent.intent_id, approval)], self.clocks.wire_ns())
        return intent

    def finish(self, intent: Intent) -> None:
        """Make room for the next one."""
        moved = IntentMoved(intent.intent_id, IntentStatus.EXECUTING, IntentStatus.DONE, "desk", "")
        self.journal.append([moved], self.clocks.wire_ns())

    def intent(self, *targets: tuple[str, str], intent_id: str = "i1", **more: Any) -> Intent:
        made = Intent(
            intent_id=IntentId(intent_id),
            mode=MODE,
            account=ACCOUNT,
            kind="changes",
            targets=tuple(self.target(coin, Decimal(quantity)) for coin, quantity in targets),
            reduce_only=False,
            proposed_by="agent",
            reason="carry",
            request_id=None,
            health_after=Decimal("0.9"),
            fingerprint="f",
            drift=DriftBounds(),
            text="text",
            digest="",
            created_wire_ns=self.clocks.wire_ns(),
            expires_wire_ns=self.clocks.wire_ns() + HOUR_NS,
        )
        return sealed(replace(made, **more))

    def target(self, coin: str, quantity: Decimal) -> Target:
        legs = ((spot(coin), Side.BUY), (perpetual(coin), Side.SELL))
        bounds = tuple(
            LegBound(leg, self.view.reference_price(leg), self.price(leg, side, Decimal("0.03")))
            for leg, side in legs
        )
        return Target(PairId(f"{coin}@bybit"), Decimal(0), quantity, bounds)

    def sign(self, intent: Intent, *, seconds: int = 3600, key: OperatorKey = KEY) -> SignedApproval:
        return sign_approval(
            unlock(key, PASSPHRASE),
            purpose="intent",
            mode=intent.mode,
            accounts=[intent.account],
            digest=intent.digest,
            expires_wire_ns=self.clocks.wire_ns() + seconds * SECOND_NS,
        )

    async def send(self, *orders: OrderRequest, priority: Priority = Priority.ENTRY) -> tuple[Outcome, ...]:
        results: tuple[OrderResult, ...] = await self.worker.submit(orders, priority)
        assert [one.request for one in results] == list(orders)
        return tuple(one.outcome for one in results)

    async def hold(self, coin: str, quantity: str) -> None:
        """Build a hedged pair of so many coins, then forget what was sent for it."""
        intent = self.approve((coin, quantity), intent_id=f"hold{coin}")
        for order in (
            self.entry(coin, quantity, intent=intent.intent_id),
            self.hedge(coin, quantity, intent=intent.intent_id),
        ):
            (outcome,) = await self.send(order)
            assert isinstance(outcome, Accepted), outcome
            row = await self.worker.settled(order.client_order_id, timeout_ns=10 * SECOND_NS)
            assert row.filled == order.quantity
        self.finish(intent)
        await anyio.sleep(2)
        self.exchange.requests.clear()
        self.guard.asked.clear()

    async def settle(self, *orders: OrderRequest, seconds: int = 60) -> None:
        """Until the orders' fills are booked."""
        for order in orders:
            await self.worker.settled(order.client_order_id, timeout_ns=seconds * SECOND_NS)

    def venue_position(self, coin: str) -> Decimal:
        """The truth: signed coins of the perpetual at the venue."""
        position = self.exchange.core.position(perpetual(coin)).position
        return Decimal(0) if position is None else position.quantity


class World:
    """What outlives a desk: time, the venue and the journal's file."""

    def __init__(self, path: str, settings: Settings) -> None:
        self.path = path
        self.settings = settings
        self.clocks = LoopClocks(start_wire_ns=settings.start_ns, start_market_ns=settings.start_ns)
        replay = SyntheticReplay(seed=7, start_ns=START_NS - HOUR_NS, hours=48)
        config = VenueConfig(uid=UID, start_ns=settings.start_ns, balances={Coin("USDT"): settings.usdt})
        self.opening: dict[InstrumentId, Decimal] = {}
        self.core = VenueCore(config, replay, seed=7)
        self.exchange = WatchedExchange(self.core, self.clocks, settings.faults, settings.options)

    @asynccontextmanager
    async def desk(self, *, bookkeeping: bool = True) -> AsyncIterator[Rig]:
        """One life of a desk on this world."""
        journal = open_journal(
            self.path, account=ACCOUNT, uid=UID, mode=MODE, wire_ns=self.clocks.wire_ns(), version="test"
        )
        try:
            with plain_errors():
                async with anyio.create_task_group() as group:
                    rig = await self._assemble(journal, group.cancel_scope.cancel)
                    await group.start(rig.worker.run)
                    if bookkeeping:
                        await group.start(rig.bookkeeper.run)
                    if self.settings.recovered:
                        await rig.worker.until_recovered()
                    yield rig
                    group.cancel_scope.cancel()
        finally:
            journal.close()

    async def _assemble(self, journal: SqlJournal, stop: Callable[[], None]) -> Rig:
        instruments = {one.instrument_id: one for one in await self.exchange.instruments()}
        view = AccountView(
            account=ACCOUNT,
            instruments=instruments,
            pairs=PAIRS,
            clocks=self.clocks,
            policy=LeveragePolicy(),
        )
        view.load_market(await self.exchange.market())
        self.opening = self.opening or {key: view.reference_price(key) for key in instruments}
        rails, guard = Rails(), Watchman()
        rails.broken = self.settings.broken
        veto: EntryVeto | None = guard if self.settings.guard else None
        worker = RebalanceWorker(
            exchange=self.exchange,
            journal=journal,
            runner=rails,
            clocks=self.clocks,
            instruments=instruments,
            view=view,
            veto=veto,
            verifier=PinnedVerifier(KEY),
            account=ACCOUNT,
            mode=MODE,
            pairs=PAIRS,
            limits=TradeLimits(),
            emergency=self.settings.emergency,
        )
        bookkeeper = Bookkeeper(exchange=self.exchange, worker=worker, view=view, clocks=self.clocks)
        return Rig(
            self.clocks,
            self.exchange,
            journal,
            rails,
            view,
            guard,
            worker,
            bookkeeper,
            instruments,
            stop,
            self.opening,
        )


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in leaves(one)]
    return [error]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Let one exception out of the task groups that it passed: a planned crash, or else the first."""
    try:
        yield
    except BaseExceptionGroup as group:
        found = leaves(group)
        raise next((one for one in found if isinstance(one, Crash)), found[0]) from None


@asynccontextmanager
async def world(path: str, settings: Settings) -> AsyncIterator[World]:
    """A venue that lives in the background."""
    with plain_errors():
        made = World(path, settings)
        async with anyio.create_task_group() as group:
            await group.start(made.exchange.run)
            yield made
            group.cancel_scope.cancel()


@asynccontextmanager
async def desk(path: str = ":memory:", settings: Settings | None = None) -> AsyncIterator[Rig]:
    """A venue and one desk on it."""
    async with world(path, settings or Settings()) as made, made.desk() as rig:
        yield rig
