"""One episode: a desk, an agent and an operator live through a bad day at the venue, with crashes.

Everything follows from the seed: the market, the faults, what is proposed, when the desk dies and how
often. The same seed gives the same journal to the last byte; its head hash is the trace.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import anyio

from exchanges.paper.commands import Shock
from exchanges.paper.faults import NO_FAULTS, seeded_plan
from portfolio.approvals import OperatorKey, derive_private_key, sign_approval, unlock
from portfolio.core.digest import operator_digest
from portfolio.core.errors import CarrydeskError
from portfolio.core.intents import IntentStatus, SignedApproval
from portfolio.core.limits import MINUTE_NS, SECOND_NS
from portfolio.desk import Desk
from portfolio.operations import MoveMode
from portfolio.service import Principal, ProposalRequest, Scope, WantedTarget
from server.simulation import deterministic
from server.simulation.invariants import Invariants
from server.simulation.lifeline import Killed
from server.simulation.world import ACCOUNT, EQUITY_USDT, MODE, START_NS, World

#: Virtual seconds of trading, and of quiet after it.
BUSY_SECONDS = 150
QUIET_SECONDS_MAX = 240
CRASHES_MAX = 4
#: From START_NS to the next settlement of the made markets (08:00).
SETTLEMENT_IN_NS = (7 * 60 + 23) * MINUTE_NS
#: A desk passes about this many gates in a busy episode; crashes are drawn from them.
GATES = 600
AGENT = Principal("agent", tuple(scope.value for scope in Scope))
PASSPHRASE = "simulated operator"  # noqa: S105
_SALT = bytes(16)


def simulated_key() -> OperatorKey:
    """The simulated operator's key: always the same, so that signatures are part of the trace.

    Cheap on purpose.
    """
    private = derive_private_key(PASSPHRASE, _SALT, n=2)
    return OperatorKey(salt=_SALT.hex(), public_key=private.public_key().public_bytes_raw().hex(), scrypt_n=2)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one episode came to."""

    seed: int
    violations: tuple[str, ...]
    #: Journal entries written.
    events: int
    fills: int
    crashes: int
    guard_actions: int
    virtual_seconds: float
    naked_seconds_max: float
    #: Head hash of the journal.
    trace: str


def run_episode(seed: int, *, faults: bool = True) -> Outcome:
    """Run one episode to its end."""

    async def main() -> Outcome:
        return await Episode(seed, faults=faults).run()

    return deterministic.run(main, seed=seed)


