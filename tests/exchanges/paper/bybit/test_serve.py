"""A paper run is kept on disk: the same key, uid and account after a restart; a foreign file is refused."""

import json
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from time import time_ns

import anyio
import pytest

from exchanges.paper.bybit.serve import PaperOptions, prepare, run_paper, serve
from exchanges.paper.bybit.storage import FILE_NAME, PAUSE_KEPT_NS, load_run, save_run
from exchanges.paper.commands import PlaceOrder
from portfolio.core.errors import InputError, MissingDataError, RefusedError
from portfolio.core.names import InstrumentId
from portfolio.core.orders import Side

pytestmark = pytest.mark.anyio
SOL = InstrumentId("bybit:linear:SOLUSDT")
READY_KEYS = {
    "venue",
    "rest",
    "ws_public",
    "ws_private",
    "ws_trade",
    "api_key",
    "api_secret",
    "passphrase",
    "uid",
    "start_market_ns",
    "start_wire_ns",
    "speed",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def running(options: PaperOptions) -> AsyncIterator[dict[str, object]]:
    lines: list[dict[str, object]] = []
    started = anyio.Event()

    def ready(line: dict[str, object]) -> None:
        lines.append(line)
        started.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, options, ready)
        with anyio.fail_after(20):
            await started.wait()
        yield lines[0]
        tasks.cancel_scope.cancel()


async def test_a_run_survives_its_process(tmp_path: Path) -> None:
    options = PaperOptions(from_date="2024-03-01", data_dir=tmp_path)
    async with running(options) as first:
        assert set(first) == READY_KEYS
        assert first["passphrase"] == ""
    async with running(options) as second:
        for name in ("rest", "uid", "api_key", "api_secret", "start_market_ns", "start_wire_ns"):
            assert second[name] == first[name]


def test_what_was_traded_is_there_after_a_restart(tmp_path: Path) -> None:
    options = PaperOptions(from_date="2024-03-01", data_dir=tmp_path)
    venue, run = prepare(options)
    order = PlaceOrder("a1", SOL, Side.SELL, Decimal(10), None)
    assert venue.core.handle(order, venue.core.now_ns).ok
    venue.core.advance(venue.core.now_ns)
    save_run(tmp_path, replace(run, core=venue.core.dump(), stored_wire_ns=time_ns()))
    again, _ = prepare(options)
    assert [row.instrument_id for row in again.core.positions()] == [SOL]
    assert again.core.order(SOL, order_link_id="a1") == venue.core.order(SOL, order_link_id="a1")


def test_the_file_with_the_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    _, run = prepare(PaperOptions(from_date="2024-03-01"))
    save_run(tmp_path, run)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert run.api_secret not in repr(run)
    assert load_run(tmp_path) == run


def test_after_a_long_pause_the_market_goes_on_where_it_stopped(tmp_path: Path) -> None:
    options = PaperOptions(from_date="2024-03-01", data_dir=tmp_path)
    venue, run = prepare(options)
    stopped = venue.core.now_ns
    long_ago = time_ns() - PAUSE_KEPT_NS - 3600 * 1_000_000_000
    old = replace(run, core=venue.core.dump(), start_wire_ns=long_ago, stored_wire_ns=long_ago)
    save_run(tmp_path, old)
    again, resumed = prepare(options)
    assert resumed.start_market_ns == stopped
    assert again.clock.market_ns() - stopped < PAUSE_KEPT_NS
    assert resumed.uid == run.uid


def test_a_damaged_file_is_refused_and_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="cannot be read"):
        prepare(PaperOptions(data_dir=tmp_path))
    assert json.loads(path.read_text()) == {"format": 99}


@pytest.mark.parametrize(
    "options",
    [
        PaperOptions(from_date="1999-01-01"),
        PaperOptions(from_date="yesterday"),
        PaperOptions(speed="0"),
        PaperOptions(speed="nan"),
        PaperOptions(speed="100001"),
        PaperOptions(equity="-1"),
        PaperOptions(equity="1e10"),
        PaperOptions(port=-1),
        PaperOptions(port=65_536),
        PaperOptions(latency_ms=-3),
        PaperOptions(latency_ms=5_001),
        PaperOptions(faults_file=Path("/missing")),
    ],
    ids=[
        "outside the data",
        "no date",
        "no speed",
        "speed is no number",
        "speed above its range",
        "no equity",
        "equity above its range",
        "port below its range",
        "port above its range",
        "an answer before its request",
        "latency above its range",
        "no file of faults",
    ],
)
def test_an_option_that_cannot_be_used_is_one_bare_error_that_names_it(options: PaperOptions) -> None:
    named = {"from_date": "from", "faults_file": "faults"}
    changed = [name for name in options.__slots__ if getattr(options, name) != getattr(PaperOptions(), name)]
    with pytest.raises(InputError) as caught:
        run_paper("bybit", options)
    assert [caught.value.field] == [named.get(name, name) for name in changed]


def test_a_date_outside_the_history_is_told_what_the_history_has() -> None:
    with pytest.raises(InputError, match="2031-01-01 lies outside") as caught:
        prepare(PaperOptions(from_date="2031-01-01"))
    assert caught.value.allowed == "2023-06-01T00:00 to 2025-07-01T00:00"
    assert caught.value.next_step


def test_a_venue_that_is_not_there_is_an_error() -> None:
    with pytest.raises(InputError, match="kraken"):
        run_paper("kraken", PaperOptions())


def test_a_port_that_is_taken_is_an_error_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RefusedError, match=f"port: {port} ") as caught:
            run_paper("bybit", PaperOptions(port=port))
    assert "0 for any" in caught.value.next_step


def test_a_folder_that_cannot_hold_the_run_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match="cannot be kept") as caught:
        run_paper("bybit", PaperOptions(data_dir=file))
    assert caught.value.field == "data"


def test_market_files_that_are_asked_for_are_never_replaced_by_the_bundle(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"hourly\.parquet does not exist"):
        prepare(PaperOptions(market_dir=tmp_path / "nowhere"))
    (tmp_path / "panel.parquet").touch()
    with pytest.raises(MissingDataError, match=r"hourly\.parquet does not exist"):
        prepare(PaperOptions(data_dir=tmp_path))
    (tmp_path / "hourly.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(MissingDataError, match="cannot be read"):
        prepare(PaperOptions(data_dir=tmp_path))


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Path]:
    """The bundle once more, in a folder that nobody may write to."""
    folder = tmp_path / "market"
    folder.mkdir()
    for name in ("hourly.parquet", "panel.parquet"):
        (folder / name).symlink_to(Path("exchanges/data").resolve() / name)
    folder.chmod(0o500)
    yield folder
    assert sorted(path.name for path in folder.iterdir()) == ["hourly.parquet", "panel.parquet"]
    folder.chmod(0o700)


async def test_the_run_is_kept_apart_from_its_market_files_and_goes_on_with_no_others(
    tmp_path: Path, market: Path
) -> None:
    kept = tmp_path / "run"
    options = PaperOptions(from_date="2024-03-01", data_dir=kept, market_dir=market)
    async with running(options) as first:
        pass
    async with running(options) as second:
        assert second["uid"] == first["uid"]
    with pytest.raises(InputError, match="not the bundled history") as caught:
        prepare(replace(options, market_dir=None))
    assert "paper.data_dir" in caught.value.next_step
