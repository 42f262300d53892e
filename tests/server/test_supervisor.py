"""The supervisor over toy processes: what it starts, adopts, restarts, freezes and leaves alone."""

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from portfolio.core.errors import JournalCorruptError, RefusedError, SettingsError
from server.child import Child
from server.heartbeat import Heartbeat, heartbeat_age_ns
from server.home import TEMPLATE, Home, prepare
from server.process import identify, read_pid, write_pid
from server.settings import Settings, load
from server.supervisor import EX_CONFIG, ChildFailedError, Patience, Supervisor, commands, stop_all

WITHIN = 30.0
#: Says that it is ready, then lives until it is told to end.
SLEEPER = "import signal, time; print('{\"ready\": 1}', flush=True); signal.pause()"
#: The same, with a guard that beats for ever, and stacks on SIGABRT.
BEATING = """
import faulthandler, sys, time
from pathlib import Path
from server.heartbeat import Heartbeat
faulthandler.enable()
heart = Heartbeat(Path(sys.argv[1]))
heart.beat()
print('{"ready": 1}', flush=True)
while True:
    heart.beat()
    time.sleep(0.02)
"""
QUICK = Patience(
    silence_max=0.3, ready_max=20.0, restarts_max=3, pauses=(0.0,), stop_desk=5.0, stop_other=5.0, stacks=0.5
)


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    prepare(Home(tmp_path))
    (tmp_path / "carrydesk.toml").write_text(TEMPLATE.format(mode="paper"))
    return load(tmp_path)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        threading.Event().wait(0.01)


@contextmanager
def supervising(supervisor: Supervisor) -> Iterator[None]:
    """Run it in a thread while the block runs; it is ready when the block begins."""
    ready = threading.Event()
    thread = threading.Thread(target=supervisor.run, args=(lambda _: ready.set(),), daemon=True)
    thread.start()
    assert ready.wait(WITHIN)
    try:
        yield
    finally:
        supervisor.stopping.set()
        thread.join(WITHIN)


def make(settings: Settings, roles: dict[str, list[str]], patience: Patience = QUICK) -> Supervisor:
    return Supervisor(settings, dict(os.environ), roles=roles, patience=patience)


def test_children_are_started_in_order_and_stopped_with_their_traces_removed(settings: Settings) -> None:
    home = Home(settings.home)
    supervisor = make(settings, {"one": python(SLEEPER), "two": python(SLEEPER)})
    with supervising(supervisor):
        pids = [child.pid for child in supervisor.children.values()]
        assert None not in pids
        assert read_pid(home.pid_file("one")) == pids[0]
        assert os.getsid(pids[0] or 0) == pids[0]  # a session of its own
    assert [identify(pid or 0) for pid in pids] == [None, None]
    assert not home.pid_file("one").exists()


def test_a_child_that_dies_is_started_again(settings: Settings) -> None:
    supervisor = make(settings, {"front": python(SLEEPER)})
    with supervising(supervisor):
        child = supervisor.children["front"]
        first = child.pid
        os.kill(first or 0, signal.SIGKILL)
        until(lambda: child.pid not in (None, first))


def test_a_silent_guard_is_killed_with_its_stacks_in_the_log(settings: Settings) -> None:
    home = Home(settings.home)
    supervisor = make(settings, {"desk": python(BEATING, str(home.heartbeat_file))})
    with supervising(supervisor):
        child = supervisor.children["desk"]
        first = child.pid
        until(lambda: (heartbeat_age_ns(home.heartbeat_file) or 1) < 200_000_000)
        os.kill(first or 0, signal.SIGSTOP)
        until(lambda: child.pid not in (None, first))
        assert identify(first or 0) is None
    slow = python("import faulthandler, sys; faulthandler.enable(); exec(sys.argv[2])", "x", SILENT)
    supervisor = make(settings, {"desk": [*slow, str(home.heartbeat_file)]})
    with supervising(supervisor):
        until(lambda: "in silent_guard" in home.log_file("desk").read_text())


SILENT = """
import sys, time
from pathlib import Path
from server.heartbeat import Heartbeat
heart = Heartbeat(Path(sys.argv[3]))
heart.beat()
print('{"ready": 1}', flush=True)
def silent_guard():
    time.sleep(1000)
silent_guard()
"""


def test_a_desk_that_is_restarted_too_often_freezes_entries(settings: Settings) -> None:
    home = Home(settings.home)
    supervisor = make(settings, {"desk": python(SLEEPER)})
    with supervising(supervisor):
        child = supervisor.children["desk"]
        for times in range(QUICK.restarts_max):
            assert not home.freeze_file.exists()
            pid = child.pid
            os.kill(pid or 0, signal.SIGKILL)
            until(lambda pid=pid, times=times: child.pid not in (None, pid) and len(child.restarts) > times)  # type: ignore[misc]
        assert home.freeze_file.exists()


