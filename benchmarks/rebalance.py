"""Urgent rebalances of a whole book: from the operator's approval to the last booked hedge.

The desk is the production assembly with its journal on a file, against the in-memory venue with the venue's
own limits and 50 ms round trips, in real time. Every pair moves one slice: its lead, then its hedge, which
depends on the lead's fills. So the shortest possible time is one wave of leads after the other and the
hedges of the last one:

    bound = limits of the leads + one round trip + one round trip

`bound_ms` lets every order draw the whole limit of the venue; `bound_with_reserve_ms` leaves to entries what
the desk leaves them, 80 % of it. A resize halves some pairs and enters others with what that frees: at least
lead, hedge, repayment, lead and hedge after one another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from benchmarks.journal import WORK
from benchmarks.measure import Result, ms, spread
from benchmarks.world import Desk, Scale, World
from exchanges.paper.traits import BYBIT_TRAITS
from portfolio.core.entries import FillBooked, IntentApproved
from portfolio.core.instrument import InstrumentKind
from portfolio.core.intents import IntentStatus
from portfolio.core.limits import RiskLimits
from portfolio.core.names import PairId
from portfolio.lanes import lower_bound_ns

#: Longer than any of the venue's windows: every move starts with untouched limits.
PAUSE_SECONDS = 1.3
HALF = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Move:
    """What one move took, ms from the approval's commit."""

    orders: int
    requests: int
    first_sent_ms: float
    last_sent_ms: float
    #: The last fill is in the journal: every pair is hedged.
    hedged_ms: float
    #: Debts are repaid and the intent has ended.
    ended_ms: float
    #: Its last status, and a word on whatever was not reached.
    ended: str


def run(*, tiny: bool = False) -> Result:
    """Books of 7 and 20 pairs, each entered, resized and left several times."""
    result: Result = {"round_trip_ms": 50}
    for pairs, rounds in ((2, 1),) if tiny else ((7, 5), (20, 2)):
        moves = anyio.run(_rounds, pairs, rounds)
        result |= {f"{name}_{pairs}_pairs": _summary(name, pairs, done) for name, done in moves.items()}
    return result


async def _rounds(pairs: int, rounds: int) -> Mapping[str, list[Move]]:
    WORK.mkdir(exist_ok=True)
    found: dict[str, list[Move]] = {"enter": [], "resize": [], "exit": []}
    with TemporaryDirectory(prefix="bench-rebalance-", dir=WORK) as folder:
        world = World(Scale(pairs))
        async with world.desk(Path(folder, "journal.db")) as desk:
            usd = world.scale.leg_usd
            names = list(desk.assembly.view.pairs)
            for _ in range(rounds):
                full = dict.fromkeys(names, usd)
                shifted = {
                    name: usd * (1 - HALF if number % 2 else 1 + HALF) for number, name in enumerate(names)
                }
                found["enter"].append(await _move(desk, full))
                found["resize"].append(await _move(desk, shifted))
                found["exit"].append(await _move(desk, dict.fromkeys(names, Decimal(0))))
    return found


async def _move(desk: Desk, targets: Mapping[PairId, Decimal]) -> Move:
    await anyio.sleep(PAUSE_SECONDS)
    intent = await desk.propose(targets)
    desk.exchange.expect()
    after = desk.journal.head()[0]
    await desk.approve(intent)
    ended = await desk.finished(intent)
    rows = await desk.runner.run(lambda: desk.journal.read(after, 100_000))
    start = next(row.wire_ns for row in rows if isinstance(row.entry, IntentApproved))
    hedged = max(row.wire_ns for row in rows if isinstance(row.entry, FillBooked))
    return Move(
        orders=sum(len(sent.orders) for sent in desk.exchange.sent),
        requests=len(desk.exchange.sent),
        first_sent_ms=ms(desk.exchange.sent[0].wire_ns - start),
        last_sent_ms=ms(desk.exchange.sent[-1].wire_ns - start),
        hedged_ms=ms(hedged - start),
        ended_ms=ms(ended.updated_wire_ns - start),
        ended=ended.status if ended.status is IntentStatus.DONE else f"{ended.status}: {ended.note}",
    )


def bound_ns(name: str, pairs: int, reserve: Decimal = Decimal(0)) -> int:
    """The shortest time of a move; see the module."""
    scale = Scale(pairs)
    everything = _waves(scale, pairs, Decimal(0) if name == "exit" else reserve)
    # Lead and hedge out, the repayment, lead and hedge in: each needs the answer to the one before.
    return max(everything, 5 * scale.latency_ns) if name == "resize" else everything


def _waves(scale: Scale, pairs: int, reserve: Decimal) -> int:
    """Leads by their limit, each hedged one round trip later by the hedges' limit."""
    traits, rtt = BYBIT_TRAITS, scale.latency_ns
    leads = lower_bound_ns({("place", InstrumentKind.PERPETUAL): pairs}, traits, rtt, reserve)
    hedges = lower_bound_ns({("place", InstrumentKind.SPOT): pairs}, traits, rtt)
    return max(leads + rtt, rtt + hedges)


def _summary(name: str, pairs: int, moves: list[Move]) -> Result:
    bound = ms(bound_ns(name, pairs))
    reserved = ms(bound_ns(name, pairs, RiskLimits().trade.bucket_reserve))
    hedged = spread([move.hedged_ms for move in moves])
    return {
        "legs": pairs * 2,
        "orders": moves[-1].orders,
        "requests": moves[-1].requests,
        "first_sent_ms": spread([move.first_sent_ms for move in moves]),
        "last_sent_ms": spread([move.last_sent_ms for move in moves]),
        "hedged_ms": hedged,
        "ended_ms": spread([move.ended_ms for move in moves]),
        "ended": sorted({move.ended for move in moves}),
        "bound_ms": bound,
        "bound_with_reserve_ms": reserved,
        "hedged_over_bound": round(hedged["p50"] / bound, 3),
        "hedged_over_bound_with_reserve": round(hedged["p50"] / reserved, 3),
    }
