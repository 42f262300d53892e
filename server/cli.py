"""The command line: `carrydesk COMMAND`.

Every command but `stdio` takes `--json`, which puts one JSON object on the last line of stdout; everything
else goes to stderr. A command imports what it needs when it runs, so that `carrydesk version` stays fast.
"""

import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from server.console import Console
    from server.home import Home

app = typer.Typer(
    name="carrydesk",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they would print local variables: passphrases, keys
)
tokens = typer.Typer(name="token", no_args_is_help=True, help="Agent tokens: add, list, revoke.")
app.add_typer(tokens)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
PassphraseFile = Annotated[Path | None, typer.Option("--passphrase-file", hidden=True)]
IntentId = Annotated[str, typer.Argument(metavar="ID", help="The intent.")]


@app.callback()
def carrydesk() -> None:
    """Run a portfolio of funding-carry trades that agents may propose to and a human approves."""


def _home() -> Path:
    from server.settings import home_from

    return home_from(os.environ)


def _work(as_json: bool, work: "Callable[[Console], dict[str, Any]]") -> None:
    """Do a command's work and end with its exit code."""
    from server.console import run

    raise typer.Exit(run(as_json, work))


def _operate(as_json: bool, work: "Callable[[Console, Home], dict[str, Any]]") -> None:
    """The same on a home that was set up. Its settings are not read: a fault in them must not stop a halt."""
    _work(as_json, lambda console: work(console, _set_up()))


def _set_up() -> "Home":
    from portfolio.core.errors import SettingsError
    from server.home import Home

    home = Home(_home())
    if not any(map(os.path.exists, (home.settings_file, home.run_dir))):
        raise SettingsError(
            f"There is no home of Carrydesk in {home.root} that this user can open.",
            next_step="Run `carrydesk init`, or set CARRYDESK_HOME to the right home.",
        )
    owner = home.root.stat().st_uid
    if os.geteuid() not in (0, owner):
        raise SettingsError(f"{home.root} belongs to another user.", next_step=f"Run it as user {owner}.")
    return home


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    number = distribution_version("carrydesk")
    typer.echo(json.dumps({"version": number}) if as_json else f"carrydesk {number}")


# --- set up, run, stop ------------------------------------------------------------------------------------


