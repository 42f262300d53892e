"""Run one Bybit paper venue: replay, core, facade, storage. `run_paper` is what the command line calls."""

import signal
import socket
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import time_ns

import anyio
import anyio.to_thread
import uvicorn

from exchanges.bybit.urls import BybitUrls, paper
from exchanges.paper.bybit.app import build_app
from exchanges.paper.bybit.clock import VenueClock
from exchanges.paper.bybit.command_log import CommandLog, clear_commands, read_commands
from exchanges.paper.bybit.faults import read_plan
from exchanges.paper.bybit.storage import PAUSE_KEPT_NS, Run, load_run, new_run, save_run, unreadable
from exchanges.paper.bybit.venue import PaperVenue, VenueKey
from exchanges.paper.bybit.wire import BYBIT
from exchanges.paper.config import VenueConfig
from exchanges.paper.core import VenueCore
from exchanges.paper.replay import ParquetReplay, Replay, parse_date
from exchanges.parallel import background
from portfolio.core.decimals import parse_positive
from portfolio.core.errors import InputError, RefusedError
from portfolio.core.names import Coin

HOST = "127.0.0.1"
SEED = 7
PORT_MAX = 65_535
LATENCY_MS_MAX = 5_000
#: Market seconds per wire second.
SPEED_MAX = 100_000
#: USDT.
EQUITY_MAX = 1_000_000_000
_MARKET_FILES = ("hourly.parquet", "panel.parquet")
SAVE_EVERY_S = 1.0
Ready = Callable[[dict[str, object]], None]


@dataclass(frozen=True, slots=True)
class PaperOptions:
    """How a paper venue is started."""

    port: int = 0
    #: Market date of a new run, such as 2024-03-01; None: half a year into the data.
    from_date: str | None = None
    speed: str = "1"
    #: Where the run is kept; None: nowhere. With market files in it, they are replayed instead of the bundle.
    data_dir: Path | None = None
    #: Where the market files must be; None: in `data_dir` if it has some, else the bundle.
    market_dir: Path | None = None
    equity: str = "100000"
    latency_ms: int = 0
    faults_file: Path | None = None
    seed: int = SEED


class _Server(uvicorn.Server):
    """Signals belong to the process, not to the venue."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def listening(venue: PaperVenue, port: int = 0, *, fallback: bool = False) -> AsyncIterator[BybitUrls]:
    """Serve a venue on loopback while the block runs; the port is open when it begins.

    Raises:
        RefusedError: the port is taken or not ours to use (with `fallback` any free one is used instead).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(listener, port, fallback=fallback)
        listener.listen(128)
        server = _Server(
            uvicorn.Config(
                build_app(venue),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="websockets-sansio",
                ws_ping_interval=None,
                timeout_graceful_shutdown=1,
            )
        )
        async with background() as tasks:
            tasks.start_soon(venue.run)
            tasks.start_soon(_serve_until_asked, server, listener)
            try:
                yield paper(HOST, listener.getsockname()[1])
            finally:
                server.should_exit = True
                for which in ("public", "private", "trade"):
                    venue.drop(which)


def _bind(listener: socket.socket, port: int, *, fallback: bool) -> None:
    try:
        listener.bind((HOST, port))
    except OSError as error:
        if not fallback:
            raise RefusedError(
                f"port: {port} of {HOST} cannot be listened on: {error.strerror}.",
                field="port",
                next_step="Choose another, or 0 for any free one.",
            ) from None
        listener.bind((HOST, 0))


async def _serve_until_asked(server: uvicorn.Server, listener: socket.socket) -> None:
    # Shielded, so that connections are closed in order; `should_exit` ends it.
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[listener])


def check_options(options: PaperOptions) -> None:
    """Refuse numbers that no venue could be started with; dates are checked against the history.

    Raises:
        InputError: one of them is no number or out of its range; the error names the option.
    """
    for name, number, most in (
        ("port", options.port, PORT_MAX),
        ("latency_ms", options.latency_ms, LATENCY_MS_MAX),
    ):
        if not 0 <= number <= most:
            raise InputError(
                f"{name}: {number} is out of its range.",
                field=name,
                allowed=f"0 to {most}",
                next_step="Choose a number within it.",
            )
    for name, text, most in (("speed", options.speed, SPEED_MAX), ("equity", options.equity, EQUITY_MAX)):
        if parse_positive(text, name) > most:
            raise InputError(
                f"{name}: {text} is out of its range.",
                field=name,
                allowed=f"above 0, at most {most}",
                next_step="Choose a number within it.",
            )