def test_a_child_that_refuses_to_start_ends_everything_with_its_reason(settings: Settings) -> None:
    error = '{"error": {"message": "This venue key can withdraw.", "next_step": "Make another."}}'
    refusing = python(f"print({error!r}); raise SystemExit({EX_CONFIG})")
    supervisor = make(settings, {"paper": python(SLEEPER), "desk": refusing})
    with pytest.raises(ChildFailedError, match="can withdraw") as caught:
        supervisor.run(lambda _: None)
    assert caught.value.next_step == "Make another."
    assert supervisor.children["paper"].pid is None
    with pytest.raises(ChildFailedError, match="ended with code 3"):
        make(settings, {"desk": python("raise SystemExit(3)")}).run(lambda _: None)


#: Refuses while a file with its error exists, else is ready and lives. Every start is counted in a file.
MOODY = """
import signal, sys
from pathlib import Path
error, starts = Path(sys.argv[1]), Path(sys.argv[2])
with starts.open("a") as file:
    file.write("x")
if error.exists():
    print(error.read_text(), flush=True)
    raise SystemExit(78)
print('{"ready": 1}', flush=True)
signal.pause()
"""


class Moody:
    """A role that can be told to refuse."""

    def __init__(self, home: Home, role: str) -> None:
        self._error, self._starts = home.root / f"{role}.error", home.root / f"{role}.starts"
        self.command = python(MOODY, str(self._error), str(self._starts))

    def refuse(self, code: str) -> None:
        line = json.dumps({"error": {"code": code, "message": "It is broken.", "next_step": "Mend it."}})
        self._error.write_text(line)

    def agree(self) -> None:
        self._error.unlink()

    @property
    def starts(self) -> int:
        return len(self._starts.read_text())


def test_a_front_that_refuses_after_a_crash_is_tried_again_and_the_desk_goes_on(settings: Settings) -> None:
    home = Home(settings.home)
    front = Moody(home, "front")
    supervisor = make(settings, {"desk": python(BEATING, str(home.heartbeat_file)), "front": front.command})
    with supervising(supervisor):
        desk, child = supervisor.children["desk"].pid, supervisor.children["front"]
        front.refuse(SettingsError.code)
        child.send(signal.SIGKILL)
        until(lambda: front.starts >= 4)
        assert supervisor.children["desk"].pid == desk
        front.agree()
        until(lambda: child.pid is not None and child.said() == {"ready": 1})
        assert supervisor.children["desk"].pid == desk
        assert not supervisor.children["desk"].restarts


def test_while_another_process_is_slow_to_come_back_the_guard_is_watched(settings: Settings) -> None:
    home = Home(settings.home)
    front = Moody(home, "front")
    waiting = replace(QUICK, pauses=(0.0, 1e6))
    roles = {"desk": python(BEATING, str(home.heartbeat_file)), "front": front.command}
    supervisor = make(settings, roles, waiting)
    with supervising(supervisor):
        desk, child = supervisor.children["desk"], supervisor.children["front"]
        front.refuse(SettingsError.code)
        child.send(signal.SIGKILL)
        until(lambda: len(child.restarts) == 2)  # the next try is far away
        first = desk.pid
        desk.send(signal.SIGSTOP)
        until(lambda: desk.pid not in (None, first))


def test_a_desk_that_refuses_after_a_crash_is_started_until_it_agrees(settings: Settings) -> None:
    desk = Moody(Home(settings.home), "desk")
    supervisor = make(settings, {"desk": desk.command, "front": python(SLEEPER)})
    with supervising(supervisor):
        front, child = supervisor.children["front"].pid, supervisor.children["desk"]
        desk.refuse(SettingsError.code)
        child.send(signal.SIGKILL)
        until(lambda: desk.starts >= 4)
        desk.agree()
        until(lambda: child.pid is not None and child.said() == {"ready": 1})
        assert supervisor.children["front"].pid == front