@app.command()
def init(
    mode: Annotated[str | None, typer.Option(help="paper (of a new home), testnet or live.")] = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Set up the home, its settings and the operator's key."""
    from server.install import init as work

    _work(as_json, lambda console: work(console, _home(), mode, passphrase_file))


@app.command()
def serve(as_json: AsJson = False) -> None:
    """Run everything until stopped: the paper venue, the desk, the front."""
    from server.running import serve as work
    from server.settings import load

    _work(as_json, lambda console: work(console, load(_home())))


@app.command()
def stdio() -> None:
    """Connect an MCP client on stdin and stdout to the desk of the home."""
    _stdio()


def _stdio() -> None:
    from server.stdio import main as bridge

    code = bridge()
    sys.stdout.flush()
    os._exit(code)  # a thread still reads stdin: waiting for it would wait for the client


@app.command()
def stop(as_json: AsJson = False) -> None:
    """Stop in good order: hedges in flight are completed first."""
    from server.running import stop as work

    _operate(as_json, work)


@app.command(hidden=True, name="run-desk")
def run_desk() -> None:
    """The desk process."""
    from server.desk_process import desk_process

    raise typer.Exit(desk_process())


@app.command(hidden=True, name="run-front")
def run_front() -> None:
    """The front process."""
    from server.front_process import front_process

    raise typer.Exit(front_process())


@app.command(hidden=True, name="run-backtest")
def run_backtest(
    report: Annotated[Path, typer.Option(help="Where the page goes.")],
    venue: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last day, included.")] = None,
) -> None:
    """A backtest for an agent, started by the front."""
    from server.background import begin_background

    begin_background()  # before the heavy imports: they too must not slow the guard
    from server.backtest_child import backtest_child

    raise typer.Exit(backtest_child(venue, start, end, report))


@app.command()
def paper(
    venue: Annotated[str, typer.Option(help="bybit.")] = "bybit",
    port: Annotated[int, typer.Option(help="0: any free port.")] = 0,
    start: Annotated[str | None, typer.Option("--from", help="First market day, such as 2025-03-01.")] = None,
    speed: Annotated[str, typer.Option(help="Market seconds per second.")] = "1",
    data: Annotated[Path | None, typer.Option(help="Folder of the run, and of market files if any.")] = None,
    market: Annotated[
        Path | None, typer.Option(help="Folder with hourly.parquet and panel.parquet to replay.")
    ] = None,
    equity: Annotated[str, typer.Option(help="USDT at the start.")] = "100000",
    latency_ms: Annotated[int, typer.Option(help="Round trip added to every answer.")] = 0,
    faults: Annotated[Path | None, typer.Option(help="A JSON file of planned faults.")] = None,
    seed: Annotated[int, typer.Option(hidden=True)] = 7,
    as_json: AsJson = False,
) -> None:
    """Run one paper venue until stopped; when ready it prints one JSON line."""
    from exchanges.paper.bybit.serve import PaperOptions, run_paper
    from server.endings import say
    from server.process import begin

    def work(console: "Console") -> dict[str, Any]:
        begin()
        options = PaperOptions(
            port=port,
            from_date=start,
            speed=speed,
            data_dir=data,
            market_dir=market,
            equity=equity,
            latency_ms=latency_ms,
            faults_file=faults,
            seed=seed,
        )
        run_paper(venue, options, say)
        return {"venue": venue, "stopped": True}

    _work(as_json, work)


# --- the operator's hand ----------------------------------------------------------------------------------


@app.command()
def status(as_json: AsJson = False) -> None:
    """The book and its guard."""
    from server.operator_commands import status as work

    _operate(as_json, work)


@app.command()
def approve(intent_id: IntentId, passphrase_file: PassphraseFile = None, as_json: AsJson = False) -> None:
    """Show the full text of an intent and approve it with the operator's passphrase."""
    from server.operator_commands import approve as work

    _operate(as_json, lambda console, home: work(console, home, intent_id, passphrase_file))


@app.command()
def reject(
    intent_id: IntentId,
    note: Annotated[str, typer.Option(help="Why; the agent can read it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Refuse an intent."""
    from server.operator_commands import reject as work

    _operate(as_json, lambda console, home: work(console, home, intent_id, note))


@app.command()
def halt(note: Annotated[str, typer.Option(help="Why.")] = "", as_json: AsJson = False) -> None:
    """Stop adding risk at once: only hedges and reductions run."""
    from server.operator_commands import halt as work

    _operate(as_json, lambda console, home: work(console, home, note))


@app.command()
def resume(passphrase_file: PassphraseFile = None, as_json: AsJson = False) -> None:
    """Lift the halt and the freezes that only the operator lifts."""
    from server.operator_commands import resume as work

    _operate(as_json, lambda console, home: work(console, home, passphrase_file))


@tokens.command("add")
def token_add(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    scopes: Annotated[str, typer.Option(help="Comma-separated.")] = "read,simulate,propose,request",
    as_json: AsJson = False,
) -> None:
    """Issue an agent token; it is shown once."""
    from server.operator_commands import token_add as work

    _operate(as_json, lambda console, home: work(console, home, name, scopes))


@tokens.command("list")
def token_list(as_json: AsJson = False) -> None:
    """Every token ever issued."""
    from server.operator_commands import token_list as work

    _operate(as_json, work)


@tokens.command("revoke")
def token_revoke(name: Annotated[str, typer.Argument(help="Whose it is.")], as_json: AsJson = False) -> None:
    """Make a token open nothing any more."""
    from server.operator_commands import token_revoke as work

    _operate(as_json, lambda console, home: work(console, home, name))


# --- showing ----------------------------------------------------------------------------------------------


@app.command()
def demo(
    stay: Annotated[bool, typer.Option("--stay", help="Keep it running afterwards.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show everything in numbered beats: venue, agent, approval, fills, guard, kill -9, recovery."""
    from server.demo.run import run_demo

    raise typer.Exit(run_demo(as_json=as_json, stay=stay))


@app.command()
def simulate(
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the first episode.")] = 1,
    faults: Annotated[str, typer.Option(help="all, or none.")] = "all",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = max(1, os.cpu_count() or 1),
    as_json: AsJson = False,
) -> None:
    """Run the deterministic simulation: the whole engine on a faulty venue, crashes included."""
    from server.simulate import main as work

    raise typer.Exit(work(episodes=episodes, seed=seed, faults=faults, workers=workers, as_json=as_json))


@app.command()
def backtest(
    data: Annotated[
        Path | None, typer.Option(help="Folder with a panel.parquet; without it the package's own history.")
    ] = None,
    venue: Annotated[str | None, typer.Option(help="binance, bybit or okx; without it all of them.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="First day, such as 2021-01-01, or a moment, UTC.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Last day, included to its midnight, or a moment, UTC.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a self-contained HTML page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the engine's own rules over market history, walk-forward, beside its baselines."""
    from server.backtest import main as work

    _work(as_json, lambda console: work(console, data, venue, start, end, report))


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["stdio"]:
        _stdio()
    app()


if __name__ == "__main__":
    main()
