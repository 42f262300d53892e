"""A guard on a desk's lower half: real venue, journal, worker and bookkeeper under the virtual clock."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

import anyio

from exchanges.paper.commands import Shock
from exchanges.paper.domain import account_snapshot
from portfolio.core.decimals import round_up_to_step
from portfolio.core.limits import SECOND_NS, RiskLimits
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import Coin, PairId
from portfolio.core.orders import Accepted, OrderRequest, Priority
from portfolio.guard import Guard
from portfolio.ports import OrderRow
from portfolio.worker import OrderResult
from tests.portfolio.rig import Rig, Settings, World, plain_errors, spot, world

E = TypeVar("E")
DEFAULT_LIMITS = RiskLimits()


def pair(coin: str) -> PairId:
    return PairId(f"{coin}@bybit")


@dataclass
class Post:
    """A guard at its post."""

    rig: Rig
    guard: Guard
    beats: list[int] = field(default_factory=list)
    #: When the guard asked for the risk tables, wire clock.
    doubts: list[int] = field(default_factory=list)

    def entries(self, kind: type[E]) -> list[E]:
        """Everything of this kind in the journal."""
        return [row.entry for row in self.rig.journal.read(0, 100_000) if isinstance(row.entry, kind)]

    def orders(self) -> tuple[OrderRow, ...]:
        """Orders of the guard's own operations."""
        return tuple(row for row in self.rig.journal.orders() if row.request.intent_id.startswith("g"))

    def sides(self, coin: str) -> tuple[Decimal, Decimal]:
        """The truth at the venue: coins of spot without debt, coins of the perpetual."""
        account = account_snapshot(self.rig.exchange.core, self.rig.clocks.wire_ns())
        held = sum((row.wallet - row.spot_borrow for row in account.balances if row.coin == coin), Decimal(0))
        return held, self.rig.venue_position(coin)

    def command(self, command: object) -> None:
        """The operator of the paper venue does something."""
        reply = self.rig.exchange.core.handle(command, self.rig.clocks.market_ns())  # type: ignore[arg-type]
        assert reply.code == "0", reply

    def shock(self, multiplier: str, *coins: str) -> None:
        self.command(Shock({Coin(coin): Decimal(multiplier) for coin in coins}))

    async def until(self, what: Callable[[], bool], seconds: float = 30) -> None:
        """Wait for something that the account's events bring about."""
        with anyio.fail_after(seconds):
            while not what():
                await self.rig.view.changed(self.rig.view.version)

    async def trade(self, *orders: OrderRequest) -> tuple[OrderResult, ...]:
        return await self.rig.worker.submit(orders, Priority.ENTRY)


async def hold(rig: Rig, coin: str, quantity: str) -> None:
    """Build a hedged pair of so many coins on borrowed cash, then forget what was sent for it."""
    intent = rig.approve((coin, quantity), intent_id=f"hold{coin}")
    # A spot purchase pays its fee in the coin: buy what makes the pair whole.
    gross = round_up_to_step(Decimal(quantity) / Decimal("0.999"), rig.instruments[spot(coin)].lot_size)
    for order in (
        rig.entry(coin, quantity, intent=intent.intent_id),
        rig.hedge(coin, str(gross), intent=intent.intent_id, borrow=True),
    ):
        (outcome,) = await rig.send(order)
        assert isinstance(outcome, Accepted), outcome
        row = await rig.worker.settled(order.client_order_id, timeout_ns=10 * SECOND_NS)
        assert row.filled == order.quantity
    rig.finish(intent)
    await anyio.sleep(2)
    rig.exchange.requests.clear()


@asynccontextmanager
async def on_guard(
    rig: Rig, limits: RiskLimits = DEFAULT_LIMITS, scores: Mapping[PairId, Decimal] | None = None
) -> AsyncIterator[Post]:
    """A guard watches this desk until the block ends."""
    beats: list[int] = []
    doubts: list[int] = []
    guard = Guard(
        view=rig.view,
        sim=MarginSim(),
        worker=rig.worker,
        journal=rig.journal,
        runner=rig.rails,
        clocks=rig.clocks,
        limits=limits,
        scores=lambda: scores or {},
        heartbeat=lambda: beats.append(rig.clocks.wire_ns()),
        recovered=lambda: rig.worker.recovered,
        tables_doubted=lambda: doubts.append(rig.clocks.wire_ns()),
    )
    rig.worker.veto = guard
    with plain_errors():
        async with anyio.create_task_group() as group:
            await group.start(guard.run)
            yield Post(rig, guard, beats, doubts)
            group.cancel_scope.cancel()


@asynccontextmanager
async def guarded(
    holdings: Mapping[str, str],
    *,
    usdt: str = "20000",
    limits: RiskLimits = DEFAULT_LIMITS,
    scores: Mapping[PairId, Decimal] | None = None,
    settings: Settings | None = None,
    path: str = ":memory:",
) -> AsyncIterator[Post]:
    """A desk that holds these pairs, then a guard on it."""
    given = replace(settings or Settings(), usdt=Decimal(usdt))
    async with world(path, given) as made, made.desk() as rig:
        for coin, quantity in holdings.items():
            await hold(rig, coin, quantity)
        async with on_guard(rig, limits, scores) as post:
            yield post


__all__ = ["Post", "World", "guarded", "on_guard", "pair", "spot"]