def prepare(options: PaperOptions) -> tuple[PaperVenue, Run]:
    """Build the venue of a new or a stored run.

    Raises:
        InputError: a bad date, number, fault plan or stored state, or a stored run of other market files.
        MissingDataError: the folder's market files cannot be used.
    """
    check_options(options)
    faults = read_plan(options.faults_file)
    folder = options.data_dir
    market = _market_folder(options)
    stored = load_run(folder) if folder is not None else None
    seed = stored.seed if stored is not None else options.seed
    replay = ParquetReplay(BYBIT, seed=seed, folder=market)
    if folder is not None and stored is not None:
        _check_same_market(folder, stored, options.market_dir)
        core, run = _restored(stored, replay, folder)
    else:
        run = _opened(options, replay)
        core = _new_core(run, replay)
        if folder is not None:
            clear_commands(folder)
    clock = VenueClock(run.start_market_ns, run.start_wire_ns, Decimal(run.speed))
    venue = PaperVenue(
        core,
        clock,
        VenueKey(run.api_key, run.api_secret),
        latency_s=options.latency_ms / 1000,
        faults=faults,
        log=None if folder is None else CommandLog(folder, run.sequence),
    )
    return venue, run


def _market_folder(options: PaperOptions) -> Path | None:
    """Where the market files are; None is the bundle."""
    folder = options.data_dir
    if options.market_dir is None and folder is not None:
        # One of the two is a folder that lost the other: reading it says so.
        return folder if any((folder / name).is_file() for name in _MARKET_FILES) else None
    return options.market_dir


def _check_same_market(folder: Path, stored: Run, market: Path | None) -> None:
    """A run goes on with the prices it began with: others would move its account without a trade."""
    if stored.market != _named(market):
        raise InputError(
            f"The paper run in {folder} replays {stored.market or 'the bundled history'}, "
            f"not {_named(market) or 'the bundled history'}.",
            field="market",
            next_step="Set paper.data_dir (--market) back, or begin a new run in another home "
            "(CARRYDESK_HOME) or folder (--data).",
        )


def _named(market: Path | None) -> str:
    return "" if market is None else str(market.resolve())


def _new_core(run: Run, replay: Replay) -> VenueCore:
    config = VenueConfig(
        uid=run.uid,
        start_ns=run.opened_market_ns,
        balances={Coin("USDT"): parse_positive(run.equity, "equity")},
    )
    return VenueCore(config, replay, seed=run.seed)


def _restored(stored: Run, replay: Replay, folder: Path) -> tuple[VenueCore, Run]:
    """The core as the last acknowledged command left it: the snapshot, then what was logged after it."""
    try:
        parse_positive(stored.speed, "speed")
        core = _new_core(stored, replay)
        if stored.core is not None:
            core.load(stored.core)
        sequence = stored.sequence
        for logged in read_commands(folder, sequence):
            core.handle(logged.command, logged.at_ns)
            sequence = logged.sequence
    except (
        InputError,
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        OSError,
    ) as error:
        raise unreadable(folder, error) from error
    # Nobody is connected: clients read what happened, as after any loss of their connection.
    core.advance(core.now_ns)
    return core, replace(_resumed(stored, core.now_ns), sequence=sequence)


def _opened(options: PaperOptions, replay: Replay) -> Run:
    start = (
        replay.start_ns + (replay.end_ns - replay.start_ns) // 4
        if options.from_date is None
        else parse_date(options.from_date)
    )
    if not replay.start_ns <= start < replay.end_ns:
        first, last = (_moment(at_ns) for at_ns in (replay.start_ns, replay.end_ns))
        raise InputError(
            f"from: {options.from_date} lies outside the market history, {first} to {last}.",
            field="from",
            allowed=f"{first} to {last}",
            next_step="Choose a day within it.",
        )
    return new_run(
        seed=options.seed,
        start_market_ns=start,
        wire_ns=time_ns(),
        speed=options.speed,
        equity=options.equity,
        market=_named(options.market_dir),
    )


