"""A paper run is kept on disk: the same key, uid and account after a restart; a foreign file is refused."""

import json
import stat
from collections.abc import AsyncIterator
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
from portfolio.core.errors import InputError
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
        PaperOptions(equity="-1"),
    ],
    ids=["outside the data", "no date", "no speed", "no equity"],
)
def test_an_option_that_cannot_be_used_is_an_error(options: PaperOptions) -> None:
    with pytest.raises(InputError):
        prepare(options)


def test_a_venue_that_is_not_there_is_an_error() -> None:
    with pytest.raises(InputError, match="kraken"):
        run_paper("kraken")
