"""A desk in this process, as production puts it together, on the in-memory venue in real time.

Journal on a file with its own thread, heavy work on another, guard, controller, worker and bookkeeper on the
event loop. The venue shares the loop, so its own work counts against the desk.
"""

import gc
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import anyio

from benchmarks import made
from exchanges.memory import MemoryExchange, MemoryOptions
from exchanges.paper.commands import Shock
from exchanges.paper.core import VenueCore
from portfolio.approvals import PinnedVerifier, create_operator_key, sign_approval, unlock
from portfolio.assembly import Assembly, Surroundings
from portfolio.clocks import PaperClocks
from portfolio.core.instrument import InstrumentKind
from portfolio.core.intents import Intent
from portfolio.core.limits import MINUTE_NS, SECOND_NS, RiskLimits
from portfolio.core.names import AccountId, PairId
from portfolio.core.orders import OrderRequest, Outcome
from portfolio.core.risk import LeveragePolicy
from portfolio.core.universe import carry_pairs
from portfolio.journal.open import open_journal
from portfolio.journal.sql import SqlJournal
from portfolio.operations import MoveMode
from portfolio.ports import IntentRow
from portfolio.service import Principal, ProposalRequest, Scope, WantedTarget
from server.thread_runner import ThreadRunner

ACCOUNT = AccountId("bybit:main")
MODE = "paper"
AGENT = Principal("bench", tuple(scope.value for scope in Scope))
PASSPHRASE = "benchmark operator"  # noqa: S105 - signs paper intents only
KEY = create_operator_key(PASSPHRASE, scrypt_n=2)
READY_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that left the desk, on the wall clock."""

    wire_ns: int
    kind: InstrumentKind
    orders: tuple[OrderRequest, ...]


class WatchedExchange(MemoryExchange):
    """The in-memory venue, which says when each batch of orders left the desk."""

    sent: list[Sent]
    #: The first batch since `expect` left.
    went: anyio.Event

    def expect(self) -> None:
        """Forget what was sent."""
        self.sent, self.went = [], anyio.Event()

    def jump(self, factor: Decimal) -> None:
        """Every price is multiplied, and everybody who listens hears of it at once."""
        coins = {row.base for row in self.core.instruments()}
        self._next_quotes_ns = 0
        reply = self.command(Shock(dict.fromkeys(coins, factor)))
        assert reply.ok, reply

    async def place(self, orders: Sequence[OrderRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        """As the venue does."""
        kind = self._kinds[orders[0].instrument_id]
        self.sent.append(Sent(time.time_ns(), kind, tuple(orders)))
        self.went.set()
        return await super().place(orders, deadline_wire_ns)


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the world is."""

    pairs: int
    latency_ns: int = 50_000_000
    #: USD of one leg of every pair, and of equity per pair.
    leg_usd: Decimal = Decimal(16_000)
    equity_usd: Decimal = Decimal(14_000)


@dataclass
class Desk:
    """One running desk and what to look at."""

    assembly: Assembly
    exchange: WatchedExchange
    journal: SqlJournal
    runner: ThreadRunner
    clocks: PaperClocks
    scale: Scale
    #: Set after every look of the guard.
    looked: Callable[[], anyio.Event] = field(repr=False)

    async def propose(self, targets: Mapping[PairId, Decimal]) -> Intent:
        """An intent for these pairs, USD of one leg."""
        wanted = tuple(WantedTarget(pair_id, usd) for pair_id, usd in targets.items())
        request = ProposalRequest("changes", wanted, "bench", None, 30, reduce_only=False, min_health=None)
        row = (await self.assembly.desk.propose(AGENT, request)).row
        assert row is not None, "the proposal changes nothing"
        await self.assembly.desk.request_execution(AGENT, row.intent.intent_id, row.intent.digest)
        return row.intent

    async def approve(self, intent: Intent) -> None:
        """As the operator does; from here the desk goes on by itself."""
        approval = sign_approval(
            unlock(KEY, PASSPHRASE),
            purpose="intent",
            mode=MODE,
            accounts=(ACCOUNT,),
            digest=intent.digest,
            expires_wire_ns=time.time_ns() + 10 * MINUTE_NS,
        )
        await self.assembly.desk.approve(intent.intent_id, approval)

    async def finished(self, intent: Intent, seconds_max: float = 60) -> IntentRow:
        """Until the intent ended; how."""
        with anyio.fail_after(seconds_max):
            while True:
                row = await self.runner.run(lambda: self.journal.intent(intent.intent_id))
                if row is not None and row.status.final:
                    return row
                await anyio.sleep(0.02)


