"""What the paper venue acknowledged is there after kill -9: the snapshot plus the logged commands."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from time import time_ns
from typing import get_args

import httpx2
import pytest

from exchanges.bybit.sign import ApiKey, rest_headers
from exchanges.paper.bybit.command_log import CommandLog, read_commands
from exchanges.paper.bybit.serve import PaperOptions, prepare
from exchanges.paper.bybit.storage import FILE_NAME, FORMAT, PAUSE_KEPT_NS, Run, load_run, save_run
from exchanges.paper.bybit.venue import PaperVenue
from exchanges.paper.commands import (
    AmendOrder,
    AutoDeleverage,
    Borrow,
    CancelAll,
    CancelOrder,
    ChangeTables,
    Command,
    FreezeBook,
    LimitNextFill,
    PlaceOrder,
    RejectNext,
    Repay,
    SetCollateralSwitch,
    SetLeverage,
    SetSpotLeverage,
    ShiftFigures,
    Shock,
    Transfer,
)
from exchanges.paper.core import VenueCore
from portfolio.core.errors import InputError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side, TimeInForce
from portfolio.core.risk import (
    BorrowTable,
    BorrowTier,
    CollateralTable,
    CollateralTier,
    FeeRates,
    PositionTier,
)

SOL = InstrumentId("bybit:linear:SOLUSDT")
SOL_SPOT = InstrumentId("bybit:spot:SOLUSDT")
MINUTE_NS = 60_000_000_000
#: Serves a run that is stored when it begins and never again.
CHILD = """
import sys
from pathlib import Path
from exchanges.paper.bybit import serve
from server.endings import say
serve.SAVE_EVERY_S = 3600.0
options = serve.PaperOptions(from_date="2024-03-01", data_dir=Path(sys.argv[1]))
serve.run_paper("bybit", options, say)
"""


def begun(folder: Path) -> tuple[PaperVenue, Run, CommandLog]:
    """A new run with its first snapshot in place."""
    venue, run = prepare(PaperOptions(from_date="2024-03-01", data_dir=folder))
    assert venue.log is not None
    store(folder, venue, run)
    return venue, run, venue.log


def store(folder: Path, venue: PaperVenue, run: Run) -> None:
    assert venue.log is not None
    core = venue.now().dump()
    save_run(folder, replace(run, core=core, sequence=venue.log.cut(), stored_wire_ns=time_ns()))


def again(folder: Path) -> PaperVenue:
    return prepare(PaperOptions(data_dir=folder))[0]


def sell(link: str, quantity: str = "10", price: str | None = None) -> PlaceOrder:
    return PlaceOrder(link, SOL, Side.SELL, Decimal(quantity), None if price is None else Decimal(price))


def trading(core: VenueCore) -> tuple[Command, ...]:
    """A carry pair with a loan, a resting order that may fill, a shock, a refusal, a repayment."""
    bid = core.book(SOL, 1).bids[0].price
    return (
        PlaceOrder("c1", SOL_SPOT, Side.BUY, Decimal("2000.0"), None, borrow=True),
        sell("c2", "2000"),
        PlaceOrder("c3", SOL, Side.BUY, Decimal(50), bid, TimeInForce.POST_ONLY),
        Shock({Coin("SOL"): Decimal("1.10"), Coin("BTC"): Decimal("1E+0")}, ramp_ns=5 * MINUTE_NS),
        sell("c2", "1"),
        Repay(Coin("USDT")),
    )


@pytest.mark.parametrize("snapshot_after", [0, 3, 6])
def test_a_replayed_run_is_the_uninterrupted_one(tmp_path: Path, snapshot_after: int) -> None:
    venue, run, log = begun(tmp_path)
    start = venue.core.now_ns
    for number, command in enumerate(trading(venue.core)):
        if number == snapshot_after:
            store(tmp_path, venue, run)
        at_ns = start + (number + 1) * 7 * MINUTE_NS
        # The market is looked at in between, as the running venue does; none of that is in the log.
        for part in range(1, 7):
            venue.core.advance(at_ns - (7 - part) * MINUTE_NS + part * number)
        venue.core.handle(log.append(at_ns, command), at_ns)
    restored = again(tmp_path).core
    assert len(restored.executions()) >= 2
    venue.core.advance(venue.core.now_ns)
    assert restored.executions() == venue.core.executions()
    assert restored.dump() == venue.core.dump()
    later = venue.core.now_ns + 600 * MINUTE_NS
    assert restored.advance(later) == venue.core.advance(later)
    assert restored.dump() == venue.core.dump()


def test_a_command_is_on_disk_when_it_is_answered_and_carried_out_once(tmp_path: Path) -> None:
    venue, run, _ = begun(tmp_path)
    assert venue.handle(sell("a1")).ok
    assert [row.sequence for row in read_commands(tmp_path, 0)] == [1]
    first = again(tmp_path)
    assert first.core.order(SOL, order_link_id="a1") == venue.core.order(SOL, order_link_id="a1")
    # A crash between the new snapshot and the removal of the old lines.
    store(tmp_path, venue, run)
    assert venue.handle(sell("a2")).ok
    second = again(tmp_path)
    assert second.core.executions() == venue.core.executions()
    assert second.log is not None
    assert second.log.sequence == 2
    assert second.handle(sell("a3")).ok
    assert len(again(tmp_path).core.executions()) == 3


def test_files_of_commands_that_a_snapshot_contains_are_removed(tmp_path: Path) -> None:
    log = CommandLog(tmp_path, 0)
    log.append(1, sell("a"))
    log.append(2, sell("b"))
    cut = log.cut()
    log.append(3, sell("c"))
    log.forget(cut)
    assert [row.at_ns for row in read_commands(tmp_path, cut)] == [3]
    with pytest.raises(ValueError, match="command 1 is missing"):
        list(read_commands(tmp_path, 0))


def test_a_torn_last_line_is_dropped_and_the_log_goes_on_after_it(tmp_path: Path) -> None:
    venue, _, log = begun(tmp_path)
    assert venue.handle(sell("a1")).ok
    log.close()
    (path,) = tmp_path.glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    restored = again(tmp_path)
    assert len(restored.core.executions()) == 1
    assert restored.handle(sell("a2")).ok
    assert len(again(tmp_path).core.executions()) == 2


def test_a_torn_only_line_leaves_a_file_that_can_be_appended_to(tmp_path: Path) -> None:
    venue, _, log = begun(tmp_path)
    assert venue.handle(sell("a1")).ok
    log.close()
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-1])
    restored = again(tmp_path)
    assert restored.core.executions() == ()
    assert restored.handle(sell("a1")).ok
    assert len(again(tmp_path).core.executions()) == 1


def test_every_kind_of_command_comes_back_as_it_was(tmp_path: Path) -> None:
    rates = FeeRates(Decimal("-0.0001"), Decimal("0.00055"))
    tier = PositionTier(Decimal("1E+6"), Decimal("0.1"), Decimal("0.05"), Decimal(10), Decimal(0))
    coin = Coin("SOL")
    collateral = CollateralTable(coin, True, (CollateralTier(Decimal(0), None, Decimal("0.90")),))
    borrow = BorrowTable(
        coin, True, Decimal("0.00001"), None, (BorrowTier(None, Decimal(1), Decimal(1), Decimal(2)),)
    )
    commands: tuple[Command, ...] = (
        sell("a", "1.50", "150.10"),
        CancelOrder(SOL, "a"),
        AmendOrder(SOL, order_id="1", price=Decimal("1.10")),
        CancelAll(InstrumentKind.SPOT, SOL_SPOT),
        Repay(coin),
        Borrow(coin, Decimal(1)),
        SetLeverage(SOL, Decimal(3)),
        SetSpotLeverage(Decimal(4)),
        SetCollateralSwitch(coin, False),
        Transfer(coin, Decimal("-0.5")),
        Shock({coin: Decimal("0.80")}, {coin: Decimal("0.01")}, 5),
        ChangeTables((collateral,), (borrow,), {SOL: (tier,)}, {SOL: rates}),
        AutoDeleverage(SOL, Decimal("0.5")),
        ShiftFigures(Decimal(2)),
        FreezeBook(SOL, 9),
        LimitNextFill(SOL, Decimal("0.3")),
        RejectNext(SOL, "170131", "Spot is closed.", 2),
    )
    assert {type(command) for command in commands} == set(get_args(Command))
    log = CommandLog(tmp_path, 0)
    assert tuple(log.append(1, command) for command in commands) == commands
    assert tuple(row.command for row in read_commands(tmp_path, 0)) == commands


def test_a_command_taken_back_is_not_in_the_log(tmp_path: Path) -> None:
    log = CommandLog(tmp_path, 0)
    log.append(1, sell("a"))
    log.append(2, sell("b"))
    log.take_back()
    log.append(3, sell("c"))
    assert [(row.sequence, row.at_ns) for row in read_commands(tmp_path, 0)] == [(1, 1), (2, 3)]


def test_a_log_that_cannot_be_written_refuses_the_command_without_effect(tmp_path: Path) -> None:
    venue, _, _ = begun(tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    venue.log = CommandLog(blocked, 0)
    assert venue.handle(sell("a1")).code == "10016"
    assert venue.now().open_orders() == venue.core.closed_orders() == ()


def test_a_new_run_does_not_take_over_commands_without_a_snapshot(tmp_path: Path) -> None:
    CommandLog(tmp_path, 0).append(1, sell("a"))
    prepare(PaperOptions(from_date="2024-03-01", data_dir=tmp_path))
    assert list(read_commands(tmp_path, 0)) == []


def test_a_command_younger_than_the_snapshot_keeps_the_clock(tmp_path: Path) -> None:
    venue, run, _ = begun(tmp_path)
    long_ago = time_ns() - 3 * PAUSE_KEPT_NS
    idle = replace(run, core=venue.core.dump(), start_wire_ns=long_ago, stored_wire_ns=long_ago)
    save_run(tmp_path, idle)
    busy, resumed = prepare(PaperOptions(data_dir=tmp_path))
    assert resumed.start_wire_ns > long_ago
    busy.clock.start_market_ns, busy.clock.start_wire_ns = idle.start_market_ns, idle.start_wire_ns
    assert busy.handle(sell("a1")).ok
    assert prepare(PaperOptions(data_dir=tmp_path))[1].start_wire_ns == long_ago


def _without(name: str, stored: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in stored.items() if key != name}


@pytest.mark.parametrize("damage", ["format", "field", "core", "type", "speed", "command", "not json"])
def test_a_run_of_another_shape_is_one_clear_error(tmp_path: Path, damage: str) -> None:
    venue, _, log = begun(tmp_path)
    path = tmp_path / FILE_NAME
    stored = json.loads(path.read_text())
    made = {
        "format": stored | {"format": FORMAT - 1},
        "field": _without("opened_market_ns", stored),
        "core": stored | {"core": _without("shift", stored["core"])},
        "type": stored | {"start_market_ns": "now"},
        "speed": stored | {"speed": "fast"},
    }
    if damage == "command":
        assert venue.handle(sell("a1")).ok
        log.close()
        (commands,) = tmp_path.glob("*.jsonl")
        commands.write_text(commands.read_text().replace("PlaceOrder", "PlaceBet"))
    else:
        path.write_text("{" if damage == "not json" else json.dumps(made[damage]))
    with pytest.raises(InputError, match="cannot be read by this version") as error:
        again(tmp_path)
    assert str(path) in error.value.message
    assert "Remove the folder" in error.value.next_step
    assert "the version that wrote it" in error.value.next_step


@contextmanager
def child(folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    root = Path(__file__).parents[4]
    command = [sys.executable, "-c", CHILD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def call(line: dict[str, str], method: str, path: str, payload: str) -> dict[str, object]:
    """One signed request."""
    key = ApiKey(line["api_key"], line["api_secret"])
    headers = rest_headers(
        key, timestamp_ms=time_ns() // 1_000_000, recv_window_ms=5000, payload=payload.encode()
    )
    url = f"{line['rest']}{path}" + (f"?{payload}" if method == "GET" else "")
    body = payload.encode() if method == "POST" else None
    with httpx2.Client(trust_env=False) as client:
        answer: dict[str, object] = client.request(method, url, headers=headers, content=body).json()
    assert answer["retCode"] == 0, answer
    result = answer["result"]
    assert isinstance(result, dict)
    return result


def test_a_fill_acknowledged_right_before_kill_9_is_there_after_the_restart(tmp_path: Path) -> None:
    order = {
        "category": "linear",
        "symbol": "SOLUSDT",
        "side": "Sell",
        "orderType": "Market",
        "qty": "10",
        "orderLinkId": "killed",
    }
    with child(tmp_path) as (process, line):
        placed = call(line, "POST", "/v5/order/create", json.dumps(order))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    stored = load_run(tmp_path)
    assert stored is not None
    assert stored.core is not None
    assert stored.core["executions"] == []
    with child(tmp_path) as (_, line):
        found = call(line, "GET", "/v5/execution/list", "category=linear&orderLinkId=killed")
        positions = call(line, "GET", "/v5/position/list", "category=linear&symbol=SOLUSDT")
    rows, held = found["list"], positions["list"]
    assert isinstance(rows, list)
    assert isinstance(held, list)
    assert {row["orderId"] for row in rows} == {placed["orderId"]}
    assert sum(Decimal(row["execQty"]) for row in rows) == 10
    assert [row["size"] for row in held] == ["10"]
