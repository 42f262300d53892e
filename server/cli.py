"""The command line: `carrydesk COMMAND`.

Every command takes `--json`, which puts one JSON object on the last line of stdout; everything else goes to
stderr. A command imports what it needs when it runs, so that `carrydesk version` stays fast.
"""

import json
from importlib.metadata import version as distribution_version
from typing import Annotated

import typer

app = typer.Typer(name="carrydesk", no_args_is_help=True, add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]


@app.callback()
def carrydesk() -> None:
    """Run a portfolio of funding-carry trades that agents may propose to and a human approves."""


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    number = distribution_version("carrydesk")
    typer.echo(json.dumps({"version": number}) if as_json else f"carrydesk {number}")


def main() -> None:
    """Run the command line."""
    app()