def test_a_desk_without_a_journal_to_trust_stays_down_loudly_and_the_others_go_on(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Moody(Home(settings.home), "desk")
    impatient = Patience(pauses=(0.0,), reminder=0.05)
    supervisor = make(settings, {"desk": desk.command, "front": python(SLEEPER)}, impatient)
    with supervising(supervisor):
        front = supervisor.children["front"]
        first = front.pid
        desk.refuse(JournalCorruptError.code)
        supervisor.children["desk"].send(signal.SIGKILL)

        def said() -> list[str]:
            return [row.message for row in caplog.records if row.levelno == logging.CRITICAL]

        until(lambda: len(said()) >= 3)
        assert "It is broken. Mend it." in said()[0]
        assert desk.starts == 2
        front.send(signal.SIGKILL)
        until(lambda: front.pid not in (None, first))


def test_a_front_that_refuses_does_not_end_a_desk_that_ran_before(settings: Settings) -> None:
    front = Moody(Home(settings.home), "front")
    front.refuse(SettingsError.code)
    adopted = make(settings, {"desk": python(SLEEPER)}).children["desk"]
    adopted.start(python(SLEEPER), os.environ)
    until(adopted.said)
    supervisor = make(settings, {"desk": python(SLEEPER), "front": front.command})
    said: list[dict[str, int | None]] = []
    thread = threading.Thread(target=supervisor.run, args=(said.append,), daemon=True)
    thread.start()
    try:
        until(lambda: len(supervisor.children["front"].restarts) >= 3)
        assert supervisor.children["desk"].pid == adopted.pid
        assert said == []  # not everything runs
        front.agree()
        until(lambda: said)
        assert said[0]["desk"] == adopted.pid
    finally:
        supervisor.stopping.set()
        thread.join(WITHIN)
    assert adopted.pid is None


def test_a_pid_file_that_could_not_be_written_is_written_when_it_can_be(settings: Settings) -> None:
    child = make(settings, {"desk": python(SLEEPER)}).children["desk"]
    child.start(python(SLEEPER), os.environ)
    try:
        started = child.pid
        path = Home(settings.home).pid_file("desk")
        path.write_text("", encoding="ascii")  # as a full disk leaves it
        child.start(python(SLEEPER), os.environ)
        assert (child.pid, read_pid(path)) == (started, started)
    finally:
        child.stop()


def test_a_child_outlives_its_supervisor_and_the_next_one_adopts_it(settings: Settings) -> None:
    first = make(settings, {"desk": python(SLEEPER)})
    child = first.children["desk"]
    child.start(python(SLEEPER), os.environ)
    until(child.said)
    second = make(settings, {"desk": python(SLEEPER)})
    with supervising(second):
        assert second.children["desk"].pid == child.pid
        assert second.children["desk"].exit_code is None
    assert child.pid is None  # stopped through the adoption


def test_there_is_one_supervisor_per_home(settings: Settings) -> None:
    first, second = (make(settings, {"desk": python(SLEEPER)}) for _ in range(2))
    with supervising(first), pytest.raises(RefusedError, match="runs already"):
        second.run(lambda _: None)


def test_a_number_that_another_process_has_now_is_never_signalled(settings: Settings) -> None:
    home = Home(settings.home)
    path = home.pid_file("desk")
    write_pid(path, os.getpid())
    assert read_pid(path) == os.getpid()
    pid, started, folder = path.read_text().split()
    path.write_text(f"{pid} {int(started) - 1} {folder}\n")  # the same number, started at another time
    assert read_pid(path) is None
    for rubbish in ("", "x y", "999999999 1"):
        path.write_text(rubbish)
        assert read_pid(path) is None
    Child("desk", home, stop_seconds_max=1.0).stop()  # signals nobody


def test_a_copied_home_neither_adopts_nor_stops_what_runs_in_the_first(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, copied = Home(settings.home), Home(tmp_path_factory.mktemp("other") / "copied")
    supervisor = make(settings, {"desk": python(BEATING, str(home.heartbeat_file))})
    with supervising(supervisor):
        desk = supervisor.children["desk"].pid
        shutil.copytree(home.root, copied.root, symlinks=True)
        assert read_pid(copied.pid_file("desk")) is None
        there = settings.model_copy(update={"home": copied.root})
        with supervising(make(there, {"desk": python(BEATING, str(copied.heartbeat_file))})):
            assert read_pid(copied.pid_file("desk")) not in (None, desk)
        shutil.copy(home.pid_file("desk"), copied.pid_file("desk"))
        shutil.copy(home.pid_file("serve"), copied.pid_file("serve"))
        assert stop_all(copied) == []
        assert supervisor.children["desk"].pid == desk
        assert not supervisor.children["desk"].restarts


def test_a_home_that_was_moved_still_knows_its_processes(settings: Settings, tmp_path: Path) -> None:
    first, moved = tmp_path / "run", tmp_path / "moved"
    write_pid(first / "desk.pid", os.getpid())
    first.rename(moved)
    assert read_pid(moved / "desk.pid") == os.getpid()


def test_secrets_reach_the_desk_only(settings: Settings) -> None:
    code = """
import os, signal
print('{"ready": %d}' % ('CARRYDESK_BYBIT_SECRET' in os.environ), flush=True)
signal.pause()
"""
    environment = {**os.environ, "CARRYDESK_BYBIT_SECRET": "s"}
    roles = {"paper": python(code), "desk": python(code), "front": python(code)}
    supervisor = Supervisor(settings, environment, roles=roles, patience=QUICK)
    with supervising(supervisor):
        found = {role: child.said() for role, child in supervisor.children.items()}
    assert found == {"paper": {"ready": 0}, "desk": {"ready": 1}, "front": {"ready": 0}}


def test_paper_runs_with_the_options_of_the_file_and_only_in_paper_mode(settings: Settings) -> None:
    found = commands(settings)
    assert list(found) == ["paper", "desk", "front"]
    paper = found["paper"]
    assert paper[paper.index("--from") + 1] == "2024-03-01"
    assert paper[paper.index("--data") + 1] == str(Home(settings.home).paper_dir)
    assert list(commands(settings.model_copy(update={"mode": "testnet"}))) == ["desk", "front"]


def test_a_heartbeat_has_no_age_before_its_first_beat(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    assert heartbeat_age_ns(path) is None
    heart = Heartbeat(path)
    assert heartbeat_age_ns(path) is None
    heart.beat()
    age = heartbeat_age_ns(path)
    assert age is not None
    assert age >= 0
    path.write_bytes(b"x")
    assert heartbeat_age_ns(path) is None
