"""The desk process: venue keys, engine, worker, guard and journal are put together here.

It must stay true that nothing reachable from this module imports MCP or a web framework: the guard shares the
process with no tool call and parses no HTTP from outside. An import contract checks it.
"""

import gc
import logging
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from exchanges.bybit.exchange import BybitExchange, open_bybit
from portfolio.approvals import PinnedVerifier, load_operator_key
from portfolio.assembly import Assembly, Surroundings
from portfolio.core.adoption import first_treasury
from portfolio.core.entries import EntriesFrozen, EntriesThawed, Entry
from portfolio.core.errors import VenueError
from portfolio.core.instrument import Instrument
from portfolio.core.intents import IntentStatus
from portfolio.core.names import Coin, InstrumentId, PairId
from portfolio.core.pairs import PairSpec
from portfolio.core.risk import LeveragePolicy
from portfolio.core.universe import carry_pairs
from portfolio.journal.lock import lock_file
from portfolio.journal.open import open_journal
from portfolio.journal.sql import SqlJournal
from portfolio.journal_retry import JournalRetry
from portfolio.operations import MoveMode
from portfolio.ports import Clocks, Runner
from server.clients import DESK_DOOR, DESK_METHODS, OPERATOR_DOOR, OPERATOR_METHODS
from server.emergency import EmergencyFile
from server.endings import say
from server.heartbeat import Heartbeat
from server.home import Home
from server.locks import account_lock
from server.rpc_server import RpcLimits, RpcServer
from server.settings import Settings
from server.start_checks import home_token, missing_coins, unlisted
from server.thread_runner import ThreadRunner
from server.venue_access import VenueAccess, check_key, venue_access

logger = logging.getLogger(__name__)

#: Freezes that this module sets: the desk is going down; it went down too often.
STOPPING, RESTARTS = "stopping", "restarts"
#: Longest wait at a stop for hedges in flight.
STOP_SECONDS_MAX = 20.0
_VENUE_RETRY_SECONDS_MAX = 15.0


def journal_path(settings: Settings) -> Path:
    """One journal per mode and account; it refuses the uid of another run itself."""
    name = f"{settings.mode}-{settings.account.replace(':', '-')}.db"
    return Home(settings.home).journal_dir / name


async def run_desk(settings: Settings, environment: Mapping[str, str]) -> None:
    """Run the desk until it is told to stop.

    Raises:
        RefusedError, SettingsError, JournalError, VenueError: what the desk cannot go on without.
    """
    home = Home(settings.home)
    access = venue_access(settings, environment)
    verifier = PinnedVerifier(load_operator_key(home.operator_file))
    path = journal_path(settings)
    with lock_file(path):
        heartbeat = Heartbeat(home.heartbeat_file)  # under the lock: opening it wipes the last beat
        async with AsyncExitStack() as stack:
            runner = await stack.enter_async_context(ThreadRunner())
            offload = await stack.enter_async_context(ThreadRunner())
            exchange = await _connected(stack, access, heartbeat)
            credentials = await exchange.credentials()
            check_key(credentials)
            account = account_lock(home.root, venue=settings.venue, mode=settings.mode, uid=credentials.uid)
            stack.enter_context(account)
            await exchange.prepare()
            instruments = {row.instrument_id: row for row in await exchange.instruments()}
            pairs = carry_pairs(instruments.values())
            journal = await _journal(stack, runner, settings, credentials.uid, access.clocks, path)
            await _check_coins(settings, pairs, exchange, journal, runner)
            await _first_entries(journal, runner, exchange, home, access.clocks, instruments)
            emergency = EmergencyFile(path.with_suffix(".emergency"))
            stack.callback(emergency.close)
            assembly = Assembly(
                Surroundings(
                    account=settings.account,
                    mode=settings.mode,
                    install=settings.install,
                    exchange=exchange,
                    journal=journal,
                    runner=runner,
                    offload=offload,
                    clocks=access.clocks,
                    verifier=verifier,
                    instruments=instruments,
                    pairs=pairs,
                    limits=settings.limits,
                    policy=LeveragePolicy(),
                    heartbeat=heartbeat.beat,
                    emergency=emergency,
                    move_mode=MoveMode(settings.move_mode),
                )
            )
            await _serve(assembly, journal, runner, access.clocks, home, credentials.uid)


async def _connected(stack: AsyncExitStack, access: VenueAccess, heartbeat: Heartbeat) -> BybitExchange:
    """Connect, waiting for a venue that is away: that is no reason to die and be restarted."""
    pause = 0.5
    while True:
        try:
            return await stack.enter_async_context(open_bybit(access.bybit, access.clocks))
        except VenueError as error:
            logger.warning("the venue is away: %s", error.message)
        heartbeat.beat()
        await anyio.sleep(pause)
        pause = min(_VENUE_RETRY_SECONDS_MAX, pause * 2)


