"""The home: where everything of one install lives, and who may open it.

home/                    0700 (0711 when separated, so that agents reach run/agent.sock)
  carrydesk.toml         the operator's settings
  operator.json          salt and public key of the operator; the passphrase is nowhere
  agent.token            0600, the default agent's token, for `carrydesk stdio`
  journal/               the append-only truth, one file per account and run
  logs/                  stderr of every process
  paper/                 the run of the paper venue
  reports/               the last backtests that agents asked for
  run/                   sockets, pids, the guard's heartbeat
"""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from portfolio.core.errors import SettingsError
from server.settings import FILE_NAME

#: sun_path is 108 bytes on Linux, 104 elsewhere; a margin is kept.
SOCKET_PATH_BYTES_MAX = 100

TEMPLATE = """\
# Settings of Carrydesk. Unknown keys are errors; amounts are texts or whole numbers.

mode = "{mode}"             # paper, testnet or live
venue = "bybit"
account = "main"           # a name of yours for the venue account
install = "same-user"      # separated: this home and its keys belong to an OS user of their own
# coins = ["BTC", "SOL"]   # what is traded; without it the seven of the bundled history
move_mode = "normal"       # normal: post-only leads, taker after a deadline; urgent: taker at once
# agent_group = "agents"   # separated: the group whose members may open run/agent.sock
# live_same_user = false   # true accepts live trading although programs of this user could take the keys

[paper]                    # the embedded venue, replaying real history
from = 2024-03-01          # first market day, UTC
speed = 1                  # market seconds per second
equity = 100000            # USDT at the start
latency_ms = 0
seed = 1
# data_dir = "/path"       # a folder with panel.parquet and hourly.parquet instead of the bundled one

# Limits may be tightened here. All of them, as they are: the MCP resource carrydesk://limits. An unknown
# name is refused, with the names that there are.
# [limits.book]
# health_min = "0.86"
# [limits.guard]
# drawdown_max = "0.05"
"""


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one install."""

    root: Path

    @property
    def settings_file(self) -> Path:
        """The operator's file."""
        return self.root / FILE_NAME

    @property
    def operator_file(self) -> Path:
        """Salt and public key."""
        return self.root / "operator.json"

    @property
    def token_file(self) -> Path:
        """The default agent's token."""
        return self.root / "agent.token"

    @property
    def journal_dir(self) -> Path:
        """Journals."""
        return self.root / "journal"

    @property
    def logs_dir(self) -> Path:
        """Logs."""
        return self.root / "logs"

    @property
    def run_dir(self) -> Path:
        """What only lives while processes run."""
        return self.root / "run"

    @property
    def agent_socket(self) -> Path:
        """MCP, for agents."""
        return self.run_dir / "agent.sock"

    @property
    def operator_socket(self) -> Path:
        """Operator commands."""
        return self.run_dir / "operator.sock"

    @property
    def desk_socket(self) -> Path:
        """The front's way to the desk."""
        return self.run_dir / "desk.sock"

    @property
    def heartbeat_file(self) -> Path:
        """Written by the guard's loop."""
        return self.run_dir / "heartbeat"

    @property
    def freeze_file(self) -> Path:
        """While it exists, the desk freezes entries: the supervisor gave up restarting."""
        return self.run_dir / "freeze-entries"

    @property
    def paper_dir(self) -> Path:
        """The run of the paper venue."""
        return self.root / "paper"

    @property
    def reports_dir(self) -> Path:
        """Reports of backtests; made when there is one."""
        return self.root / "reports"

    def ready_file(self, role: str) -> Path:
        """A process's stdout: one JSON line when it is ready."""
        return self.run_dir / f"{role}.ready"

    def pid_file(self, role: str) -> Path:
        """Which process plays a role."""
        return self.run_dir / f"{role}.pid"

    def log_file(self, role: str) -> Path:
        """A process's stderr."""
        return self.logs_dir / f"{role}.log"


def check_socket_paths(home: Home) -> None:
    """Refuse a home whose socket paths the kernel would cut.

    Raises:
        SettingsError: the home's path is too long.
    """
    longest = max(
        (home.agent_socket, home.operator_socket, home.desk_socket), key=lambda path: len(os.fsencode(path))
    )
    size = len(os.fsencode(longest))
    if size >= SOCKET_PATH_BYTES_MAX:
        raise SettingsError(
            f"The path {longest} has {size} bytes; a socket's path must stay under {SOCKET_PATH_BYTES_MAX}.",
            field="CARRYDESK_HOME",
            next_step="Choose a shorter home.",
        )


def prepare(home: Home, *, separated: bool = False) -> None:
    """Make the folders with their modes. Existing ones are tightened.

    Raises:
        SettingsError: a folder cannot be made, or belongs to another user.
    """
    check_socket_paths(home)
    open_mode = 0o711 if separated else 0o700
    folders = (
        (home.root, open_mode),
        (home.run_dir, open_mode),
        (home.journal_dir, 0o700),
        (home.logs_dir, 0o700),
        (home.paper_dir, 0o700),
    )
    for folder, mode in folders:
        try:
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                raise SettingsError(
                    f"{folder} belongs to another user.", next_step="Use a home of your own (CARRYDESK_HOME)."
                )
            folder.chmod(mode)
        except OSError as error:
            raise SettingsError(
                f"{folder} cannot be made: {error.strerror}.", next_step="Choose another CARRYDESK_HOME."
            ) from None


def write_private(path: Path, text: str) -> None:
    """Replace `path` in one step; mode 0600 from the first byte."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        fresh.unlink()
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def new_token() -> str:
    """A random agent token; 256 bits, so its hash needs no salt."""
    return f"cda_{secrets.token_urlsafe(32)}"


def token_hash(token: str) -> str:
    """What is stored of a token: SHA-256, hex."""
    return sha256(token.encode()).hexdigest()


def read_token(home: Home) -> str:
    """The default agent's token.

    Raises:
        SettingsError: there is none, or others could have read it.
    """
    path = home.token_file
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{path} cannot be read.", next_step="Run `carrydesk init`.") from None
    if mode & 0o077:
        raise SettingsError(
            f"{path} may be read by other users.",
            next_step=f"Run `chmod 600 {path}`. If somebody may have read it: delete the file, run "
            "`carrydesk init` and `carrydesk serve`, then `carrydesk token revoke` the old one.",
        )
    return token
