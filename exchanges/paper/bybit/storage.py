"""A paper run on disk: its key, its clock and the core's state in one file, replaced atomically.

The commands since then are beside it (command_log.py).

A run that was down for a short while (a crash) keeps its clock, so that the desk's clock still agrees with
it. After a longer pause market time continues where it stopped, instead of leaping over what nobody saw.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from portfolio.core.errors import InputError

FILE_NAME = "bybit.json"
#: Goes up whenever the shape of the run, of the core's dump or of a logged command changes.
FORMAT = 2
#: A pause up to this long (wire) keeps the clock.
PAUSE_KEPT_NS = 60 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that names a run, and where it stood when it was stored."""

    uid: str
    api_key: str
    api_secret: str = field(repr=False)
    seed: int
    start_market_ns: int
    start_wire_ns: int
    speed: str
    equity: str
    #: Market time at which the venue opened for the first time.
    opened_market_ns: int
    stored_wire_ns: int = 0
    #: Where it listened, so that a restarted venue is found again; 0: nowhere yet.
    port: int = 0
    #: The folder of the market files that it was told to replay; empty: its own ones, or the bundle.
    market: str = ""
    #: The last command that `core` contains.
    sequence: int = 0
    core: Mapping[str, object] | None = field(default=None, repr=False)


def new_run(
    *, seed: int, start_market_ns: int, wire_ns: int, speed: str, equity: str, market: str = ""
) -> Run:
    """A fresh run with a random uid and key."""
    return Run(
        uid=str(10_000_000 + secrets.randbelow(90_000_000)),
        api_key=secrets.token_hex(9),
        api_secret=secrets.token_hex(18),
        seed=seed,
        start_market_ns=start_market_ns,
        start_wire_ns=wire_ns,
        speed=speed,
        equity=equity,
        opened_market_ns=start_market_ns,
        market=market,
    )


def load_run(folder: Path) -> Run | None:
    """The run stored in a folder; None when there is none.

    Raises:
        InputError: the file is damaged or of another format.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        return _read(json.loads(path.read_text()))
    except (OSError, TypeError, ValueError) as error:
        raise unreadable(folder, error) from error


def _read(stored: object) -> Run:
    if not isinstance(stored, dict):
        raise TypeError("it is not an object")
    written = stored.pop("format", None)
    if written != FORMAT:
        raise ValueError(f"it has format {written!r}, this version reads {FORMAT}")
    return _checked(Run(**stored))


def unreadable(folder: Path, cause: Exception) -> InputError:
    """The one error of a stored run that this version cannot continue."""
    said = f"{cause.args[0]!r} is missing" if isinstance(cause, KeyError) and cause.args else str(cause)
    return InputError(
        f"The paper venue's state {folder / FILE_NAME} cannot be read by this version: {said}.",
        field="data",
        next_step=f"Remove the folder {folder} to begin a new run (its journal will not fit), or continue "
        "it with the version that wrote it.",
    )


def _checked(run: Run) -> Run:
    for name, kind in Run.__annotations__.items():
        value = getattr(run, name)
        if kind in (str, int) and type(value) is not kind:
            raise TypeError(f"{name} is {value!r}")
    if run.core is not None and not isinstance(run.core, dict):
        raise TypeError("core is not an object")
    return run


def save_run(folder: Path, run: Run) -> None:
    """Replace the stored run; readable by its owner only, because it holds the key."""
    folder.mkdir(parents=True, exist_ok=True)
    body = {name: getattr(run, name) for name in Run.__slots__} | {"format": FORMAT}
    temporary = folder / f"{FILE_NAME}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(body, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / FILE_NAME)
