"""`carrydesk init`: the home, its settings, the operator's key and the first agent's token."""

import os
from pathlib import Path
from typing import Any

from portfolio.approvals import create_operator_key, save_operator_key
from portfolio.core.errors import SettingsError
from server.console import Console
from server.home import TEMPLATE, Home, new_token, prepare, write_private
from server.passphrase import new_passphrase
from server.settings import load


def init(console: Console, root: Path, mode: str | None, passphrase_file: Path | None) -> dict[str, Any]:
    """Make what is missing; leave what is there.

    Args:
        console: Where it says what it did.
        root: The home.
        mode: Of a new home; None is paper. An existing one keeps the mode that its settings say.
        passphrase_file: For tests and demos, in paper mode only.

    Raises:
        SettingsError: the home or a file in it cannot be used, or is of another mode than the one asked for.
        InputError: the passphrase is too short or was not repeated equally.
    """
    home = Home(root)
    prepare(home)
    created = []
    if not home.settings_file.exists():
        write_private(home.settings_file, TEMPLATE.format(mode=mode or "paper"))
        created.append(home.settings_file.name)
    try:
        settings = load(root)
    except SettingsError:
        if created:
            home.settings_file.unlink()  # a template that cannot be used (live) is not left behind
        raise
    if mode not in (None, settings.mode):
        raise SettingsError(
            f"The home {root} is set up for {settings.mode}; nothing was changed.",
            field="mode",
            next_step=f"Choose another CARRYDESK_HOME for {mode}, or change mode in {home.settings_file}.",
        )
    prepare(home, separated=settings.install == "separated")
    if not home.operator_file.exists():
        passphrase = new_passphrase(settings.mode, passphrase_file)
        save_operator_key(create_operator_key(passphrase), home.operator_file)
        created.append(home.operator_file.name)
    if not home.token_file.exists():
        write_private(home.token_file, new_token() + "\n")
        created.append(home.token_file.name)
    console.say(f"The home is {root}" + (f"; made {', '.join(created)}." if created else "; nothing to do."))
    console.say("Next: carrydesk serve")
    console.say(f"MCP clients: command `carrydesk stdio`, environment CARRYDESK_HOME={root}")
    return {
        "home": str(root),
        "mode": settings.mode,
        "created": created,
        "settings": str(home.settings_file),
        "token_file": str(home.token_file),
        "uid": os.getuid(),
    }