async def _journal(
    stack: AsyncExitStack, runner: Runner, settings: Settings, uid: str, clocks: Clocks, path: Path
) -> SqlJournal:
    journal = await runner.run(
        lambda: open_journal(
            path, account=settings.account, uid=uid, mode=settings.mode, wire_ns=clocks.wire_ns()
        )
    )
    stack.push_async_callback(runner.run, journal.close)
    return journal


async def _check_coins(
    settings: Settings,
    pairs: Mapping[PairId, PairSpec],
    exchange: BybitExchange,
    journal: SqlJournal,
    runner: Runner,
) -> None:
    """A coin that the operator wrote is traded or refused, never dropped."""
    holdings = await runner.run(journal.holdings)
    held = {Coin(pair_id.partition("@")[0]) for pair_id, _ in holdings}
    missing = missing_coins(settings.coins, {pair.coin for pair in pairs.values()}, held)
    if missing:
        raise unlisted(missing, await exchange.listed_coins())


async def _first_entries(
    journal: SqlJournal,
    runner: Runner,
    exchange: BybitExchange,
    home: Home,
    clocks: Clocks,
    instruments: Mapping[InstrumentId, Instrument],
) -> None:
    """What a start itself has to say: coins that were there before us, the first token, freezes."""
    entries: list[Entry] = []
    tokens, freezes = await runner.run(journal.tokens), await runner.run(journal.freezes)
    orders, treasury = await runner.run(journal.orders), await runner.run(journal.treasury)
    if not orders and not treasury and not tokens:
        entries += first_treasury(await exchange.snapshot(), instruments.values())
    token = home_token(home, tokens)
    entries += [] if token is None else [token]
    if any(row.source == STOPPING for row in freezes):
        entries.append(EntriesThawed(STOPPING, "desk"))
    if home.freeze_file.exists():
        reason = "the desk was restarted too often; see its log"
        entries.append(EntriesFrozen(RESTARTS, reason, "operator"))
    if entries:
        await runner.run(lambda: journal.append(entries, clocks.wire_ns()))
    home.freeze_file.unlink(missing_ok=True)


async def _serve(
    assembly: Assembly, journal: SqlJournal, runner: Runner, clocks: Clocks, home: Home, uid: str
) -> None:
    desk = assembly.desk
    operators = RpcServer(
        door=OPERATOR_DOOR, service=desk, methods=OPERATOR_METHODS, heavy=frozenset({"status", "recorded"})
    )
    fronts = RpcServer(
        door=DESK_DOOR,
        service=desk,
        methods=DESK_METHODS,
        authenticator=desk,
        heavy=frozenset({"read", "settlements"}),
        limits=RpcLimits(connections_max=4, in_flight_max=64),
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(assembly.run)
        await tasks.start(operators.serve, home.operator_socket)
        await tasks.start(fronts.serve, home.desk_socket)
        _quiet_collector()
        tasks.start_soon(_stop_on_signal, desk.stopping)
        say({"ready": "desk", "uid": uid, "fence": journal.fence})
        await desk.stopping.wait()
        logger.info("stopping")
        await _settle(assembly, journal, runner, clocks)
        tasks.cancel_scope.cancel()


def _quiet_collector() -> None:
    """Leave what was built so far out of garbage collection, and collect seldom: a full pass takes 50 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(0.001)  # worker threads give way to the guard's loop within a millisecond


async def _stop_on_signal(stopping: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stopping.set()


async def _settle(assembly: Assembly, journal: SqlJournal, runner: Runner, clocks: Clocks) -> None:
    """Let what is being executed stop hedged: entries freeze, hedges finish, then nothing is in flight.

    A journal that cannot be used now may come back within the time that a stop has.
    """
    running = (IntentStatus.EXECUTING, IntentStatus.CANCELLING)
    freeze = EntriesFrozen(STOPPING, "the desk is stopping", "self")
    retry = JournalRetry()

    async def busy() -> bool:
        rows = await runner.run(lambda: journal.intents(open_only=True))
        return any(row.status in running for row in rows) or bool(assembly.worker.unknown_pairs())

    async def freeze_entries() -> None:
        await runner.run(lambda: journal.append([freeze], clocks.wire_ns()))

    with anyio.move_on_after(STOP_SECONDS_MAX) as scope:
        if not await retry.until_done(busy):
            return
        await retry.until_done(freeze_entries)
        while await retry.until_done(busy):  # noqa: ASYNC110 - what it waits for is in the journal
            await anyio.sleep(0.1)
    if scope.cancelled_caught:
        logger.warning("stopped with an intent unfinished; the next start goes on with it")