class World:
    """A venue and the clocks it runs on; desks come and go."""

    def __init__(self, scale: Scale, stored: Mapping[str, object] | None = None) -> None:
        self.scale = scale
        self.core: VenueCore = made.venue(scale.pairs, scale.equity_usd * scale.pairs)
        if stored is not None:
            self.core.load(stored)
        self.clocks = PaperClocks(
            start_market_ns=self.core.now_ns, start_wire_ns=time.time_ns(), speed=Decimal(1)
        )
        options = MemoryOptions(latency_ns=scale.latency_ns, quotes_every_ns=SECOND_NS // 4)
        self.exchange = WatchedExchange(self.core, self.clocks, options=options)
        self.exchange.expect()

    @asynccontextmanager
    async def desk(self, journal_path: Path) -> AsyncIterator[Desk]:
        """One life of a desk, from when it is awake and sees everything fresh."""
        async with ThreadRunner() as runner, ThreadRunner() as offload, anyio.create_task_group() as tasks:
            await tasks.start(self.exchange.run)
            journal = await runner.run(lambda: self._journal(journal_path))
            made_desk = self._assemble(journal, runner, offload)
            await tasks.start(made_desk.assembly.run)
            await _ready(made_desk)
            with _as_in_production():
                yield made_desk
            tasks.cancel_scope.cancel()
        journal.close()

    def _journal(self, path: Path) -> SqlJournal:
        return open_journal(
            path, account=ACCOUNT, uid=made.UID, mode=MODE, wire_ns=self.clocks.wire_ns(), version="bench"
        )

    def _assemble(self, journal: SqlJournal, runner: ThreadRunner, offload: ThreadRunner) -> Desk:
        instruments = {row.instrument_id: row for row in self.core.instruments()}
        look = [anyio.Event()]

        def beat() -> None:
            look[0].set()
            look[0] = anyio.Event()

        surroundings = Surroundings(
            account=ACCOUNT,
            mode=MODE,
            install="bench",
            exchange=self.exchange,
            journal=journal,
            runner=runner,
            offload=offload,
            clocks=self.clocks,
            verifier=PinnedVerifier(KEY),
            instruments=instruments,
            pairs=carry_pairs(instruments.values()),
            limits=RiskLimits(),
            policy=LeveragePolicy(),
            heartbeat=beat,
            move_mode=MoveMode.URGENT,
        )
        assembly = Assembly(surroundings)
        return Desk(assembly, self.exchange, journal, runner, self.clocks, self.scale, lambda: look[0])


@contextmanager
def _as_in_production() -> Iterator[None]:
    """Collector and threads as the desk's process sets them (server/desk.py)."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(0.001)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def _ready(desk: Desk) -> None:
    """Until the desk would trade: recovered, everything fresh, ranked once, the guard content."""
    assembly, view = desk.assembly, desk.assembly.view
    with anyio.fail_after(READY_SECONDS_MAX):
        while view.stale(RiskLimits().freshness, list(view.instruments)):
            await view.changed()
        await assembly.ranking.refresh()
        while not assembly.bookkeeper.recovered or assembly.guard.status().state != "ok":
            await desk.looked().wait()
