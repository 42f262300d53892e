"""Run the demo and say how it went."""

import json
import sys

import anyio

from portfolio.core.errors import CarrydeskError
from server.demo.beats import Beats
from server.demo.report import Report, Voice
from server.demo.stage import Stage


def run_demo(*, as_json: bool, stay: bool) -> int:
    """The whole demo; 0 when everything that it claims held."""
    return anyio.run(_run, as_json, stay)


async def _run(as_json: bool, stay: bool) -> int:
    voice, report = Voice(as_json=as_json), Report()
    failed: list[str] = []
    try:
        async with Stage(voice.say) as stage:
            report.seconds_setup = round(voice.seconds, 1)
            await _play(Beats(stage, voice, report))
            report.seconds = round(voice.seconds, 1)
            failed = report.failures()
            if stay:
                voice.say(f"\nStaying. Home: {stage.home.root}. Stop with Ctrl-C.")
                await anyio.sleep_forever()
    except CarrydeskError as error:
        failed.append(str(error))
    report.seconds = report.seconds or round(voice.seconds, 1)
    for what in failed:
        voice.say(f"NOT SHOWN: {what}")
    voice.say(f"\n{'Failed' if failed else 'Done'} in {report.seconds} s.")
    if as_json:
        sys.stdout.write(json.dumps({**report.data(), "failed": failed}) + "\n")
    return 1 if failed else 0


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
