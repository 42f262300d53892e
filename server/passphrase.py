"""The operator's passphrase: from the terminal only, except in the paper demo."""

import getpass
from pathlib import Path

from portfolio.approvals import PASSPHRASE_MIN
from portfolio.core.errors import InputError, SettingsError

_ONCE = "Passphrase of the operator: "


def _terminal(prompt: str) -> str:
    """Read from /dev/tty without echo, whatever stdin is.

    Raises:
        InputError: there is no terminal.
    """
    try:
        with Path("/dev/tty").open("r+b", buffering=0):
            pass  # it can be opened
    except OSError:
        raise InputError(
            "There is no terminal to read the passphrase from.",
            field="passphrase",
            next_step="Run the command in a terminal; agents and scripts cannot sign.",
        ) from None
    try:
        return getpass.getpass(prompt)
    except (EOFError, KeyboardInterrupt):
        raise InputError("No passphrase was given.", field="passphrase", next_step="Try again.") from None


def _from_file(mode: str, path: Path) -> str:
    if mode != "paper":
        raise InputError(
            f"A passphrase file works in paper mode only; this is {mode}.",
            field="passphrase-file",
            next_step="Type it in a terminal.",
        )
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.", field="passphrase-file") from None


def passphrase(mode: str, path: Path | None) -> str:
    """The operator's passphrase.

    Raises:
        InputError: no terminal, nothing given, or a file outside of paper mode.
    """
    return _terminal(_ONCE) if path is None else _from_file(mode, path)


def new_passphrase(mode: str, path: Path | None) -> str:
    """A new one, typed twice.

    Raises:
        InputError: too short, or the two differ.
    """
    if path is not None:
        return _from_file(mode, path)
    first = _terminal(f"New passphrase of the operator (at least {PASSPHRASE_MIN} characters): ")
    if len(first) < PASSPHRASE_MIN:
        raise InputError("The passphrase is too short.", field="passphrase", allowed=f">= {PASSPHRASE_MIN}")
    if _terminal("Again: ") != first:
        raise InputError("The two differ.", field="passphrase", next_step="Run the command again.")
    return first
