"""The supervisor over toy processes: what it starts, adopts, restarts, freezes and leaves alone."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from portfolio.core.errors import RefusedError
from server.heartbeat import Heartbeat, heartbeat_age_ns
from server.home import TEMPLATE, Home, prepare
from server.process import identify, read_pid, write_pid
from server.settings import Settings, load
from server.supervisor import EX_CONFIG, Child, ChildFailedError, Patience, Supervisor, commands

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


def test_a_child_outlives_its_supervisor_and_the_next_one_adopts_it(settings: Settings) -> None:
    first = make(settings, {"desk": python(SLEEPER)})
    child = first.children["desk"]
    child.start()
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
    path.write_text(f"{os.getpid()} 12345\n")  # the same number, started at another time
    assert read_pid(path) is None
    for rubbish in ("", "x y", "999999999 1"):
        path.write_text(rubbish)
        assert read_pid(path) is None
    child = Child("desk", home, lambda: python(SLEEPER), dict(os.environ), stop_seconds_max=1.0)
    child.stop()  # signals nobody


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
