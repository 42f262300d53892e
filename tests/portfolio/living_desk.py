"""A whole desk in a simulated world, for tests that speak to its doors."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

import anyio

from portfolio.approvals import sign_approval, unlock
from portfolio.core.intents import SignedApproval
from portfolio.core.limits import MINUTE_NS
from portfolio.core.names import AccountId, Coin, PairId
from portfolio.desk import Desk
from portfolio.operations import MoveMode
from portfolio.ports import EmergencyLog
from portfolio.service import Principal, Proposal, ProposalRequest, Scope, WantedTarget
from server.simulation import deterministic
from server.simulation.episode import PASSPHRASE, simulated_key
from server.simulation.weather import Weather
from server.simulation.world import ACCOUNT, MODE, World

ALL = tuple(scope.value for scope in Scope)
AGENT = Principal("agent", ALL)
OTHER = Principal("other", ALL)
PRIVATE = unlock(simulated_key(), PASSPHRASE)
SOL, BTC = PairId("SOL@bybit"), PairId("BTC@bybit")


class Living:
    """What a test of the doors works with."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def desk(self) -> Desk:
        assert self.world.assembly is not None
        return self.world.assembly.desk

    async def propose(self, *wanted: tuple[PairId, int], by: Principal = AGENT, **other: object) -> Proposal:
        return await self.desk.propose(by, request(*wanted, **other))

    def sign(self, digest: str, **other: object) -> SignedApproval:
        values: dict[str, object] = {
            "purpose": "intent",
            "mode": MODE,
            "accounts": (ACCOUNT,),
            "digest": digest,
            "expires_wire_ns": self.world.clocks.wire_ns() + 5 * MINUTE_NS,
        }
        return sign_approval(PRIVATE, **{**values, **other})  # type: ignore[arg-type]


def request(*wanted: tuple[PairId, int], **other: object) -> ProposalRequest:
    values: dict[str, object] = {
        "kind": "changes",
        "targets": tuple(WantedTarget(pair, Decimal(usd)) for pair, usd in wanted),
        "reason": "a test",
        "request_id": None,
        "expires_in_minutes": 30,
        "reduce_only": False,
        "min_health": None,
    }
    return ProposalRequest(**{**values, **other})  # type: ignore[arg-type]


def with_desk(
    test: Callable[[Living], Awaitable[None]],
    *,
    both_ways: frozenset[Coin] = frozenset(),
    emergency: EmergencyLog | None = None,
) -> None:
    """Run `test` against a desk that is up, in virtual time; these coins also have their reverse pair."""

    async def main() -> None:
        weather = Weather(latency_ns=10_000_000, mode=MoveMode.URGENT, both_ways=both_ways)
        world = World(seed=3, weather=weather)
        world.emergency = emergency
        async with anyio.create_task_group() as tasks:
            await tasks.start(world.venue.run)

            async def live() -> None:
                await world.live(key=simulated_key())

            tasks.start_soon(live)
            with anyio.fail_after(60):
                # Up, recovered, and its prices, scores and tables are there; virtual seconds cost nothing.
                await anyio.sleep(5)
                assert world.assembly is not None
                assert world.assembly.bookkeeper.recovered
                await test(Living(world))
            tasks.cancel_scope.cancel()

    deterministic.run(main, seed=3)


FOREIGN = AccountId("bybit:other")
