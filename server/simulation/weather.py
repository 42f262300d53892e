"""What sort of day an episode has: everything that the seed decides before the day begins.

Days differ so that no class of fault hides another one: on calm days intents come to their end, on wild ones
the guard is busy, on rotten ones little that is sent arrives as it should.
"""

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from exchanges.paper.faults import NO_FAULTS, Disconnect, FaultPlan, seeded_plan
from exchanges.paper.seeded import billionths
from portfolio.core.instrument import Instrument
from portfolio.core.limits import HOUR_NS, MINUTE_NS, SECOND_NS, BookLimits, GuardLimits, RiskLimits
from portfolio.core.names import Coin, PairId
from portfolio.core.pairs import PairSpec
from portfolio.core.universe import carry_pairs
from portfolio.operations import MoveMode
from server.simulation.lifeline import Death

#: Virtual seconds of trading, and of quiet after it.
BUSY_SECONDS = 150
#: 2025-01-01T00:37Z, away from a settlement; some days shift it.
START_NS = (1_735_689_600 + 37 * 60) * SECOND_NS
#: From START_NS to the next settlement of the made markets (08:00).
_SETTLEMENT_IN_NS = (7 * 60 + 23) * MINUTE_NS
_CRASHES = (2, 4, 8)
#: A desk passes about this many gates in a busy episode.
_GATES = 600
#: A recovery passes about this many.
_GATES_OF_RECOVERY = 40
#: What a desk is killed at when it is not killed anywhere: name, how many of them pass, gates after it.
_MOMENTS = (
    ("place", 12, 6),
    ("order.planned", 12, 10),
    ("order.answered", 12, 10),
    ("fill.booked", 12, 10),
    ("guard.acted", 2, 12),
    ("repayment.moved", 3, 4),
    ("repay", 3, 3),
    ("cancel", 4, 6),
    ("intent.moved", 3, 4),
    ("intent.approved", 3, 20),
)

#: Makes the fault plan of a venue that lists these instruments.
Planner = Callable[[tuple[Instrument, ...]], FaultPlan]


_DESIGN = RiskLimits()
#: An operator who minds no stress: then the guard has more to do.
_RECKLESS = BookLimits(
    market_stress_health_min=Decimal(0),
    market_stress_usage_max=Decimal(100),
    stress_health_min=Decimal(0),
    stress_usage_max=Decimal(100),
)


@dataclass(frozen=True, slots=True)
class Weather:
    """One day, by default a calm one. Times are integer ns; probabilities fractions of 1."""

    plan: Planner = lambda _: NO_FAULTS
    #: Far more of the venue's own faults than usual.
    rotten: bool = False
    #: Market time per wire time.
    speed: int = 1
    latency_ns: int = 0
    start_market_ns: int = START_NS
    #: Market data after the start.
    future_ns: int = 24 * HOUR_NS
    mode: MoveMode = MoveMode.NORMAL
    limits: RiskLimits = _DESIGN
    #: What may be asked for, USD of one leg.
    sizes: tuple[int, ...] = (0, 0, 5_000, 20_000, 40_000, 60_000)
    crashes_max: int = 0
    #: Coins whose pair is long the perpetual, and those that have both pairs.
    reversed_coins: frozenset[Coin] = frozenset()
    both_ways: frozenset[Coin] = frozenset()
    #: Share of what happens that the market and the venue's tables do, and whether that is violent.
    shocks: float = 0.1
    violent: bool = False
    #: Approvals may run out within seconds.
    short_approvals: bool = False


CALM = Weather()


def draw(seed: int, dice: random.Random, coins: Collection[Coin], *, faults: bool) -> Weather:
    """The day of a seed."""
    speed = dice.choice((1, 10, 60))
    names = sorted(coins)
    rotten = faults and dice.random() < 0.25
    duration_ns = BUSY_SECONDS * SECOND_NS * speed
    reckless = dice.random() < 0.5
    ends_early = faults and dice.random() < 0.06
    share = dice.choice((0.2, 0.6, 0.9)) if ends_early else 0.0
    return Weather(
        plan=planner(seed, duration_ns, rotten=rotten) if faults else CALM.plan,
        rotten=rotten,
        speed=speed,
        latency_ns=dice.choice((0, 20_000_000, 100_000_000)),
        # Some days begin just before funding settles, when entries have to wait.
        start_market_ns=START_NS + dice.choice((0, 0, _SETTLEMENT_IN_NS - 40 * SECOND_NS)),
        future_ns=int(duration_ns * share) if ends_early else CALM.future_ns,
        mode=dice.choice((MoveMode.NORMAL, MoveMode.URGENT)),
        limits=RiskLimits(
            guard=GuardLimits(cooldown_ns=dice.choice((5 * SECOND_NS, 60 * MINUTE_NS))),
            book=_RECKLESS if reckless else _DESIGN.book,
        ),
        sizes=(0, 80_000, 80_000, 80_000) if reckless else CALM.sizes,
        crashes_max=dice.choice(_CRASHES) if faults else 0,
        reversed_coins=frozenset(dice.sample(names, dice.choice((0, 0, 1, 2)))),
        both_ways=frozenset(dice.sample(names, dice.choice((0, 0, 0, 1)))),
        shocks=dice.choice((0.0, 0.1, 0.3)),
        violent=dice.random() < (0.7 if reckless else 0.3),
        short_approvals=dice.random() < 0.3,
    )


def planner(seed: int, duration_ns: int, *, rotten: bool) -> Planner:
    """The venue's own faults; on a rotten day five times as many."""

    def plan(instruments: tuple[Instrument, ...]) -> FaultPlan:
        usual = seeded_plan(seed, instruments, duration_ns)
        if not rotten:
            return usual
        outages = tuple(
            Disconnect(billionths(seed, "outage", number) * duration_ns // 1_000_000_000, 4 * SECOND_NS)
            for number in range(8)
        )
        return replace(
            usual,
            requests={fault: 4 * share for fault, share in usual.requests.items()},
            notices={fault: 5 * share for fault, share in usual.notices.items()},
            reads_failed=5 * usual.reads_failed,
            disconnects=(*usual.disconnects, *outages),
        )

    return plan


def death(dice: random.Random, crashes: int) -> Death:
    """Where the next desk dies: anywhere, in the middle of something, or in the recovery from the last."""
    drawn = dice.random()
    if crashes and drawn < 0.3:
        return Death(None, dice.randrange(1, _GATES_OF_RECOVERY))
    if drawn < 0.5:
        return Death(None, dice.randrange(1, _GATES))
    name, most, then = dice.choice(_MOMENTS)
    return Death(name, dice.randint(1, 2 * most), dice.randint(0, then))


def pairs_of(instruments: Collection[Instrument], weather: Weather) -> Mapping[PairId, PairSpec]:
    """The pairs of the day: the usual ones, some of them the other way round, some both ways."""
    found: dict[PairId, PairSpec] = {}
    for pair_id, pair in carry_pairs(instruments).items():
        if pair.coin not in weather.reversed_coins:
            found[pair_id] = pair
        if pair.coin in weather.reversed_coins | weather.both_ways:
            back = reverse(pair)
            found[back.pair_id] = back
    return found


def reverse(pair: PairSpec) -> PairSpec:
    """The same coin the other way round: long the perpetual, short borrowed coins. The perpetual leads."""
    return replace(
        pair,
        pair_id=PairId(f"{pair.pair_id}:reverse"),
        long_leg=pair.short_leg,
        short_leg=pair.long_leg,
    )
