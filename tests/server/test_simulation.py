"""The simulation holds on many bad days, repeats itself exactly, and sees each kind of breach."""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import anyio
import pytest

from exchanges.paper.commands import PlaceOrder, Shock
from portfolio.core.entries import (
    EntriesFrozen,
    EntriesThawed,
    Entry,
    GuardActed,
    Halted,
    IntentProposed,
    Noted,
    OrderPlanned,
)
from portfolio.core.intents import DriftBounds, Intent, Target
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import ClientOrderId, Coin, InstrumentId, IntentId, PairId
from portfolio.core.orders import OrderClass, OrderRequest, Side, TimeInForce
from server.simulate import main, run_simulation
from server.simulation import deterministic
from server.simulation.episode import run_episode
from server.simulation.invariants import NAKED_MAX_NS, Invariants
from server.simulation.lifeline import Death, Killed, Lifeline
from server.simulation.weather import CALM
from server.simulation.world import ACCOUNT, MODE, START_NS, World

SPOT, PERPETUAL = InstrumentId("bybit:spot:SOLUSDT"), InstrumentId("bybit:linear:SOLUSDT")
SOL = PairId("SOL@bybit")


@pytest.mark.timeout(900)
def test_two_hundred_bad_days_break_no_invariant() -> None:
    report = run_simulation(episodes=200, seed=1, faults="all", workers=2)
    assert report["violations"] == 0, report
    assert report["episodes"] == 200
    # They were bad days: desks died, the guard acted, and there was something to explain.
    for what in ("crashes", "guard_actions", "fills"):
        count = report[what]
        assert isinstance(count, int)
        assert count > 100, (what, count)


def test_the_same_seed_writes_the_same_journal() -> None:
    first, second, other = run_episode(5), run_episode(5), run_episode(6)
    assert first == second
    assert first.trace != other.trace


def test_a_good_day_without_faults_kills_nobody() -> None:
    outcome = run_episode(11, faults=False)
    assert outcome.violations == ()
    assert outcome.crashes == 0


