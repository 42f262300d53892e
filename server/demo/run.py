"""Run the demo and say how it went."""

import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator

import anyio
from mcp import MCPError

from portfolio.core.errors import CarrydeskError
from server.demo.beats import Beats
from server.demo.report import Report, Voice
from server.demo.stage import Stage

logger = logging.getLogger(__name__)


def run_demo(*, as_json: bool, stay: bool) -> int:
    """The whole demo; 0 when everything that it claims held."""
    return anyio.run(_run, as_json, stay)


async def _run(as_json: bool, stay: bool) -> int:
    voice, report = Voice(as_json=as_json), Report()
    missing: list[str] = []

    async def show() -> None:
        async with Stage(voice.say) as stage:
            report.seconds_setup = round(voice.seconds, 1)
            await _play(Beats(stage, voice, report))
            report.seconds = round(voice.seconds, 1)
            missing.extend(report.failures())
            if stay:
                voice.say(f"\nStaying. Home: {stage.home.root}. Stop with Ctrl-C.")
                await anyio.sleep_forever()

    failed = await broken_off(show) + missing
    if report.seconds is None:
        report.seconds = round(voice.seconds, 1)
    for what in failed:
        voice.say(f"NOT SHOWN: {what}")
    voice.say(f"\n{'Failed' if failed else 'Done'} in {report.seconds} s.")
    if as_json:
        sys.stdout.write(json.dumps({**report.data(), "failed": failed}) + "\n")
    return 1 if failed else 0


async def broken_off(show: Callable[[], Awaitable[None]]) -> list[str]:
    """Run the show; why it broke off, unwrapped from a connection's task group. Empty: it did not."""
    failed: list[str] = []
    try:
        await show()
    except* CarrydeskError as group:
        failed += [str(error) for error in _each(group)]
    except* MCPError as group:
        failed += [f"The agent's connection broke: {error}." for error in _each(group)]
    except* Exception as group:
        logger.exception("the demo broke off")  # nobody expected it; the report goes out all the same
        failed += [f"{type(error).__name__}: {error}" for error in _each(group)]
    return failed


def _each(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _each(error)
        else:
            yield error


async def _play(beats: Beats) -> None:
    await beats.venue()
    await beats.desk()
    await beats.look()
    async with beats.agent_client() as client:
        await beats.agent(client)
        await beats.refusals(client)
    await beats.approval()
    snapshot = await beats.fills()
    await beats.shock(snapshot)
    await beats.guard()
    await beats.kill()
    await beats.recovery()
    await beats.reckoning()