def _moment(market_ns: int) -> str:
    return f"{datetime.fromtimestamp(market_ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M}"


def _resumed(run: Run, stopped_ns: int) -> Run:
    """The run with its clock after a pause; `stopped_ns` is how far its market came."""
    now = time_ns()
    numerator, denominator = Decimal(run.speed).as_integer_ratio()
    # The last command may be much younger than the snapshot.
    alive = run.start_wire_ns + (stopped_ns - run.start_market_ns) * denominator // numerator
    if run.core is None or now - max(run.stored_wire_ns, alive) <= PAUSE_KEPT_NS:
        return run
    return replace(run, start_market_ns=stopped_ns, start_wire_ns=now)


def ready_line(venue: PaperVenue, urls: BybitUrls) -> dict[str, object]:
    """What a client needs to trade here, and the desk's clocks to agree with it."""
    return {
        "venue": "bybit",
        "rest": urls.rest,
        "ws_public": urls.ws_public,
        "ws_private": urls.ws_private,
        "ws_trade": urls.ws_trade,
        "api_key": venue.key.api_key,
        "api_secret": venue.key.api_secret,
        "passphrase": "",
        "uid": venue.core.config.uid,
        "start_market_ns": venue.clock.start_market_ns,
        "start_wire_ns": venue.clock.start_wire_ns,
        "speed": str(venue.clock.speed),
    }


async def serve(options: PaperOptions, ready: Ready) -> None:
    """Serve one paper venue until cancelled; `ready` is called once, when clients may connect.

    Raises:
        InputError, MissingDataError: see `prepare`; or the run's folder cannot be written.
        RefusedError: the port is taken.
    """
    venue, run = prepare(options)
    async with listening(venue, options.port or run.port, fallback=not options.port) as urls:
        run = replace(run, port=int(urls.rest.rpartition(":")[2]))
        folder = options.data_dir
        if folder is None:
            ready(ready_line(venue, urls))
            await anyio.sleep_forever()
            return
        _begin_in(folder, _stored(venue, run), venue.log)
        ready(ready_line(venue, urls))
        try:
            await _keep(venue, run, folder)
        finally:
            _save(folder, _stored(venue, run), venue.log)


def _stored(venue: PaperVenue, run: Run) -> Run:
    core = venue.now().dump()
    sequence = run.sequence if venue.log is None else venue.log.cut()
    return replace(run, core=core, sequence=sequence, stored_wire_ns=time_ns())


def _save(folder: Path, run: Run, log: CommandLog | None) -> None:
    save_run(folder, run)
    if log is not None:
        log.forget(run.sequence)


def _begin_in(folder: Path, run: Run, log: CommandLog | None) -> None:
    """Store the run for the first time: now is when a folder that cannot hold it is noticed."""
    try:
        _save(folder, run, log)
    except OSError as error:
        raise InputError(
            f"data: the paper run cannot be kept in {folder}: {error.strerror}.",
            field="data",
            next_step="Choose a folder that this user can write to.",
        ) from None


async def _keep(venue: PaperVenue, run: Run, folder: Path) -> None:
    """Store the run once a second while it changes."""
    stored = -1
    while True:
        if venue.version != stored:
            stored = venue.version
            await anyio.to_thread.run_sync(_save, folder, _stored(venue, run), venue.log)
        await anyio.sleep(SAVE_EVERY_S)


def run_paper(venue: str, options: PaperOptions, ready: Ready = print) -> None:
    """Serve one paper venue until the process is told to stop.

    Raises:
        InputError: an option that cannot be used, or a venue that is not there.
        MissingDataError: market files that cannot be used.
        RefusedError: the port is taken.
    """
    if venue != BYBIT:
        raise InputError(
            f"There is no paper venue {venue!r}.",
            field="venue",
            allowed=BYBIT,
            next_step=f"Run `carrydesk paper --venue {BYBIT}`.",
        )
    anyio.run(_serve_until_signal, options, ready)


async def _serve_until_signal(options: PaperOptions, ready: Ready) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        # Serving is the block, not a task: an option that cannot be used is an error, not a group of one.
        async with background() as tasks:
            tasks.start_soon(_cancel_on_signal, signals, tasks.cancel_scope)
            await serve(options, ready)


async def _cancel_on_signal(signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
        return