@pytest.mark.parametrize("as_json", [True, False])
def test_faults_that_do_not_exist_are_refused_by_name(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(episodes=1, seed=1, faults="bogus", workers=1, as_json=as_json) == 1
    said = capsys.readouterr()
    assert "bogus" in said.err
    assert "Allowed: all, none" in said.err
    error = json.loads(said.out)["error"] if as_json else {"field": "faults"}
    assert error["field"] == "faults"
    assert as_json or said.out == ""


def order(key: str, instrument_id: InstrumentId, side: Side, quantity: str) -> OrderRequest:
    return OrderRequest(
        client_order_id=ClientOrderId(key),
        instrument_id=instrument_id,
        side=side,
        quantity=Decimal(quantity),
        limit_price=None,
        time_in_force=TimeInForce.IOC,
        reduce_only=False,
        borrow=False,
        order_class=OrderClass.ENTRY,
        pair_id=SOL,
        intent_id=IntentId("i1"),
    )


def intent(size: str) -> Intent:
    return Intent(
        intent_id=IntentId("i1"),
        mode=MODE,
        account=ACCOUNT,
        kind="changes",
        targets=(Target(SOL, Decimal(0), Decimal(size), ()),),
        reduce_only=False,
        proposed_by="agent",
        reason="",
        request_id=None,
        health_after=Decimal(1),
        fingerprint="",
        drift=DriftBounds(),
        text="",
        digest="0" * 64,
        created_wire_ns=START_NS,
        expires_wire_ns=START_NS + 600 * SECOND_NS,
    )


def breached(act: Callable[[World], Awaitable[None]]) -> str:
    """What the invariants say after `act`, all in one text."""

    async def main() -> str:
        world = World(seed=1, weather=CALM)
        invariants = Invariants(world)
        await act(world)
        invariants.check()
        invariants.final()
        return "\n".join(invariants.violations)

    return deterministic.run(main, seed=1)


async def fill(world: World, key: str, instrument_id: InstrumentId, side: Side, quantity: str) -> None:
    command = PlaceOrder(key, instrument_id, side, Decimal(quantity), None, TimeInForce.IOC)
    assert world.venue.command(command).ok


def planned(world: World, *orders: OrderRequest, size: str) -> None:
    entries: list[Entry] = [IntentProposed(intent(size))]
    entries += [OrderPlanned(one, START_NS) for one in orders]
    world.journal.append(entries, START_NS)


def test_a_fill_that_the_journal_did_not_plan_is_seen() -> None:
    async def act(world: World) -> None:
        await fill(world, "wild1", PERPETUAL, Side.SELL, "10")

    assert "filled wild1, which the journal did not plan" in breached(act)


def test_an_entry_without_an_approval_and_a_fill_that_nobody_booked_are_seen() -> None:
    async def act(world: World) -> None:
        planned(world, order("a1", PERPETUAL, Side.SELL, "10"), size="10")
        await fill(world, "a1", PERPETUAL, Side.SELL, "10")

    seen = breached(act)
    assert "ENTRY a1 of i1 without an approval" in seen
    assert "is not booked" in seen
    assert "orders without an end: a1" in seen
    assert "ends naked by -10" in seen


def test_a_hedge_before_its_lead_and_a_lead_beyond_the_plan_are_seen() -> None:
    async def act(world: World) -> None:
        planned(world, order("h1", SPOT, Side.BUY, "10"), order("l1", PERPETUAL, Side.SELL, "30"), size="20")
        await fill(world, "h1", SPOT, Side.BUY, "10")
        await fill(world, "l1", PERPETUAL, Side.SELL, "30")

    seen = breached(act)
    assert "<= lead 0 <= planned 20 is broken" in seen
    assert "<= lead 30 <= planned 20 is broken" in seen, seen


def test_an_id_that_is_sent_twice_is_seen() -> None:
    async def act(world: World) -> None:
        one = order("t1", PERPETUAL, Side.SELL, "1")
        planned(world, one, size="1")
        for _ in range(2):
            await world.venue.place([one], world.clocks.wire_ns() + SECOND_NS)

    assert "sent twice: t1" in breached(act)


def test_a_leg_that_stays_naked_while_a_desk_lives_is_seen() -> None:
    async def act(world: World) -> None:
        world.watched = True
        await fill(world, "n1", PERPETUAL, Side.SELL, "10")
        await anyio.sleep(NAKED_MAX_NS / SECOND_NS + 2)
        world.venue.pump()

    assert "SOL@bybit is naked by -10" in breached(act)


def test_a_dead_desk_can_do_nothing_more() -> None:
    async def main() -> bool:
        lifeline = Lifeline(death=Death(None, 2))
        lifeline.gate()
        for _ in range(2):
            with pytest.raises(Killed):
                lifeline.gate()
        return lifeline.dead

    assert deterministic.run(main, seed=1)


def test_a_desk_dies_where_it_is_told_to() -> None:
    async def main() -> list[int]:
        lived = []
        for death in (Death(None, 3), Death("place", 2), Death("place", 1, then=2)):
            lifeline = Lifeline(death=death)
            for name in ("find", "place", "find", "place", "find", "find"):
                with suppress(Killed):
                    lifeline.gate((name,))
            lived.append(lifeline.gates)
        return lived

    assert deterministic.run(main, seed=1) == [3, 4, 4]


def test_an_entry_while_frozen_or_halted_and_a_silent_act_of_the_guard_are_seen() -> None:
    async def act(world: World) -> None:
        one, two = order("f1", PERPETUAL, Side.SELL, "1"), order("f2", PERPETUAL, Side.SELL, "1")
        entries: list[Entry] = [
            IntentProposed(intent("2")),
            EntriesFrozen("orphan", "found one", "operator"),
            OrderPlanned(one, START_NS),
            EntriesThawed("orphan", "operator"),
            Halted("operator", ""),
            OrderPlanned(two, START_NS),
            GuardActed("g1", "ranking_reduction", (SOL,), "reduce", None, None),
        ]
        world.journal.append(entries, START_NS)
        await anyio.sleep(20)
        world.journal.append([Noted("test", "twenty seconds later")], world.clocks.wire_ns())

    seen = breached(act)
    assert "ENTRY f1 is planned while frozen by orphan" in seen
    assert "ENTRY f2 is planned while halted" in seen
    assert "guard operation g1 left neither an order nor a reason" in seen


def test_a_cut_for_a_reduction_that_the_venue_did_not_make_is_seen() -> None:
    async def act(world: World) -> None:
        acted = GuardActed("g1", "forced_reduction", (SOL,), "reduce", None, None)
        world.journal.append([acted], world.clocks.wire_ns())

    assert "SOL@bybit was cut for a reduction that the venue did not make" in breached(act)


def test_more_requests_than_the_venue_allows_are_seen() -> None:
    async def act(world: World) -> None:
        for _ in range(2):
            await world.venue.repay(Coin("SOL"), None, world.clocks.wire_ns() + SECOND_NS)

    assert "more than repay allows" in breached(act)


def test_a_guard_that_sleeps_through_a_collapse_is_seen() -> None:
    """Nobody watches: a short that doubles against the account, then is liquidated."""

    async def act(world: World) -> None:
        world.watched = True
        planned(
            world,
            replace(order("s1", PERPETUAL, Side.SELL, "4000"), order_class=OrderClass.REDUCE),
            size="4000",
        )
        await fill(world, "s1", PERPETUAL, Side.SELL, "4000")
        world.venue.command(Shock({Coin("SOL"): Decimal("1.12")}))
        for _ in range(40):
            await anyio.sleep(0.5)
            world.venue.pump()
        world.venue.command(Shock({Coin("SOL"): Decimal("1.1")}))
        for _ in range(20):
            await anyio.sleep(0.5)
            world.venue.pump()

    seen = breached(act)
    assert "no act of the guard" in seen, seen
    assert "liquidated although the guard had" in seen