class Episode:
    """The script. One instance, one run."""

    def __init__(self, seed: int, *, faults: bool) -> None:
        self._seed = seed
        self._key = simulated_key()
        self._private = unlock(self._key, PASSPHRASE)
        self._random = random.Random(seed)  # noqa: S311
        self._faults = faults
        speed = self._random.choice((1, 10, 60))
        self._world = World(
            seed=seed,
            plan=partial(seeded_plan, seed, duration_ns=BUSY_SECONDS * SECOND_NS * speed)
            if faults
            else lambda _: NO_FAULTS,
            latency_ns=self._random.choice((0, 20_000_000, 100_000_000)),
            market_speed=speed,
            # Some days begin just before funding settles, when entries have to wait.
            start_market_ns=START_NS + self._random.choice((0, SETTLEMENT_IN_NS - 40 * SECOND_NS)),
        )
        self._invariants = Invariants(self._world)
        self._crashes = 0
        self._nonce = 0
        self._over = False
        self._mode = self._random.choice((MoveMode.NORMAL, MoveMode.URGENT))

    async def run(self) -> Outcome:
        """Trade, stop the faults, wait until everything is quiet, and count."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._world.venue.run)
            tasks.start_soon(self._desks)
            with anyio.move_on_after(BUSY_SECONDS):
                await self._trade()
            self._world.venue.faults = NO_FAULTS
            self._over = True
            await self._quiet()
            tasks.cancel_scope.cancel()
        self._invariants.check()
        self._invariants.final()
        journal = self._world.journal
        return Outcome(
            seed=self._seed,
            violations=tuple(self._invariants.violations),
            events=journal.head()[0],
            fills=len(journal.fills()),
            crashes=self._crashes,
            guard_actions=len(journal.guard_actions()),
            virtual_seconds=self._world.clocks.monotonic_ns() / SECOND_NS,
            naked_seconds_max=self._invariants.naked_max_ns / SECOND_NS,
            trace=journal.head()[1],
        )

    # --- the desk's lives ---------------------------------------------------------------------------------

    async def _desks(self) -> None:
        """One desk after the other, each killed at a gate of its own until the crashes are used up."""
        while True:
            crash_at = None
            if self._faults and self._crashes < CRASHES_MAX and not self._over:
                crash_at = self._random.randrange(1, GATES)
            ended = await self._world.live(key=self._key, crash_at_gate=crash_at, move_mode=self._mode)
            if ended == "killed":
                self._crashes += 1
            await anyio.sleep(self._random.choice((0.2, 1.0, 5.0)))
            self._world.reopen()

    # --- what agent and operator do -----------------------------------------------------------------------

    async def _trade(self) -> None:
        await anyio.sleep(3)
        while True:
            draw = self._random.random()
            if draw < 0.60:
                await self._try(self._rebalance)
            elif draw < 0.72:
                await self._try(self._cancel_one)
            elif draw < 0.84:
                self._shock()
            elif draw < 0.90:
                await self._try(self._halt_and_resume)
            await anyio.sleep(self._random.uniform(2, 15))

    async def _try(self, act: Callable[[Desk], Awaitable[None]]) -> None:
        """Act on the living desk; a refusal or its death in the middle is part of the day."""
        assembly = self._world.assembly
        if assembly is None:
            return
        try:
            await act(assembly.desk)
        except (CarrydeskError, Killed):
            return

    async def _rebalance(self, desk: Desk) -> None:
        pairs = sorted(self._world.pairs)
        chosen = self._random.sample(pairs, self._random.randint(1, len(pairs)))
        sizes = [self._random.choice((0, 0, 5_000, 20_000, 40_000, 60_000)) for _ in chosen]
        wanted = tuple(
            WantedTarget(pair, Decimal(size) * EQUITY_USDT / 100_000)
            for pair, size in zip(chosen, sizes, strict=True)
        )
        request = ProposalRequest(
            "changes", wanted, "simulated", None, 30, reduce_only=False, min_health=None
        )
        proposal = await desk.propose(AGENT, request)
        if proposal.row is None:
            return
        intent = proposal.row.intent
        await desk.request_execution(AGENT, intent.intent_id, intent.digest)
        await anyio.sleep(self._random.uniform(0, 2))
        if self._random.random() < 0.1:
            await desk.reject(intent.intent_id, "not today")
            return
        await desk.approve(intent.intent_id, self._sign("intent", intent.digest))

    def _sign(self, purpose: str, digest: str) -> SignedApproval:
        self._nonce += 1
        return sign_approval(
            self._private,
            purpose=purpose,
            mode=MODE,
            accounts=(ACCOUNT,),
            digest=digest,
            expires_wire_ns=self._world.clocks.wire_ns() + 30 * MINUTE_NS,
            nonce=f"{self._seed:016x}{self._nonce:016x}",
        )

    async def _cancel_one(self, desk: Desk) -> None:
        for row in self._world.journal.intents(open_only=True):
            if row.status is not IntentStatus.CANCELLING:
                await desk.cancel(AGENT, row.intent.intent_id, "changed my mind")
                return

    def _shock(self) -> None:
        multiplier = Decimal(str(round(self._random.uniform(0.75, 1.5), 3)))
        coins = [pair.coin for pair in self._world.pairs.values()]
        self._world.venue.command(Shock(dict.fromkeys(coins, multiplier), ramp_ns=10 * SECOND_NS))

    async def _halt_and_resume(self, desk: Desk) -> None:
        await desk.halt("simulated")
        await anyio.sleep(self._random.uniform(1, 5))
        await desk.resume(self._sign("resume", operator_digest("resume", ACCOUNT, MODE)))

    # --- the end ------------------------------------------------------------------------------------------

    async def _quiet(self) -> None:
        """Wait until nothing is under way: no order without an end, no intent that executes, no naked leg."""
        calm = 0
        for _ in range(QUIET_SECONDS_MAX):
            await anyio.sleep(1)
            calm = calm + 1 if self._is_quiet() else 0
            if calm >= 8:
                return

    def _is_quiet(self) -> bool:
        if self._world.assembly is None:
            return False
        journal = self._world.journal
        moving = any(
            row.status in (IntentStatus.EXECUTING, IntentStatus.CANCELLING)
            for row in journal.intents(open_only=True)
        )
        hedged = all(self._invariants.hedged(pair) for pair in self._world.pairs.values())
        return not moving and not journal.orders(unsettled_only=True) and hedged
