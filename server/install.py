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


def init(console: Console, root: Path, mode: str, passphrase_file: Path | None) -> dict[str, Any]:
    """Make what is missing; leave what is there.

    Raises:
        SettingsError: the home or a file in it cannot be used.
        InputError: the passphrase is too short or was not repeated equally.
    """
    home = Home(root)
    prepare(home)
    created = []
    if not home.settings_file.exists():
        write_private(home.settings_file, TEMPLATE.format(mode=mode))
        created.append(home.settings_file.name)
    try:
        settings = load(root)
    except SettingsError:
        if created:
            home.settings_file.unlink()  # a template that cannot be used (live) is not left behind
        raise
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
