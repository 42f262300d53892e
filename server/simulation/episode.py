"""One episode: a desk, an agent and an operator live through a bad day at the venue, with crashes.

Everything follows from the seed: the market, the faults, what is proposed, when the desk dies and how
often. The same seed gives the same journal to the last byte; its head hash is the trace.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal

import anyio

from exchanges.paper.commands import (
    AutoDeleverage,
    ChangeTables,
    Command,
    FreezeBook,
    ShiftFigures,
    Shock,
    Transfer,
)
from exchanges.paper.faults import NO_FAULTS
from portfolio.approvals import OperatorKey, derive_private_key, sign_approval, unlock
from portfolio.core.digest import operator_digest
from portfolio.core.errors import CarrydeskError
from portfolio.core.intents import IntentStatus, SignedApproval
from portfolio.core.limits import MINUTE_NS, SECOND_NS
from portfolio.core.names import Coin
from portfolio.desk import Desk
from portfolio.ports import IntentRow
from portfolio.service import Principal, ProposalRequest, Scope, WantedTarget
from server.simulation import deterministic
from server.simulation.invariants import Invariants
from server.simulation.lifeline import Killed
from server.simulation.weather import BUSY_SECONDS, death, draw
from server.simulation.world import ACCOUNT, COINS, EQUITY_USDT, MODE, World

#: Longest quiet after the trading.
QUIET_SECONDS_MAX = 300
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
    #: Times that the venue liquidated the account.
    liquidations: int
    virtual_seconds: float
    naked_seconds_max: float
    #: Longest time below the guard's line without an act of the guard, and the lowest health after an entry.
    idle_seconds_max: float
    entry_health_min: float
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
        self._weather = draw(seed, self._random, COINS, faults=faults)
        self._world = World(seed=seed, weather=self._weather)
        self._invariants = Invariants(self._world)
        self._crashes = 0
        self._nonce = 0
        self._over = False

    async def run(self) -> Outcome:
        """Trade, stop the faults, wait until everything is quiet, and count."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._world.venue.run)
            tasks.start_soon(self._desks)
            if self._weather.violent:
                tasks.start_soon(self._collapse)
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
            guard_actions=len(journal.guard_actions(1_000_000)),
            liquidations=self._invariants.health.liquidations,
            virtual_seconds=self._world.clocks.monotonic_ns() / SECOND_NS,
            naked_seconds_max=self._invariants.naked_max_ns / SECOND_NS,
            idle_seconds_max=self._invariants.health.idle_max_ns / SECOND_NS,
            entry_health_min=float(self._invariants.health.lowest_after_entry),
            trace=journal.head()[1],
        )

    # --- the desk's lives ---------------------------------------------------------------------------------

    async def _desks(self) -> None:
        """One desk after the other, each killed at a gate of its own until the crashes are used up."""
        while True:
            end = None
            if self._crashes < self._weather.crashes_max and not self._over:
                end = death(self._random, self._crashes)
            ended = await self._world.live(key=self._key, death=end)
            if ended == "killed":
                self._crashes += 1
            await anyio.sleep(self._random.choice((0.05, 0.2, 1.0, 5.0)))
            self._world.reopen()

    # --- what agent and operator do -----------------------------------------------------------------------

    async def _trade(self) -> None:
        await anyio.sleep(3)
        while True:
            if self._random.random() < self._weather.shocks:
                self._misfortune()
            draw = self._random.random()
            if draw < 0.55:
                await self._try(self._rebalance)
            elif draw < 0.62:
                await self._try(self._rebalance_twice)
            elif draw < 0.74:
                await self._try(self._cancel_one)
            elif draw < 0.80:
                await self._try(self._halt)
            elif draw < 0.95:
                await self._try(self._resume)
            await anyio.sleep(self._random.uniform(1, 12))

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
        """The operator answers the oldest intent that waits, or else the agent proposes another one."""
        waiting = [
            row
            for row in self._world.journal.intents(open_only=True)
            if row.status in (IntentStatus.PROPOSED, IntentStatus.REQUESTED)
        ]
        row = waiting[-1] if waiting else await self._propose(desk)
        if row is None:
            return
        await anyio.sleep(self._random.uniform(0, 2))
        if self._random.random() < 0.1:
            await desk.reject(row.intent.intent_id, "not today")
            return
        await desk.approve(row.intent.intent_id, self._sign("intent", row.intent.digest))

    async def _rebalance_twice(self, desk: Desk) -> None:
        """Two intents wait at once, and the operator approves both in a row."""
        rows = [await self._propose(desk), await self._propose(desk)]
        for row in rows:
            if row is not None:
                await desk.approve(row.intent.intent_id, self._sign("intent", row.intent.digest))
                await anyio.sleep(self._random.choice((0, 0.5, 10)))

    async def _propose(self, desk: Desk) -> IntentRow | None:
        pairs = sorted(self._world.pairs)
        chosen = self._random.sample(pairs, self._random.randint(1, len(pairs)))
        reduce_only = self._random.random() < 0.15
        sizes = (0,) if reduce_only else self._weather.sizes
        wanted = tuple(
            WantedTarget(pair, Decimal(self._random.choice(sizes)) * EQUITY_USDT / 100_000) for pair in chosen
        )
        request = ProposalRequest(
            "changes", wanted, "simulated", None, 30, reduce_only=reduce_only, min_health=None
        )
        proposal = await desk.propose(AGENT, request)
        if proposal.row is not None:
            intent = proposal.row.intent
            await desk.request_execution(AGENT, intent.intent_id, intent.digest)
        return proposal.row

    def _sign(self, purpose: str, digest: str) -> SignedApproval:
        self._nonce += 1
        valid_ns = 30 * MINUTE_NS
        if self._weather.short_approvals and self._random.random() < 0.5:
            valid_ns = self._random.randint(2, 15) * SECOND_NS
        return sign_approval(
            self._private,
            purpose=purpose,
            mode=MODE,
            accounts=(ACCOUNT,),
            digest=digest,
            expires_wire_ns=self._world.clocks.wire_ns() + valid_ns,
            nonce=f"{self._seed:016x}{self._nonce:016x}",
        )

    async def _cancel_one(self, desk: Desk) -> None:
        for row in self._world.journal.intents(open_only=True):
            if row.status is not IntentStatus.CANCELLING:
                await desk.cancel(AGENT, row.intent.intent_id, "changed my mind")
                return

    async def _halt(self, desk: Desk) -> None:
        await desk.halt("simulated")

    async def _resume(self, desk: Desk) -> None:
        """The operator looks: lifts a halt and whatever else only an operator lifts."""
        await desk.resume(self._sign("resume", operator_digest("resume", ACCOUNT, MODE)))

    # --- what the market and the venue do -----------------------------------------------------------------

    def _misfortune(self) -> None:
        acts = [self._shock, self._shock, self._deleverage]
        if self._weather.violent:
            acts += [self._crash_of_prices] * 3
            acts += [self._cut_collateral, self._shift, self._freeze, self._withdraw]
        command = self._random.choice(acts)()
        if command is not None:
            self._world.venue.command(command)

    def _shock(self) -> Command:
        multiplier = Decimal(str(round(self._random.uniform(0.75, 1.5), 3)))
        return Shock(dict.fromkeys(COINS, multiplier), ramp_ns=10 * SECOND_NS)

    def _crash_of_prices(self) -> Command:
        """The market, or one coin, more than doubles or halves: at once or within a minute of wire time."""
        coins = COINS if self._random.random() < 0.7 else (self._random.choice(COINS),)
        multiplier = Decimal(self._random.choice(("2.5", "0.4", "1.7", "0.6")))
        ramp_ns = self._random.choice((0, 20, 60)) * SECOND_NS * self._weather.speed
        return Shock(dict.fromkeys(coins, multiplier), ramp_ns=ramp_ns)

    async def _collapse(self) -> None:
        """Once on a violent day the whole market runs, when the book has had time to grow."""
        await anyio.sleep(self._random.uniform(40, 140))
        multiplier = Decimal(self._random.choice(("2.5", "1.9", "0.4")))
        ramp_ns = self._random.choice((5, 20, 60)) * SECOND_NS * self._weather.speed
        self._world.venue.command(Shock(dict.fromkeys(COINS, multiplier), ramp_ns=ramp_ns))

    def _deleverage(self) -> Command | None:
        """ADL of something that is held."""
        held = [row.position.instrument_id for row in self._world.venue.core.positions() if row.position]
        if not held:
            return None
        return AutoDeleverage(
            self._random.choice(sorted(held)), self._random.choice((Decimal("0.3"), Decimal(1)))
        )

    def _withdraw(self) -> Command | None:
        """The owner takes money out, a share of what no position needs."""
        core = self._world.venue.core
        figures = core.valuation().figures
        cash = sum((row.balance.wallet for row in core.coins() if row.balance.coin == "USDT"), Decimal(0))
        spare = min(cash, figures.adjusted_equity - figures.initial_margin)
        quantity = (spare * Decimal(self._random.choice(("0.3", "0.8")))).quantize(Decimal(1))
        return Transfer(Coin("USDT"), -quantity) if quantity > 0 else None

    def _cut_collateral(self) -> Command:
        """A coin counts for less from now on."""
        tables = self._world.venue.core.tables(0)
        table = tables.collateral[self._random.choice(COINS)]
        share = Decimal(self._random.choice(("0.9", "0.5")))
        tiers = tuple(replace(tier, ratio=tier.ratio * share) for tier in table.tiers)
        return ChangeTables(collateral=(replace(table, tiers=tiers),))

    def _shift(self) -> Command:
        """The venue's figures are off by 2 or 8 %, or right again."""
        return ShiftFigures(maintenance_factor=Decimal(self._random.choice(("1.02", "1.08", "1"))))

    def _freeze(self) -> Command:
        instrument_id = self._random.choice(sorted(self._world.instruments))
        return FreezeBook(instrument_id, 15 * SECOND_NS * self._weather.speed)

    # --- the end ------------------------------------------------------------------------------------------

    async def _quiet(self) -> None:
        """Wait until nothing is under way: no order without an end, no intent at work, naked leg or debt."""
        calm = 0
        for _ in range(QUIET_SECONDS_MAX):
            await anyio.sleep(1)
            calm = calm + 1 if self._is_quiet() else 0
            if calm >= 8:
                return

    def _is_quiet(self) -> bool:
        if self._world.assembly is None:
            return False
        if self._invariants.over:
            return True
        journal = self._world.journal
        moving = any(
            row.status in (IntentStatus.EXECUTING, IntentStatus.CANCELLING)
            for row in journal.intents(open_only=True)
        )
        hedged = all(self._invariants.hedged(pair) for pair in self._world.pairs.values())
        owing = self._invariants.flat and bool(self._invariants.owing())
        return not moving and not journal.orders(unsettled_only=True) and hedged and not owing
