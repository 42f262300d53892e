"""One simulated world: a venue that lives through every crash, a journal that does too, and desks that die.

The venue is the in-memory exchange; every time it moves, the truth is handed to the invariants. A desk is the
production assembly behind a lifeline.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

import anyio

from exchanges.memory import MemoryExchange, MemoryOptions
from exchanges.paper.config import VenueConfig
from exchanges.paper.core import VenueCore
from exchanges.paper.faults import FaultPlan
from exchanges.paper.synthetic import SyntheticReplay
from portfolio.approvals import OperatorKey, PinnedVerifier
from portfolio.assembly import Assembly, Surroundings
from portfolio.clocks import LoopClocks
from portfolio.core.errors import CarrydeskError
from portfolio.core.instrument import Instrument
from portfolio.core.limits import HOUR_NS, SECOND_NS, RiskLimits
from portfolio.core.names import AccountId, Coin
from portfolio.core.orders import OrderRequest, Outcome, Rejected
from portfolio.core.risk import LeveragePolicy
from portfolio.core.universe import carry_pairs
from portfolio.journal.open import open_journal
from portfolio.journal.sql import SqlJournal
from portfolio.operations import MoveMode
from portfolio.runner import InlineRunner
from server.simulation.lifeline import Killed, Lifeline, mortal

ACCOUNT = AccountId("bybit:main")
MODE = "paper"
UID = "20000001"
#: 2025-01-01T00:37Z, away from a settlement; episodes shift it.
START_NS = (1_735_689_600 + 37 * 60) * SECOND_NS
#: What scores need behind, and what the longest episode needs ahead.
HISTORY_HOURS = 40 * 24
FUTURE_HOURS = 24
EQUITY_USDT = Decimal(100_000)
COINS = tuple(Coin(name) for name in ("BTC", "ETH", "SOL", "XRP"))
#: Makes the fault plan of a venue that lists these instruments.
Planner = Callable[[tuple[Instrument, ...]], FaultPlan]
#: The venue's words for an id that it has seen before, by kind.
DUPLICATE_CODES = frozenset({"110072", "170141"})


class WatchedVenue(MemoryExchange):
    """The in-memory venue, which shows its truth whenever it moved."""

    def __init__(
        self, core: VenueCore, clocks: LoopClocks, faults: FaultPlan, options: MemoryOptions
    ) -> None:
        super().__init__(core, clocks, faults=faults, options=options)
        self.on_moved: Callable[[], None] = lambda: None
        self.on_duplicate: Callable[[str], None] = lambda client_order_id: None

    def pump(self) -> None:
        """Move, then show."""
        super().pump()
        self.on_moved()

    async def place(self, orders: Sequence[OrderRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        """As the venue does; an id that it knows already is reported."""
        outcomes = await super().place(orders, deadline_wire_ns)
        for order, outcome in zip(orders, outcomes, strict=True):
            if isinstance(outcome, Rejected) and outcome.venue_code in DUPLICATE_CODES:
                self.on_duplicate(order.client_order_id)
        return outcomes


class World:
    """What outlives every desk."""

    def __init__(
        self,
        *,
        seed: int,
        plan: Planner,
        latency_ns: int,
        market_speed: int,
        start_market_ns: int = START_NS,
    ) -> None:
        self.clocks = LoopClocks(start_wire_ns=START_NS, start_market_ns=start_market_ns, speed=market_speed)
        config = VenueConfig(
            uid=UID, start_ns=start_market_ns, balances={Coin("USDT"): EQUITY_USDT}, coins=COINS
        )
        past = HISTORY_HOURS * HOUR_NS
        replay = SyntheticReplay(
            seed=seed, start_ns=start_market_ns - past, hours=HISTORY_HOURS + FUTURE_HOURS
        )
        options = MemoryOptions(
            latency_ns=latency_ns,
            visibility_lag_ns=SECOND_NS // 2,
            quotes_every_ns=SECOND_NS // 2,
            market_speed=Decimal(market_speed),
        )
        core = VenueCore(config, replay, seed=seed)
        self.venue = WatchedVenue(core, self.clocks, plan(core.instruments()), options)
        self.journal: SqlJournal = open_journal(
            ":memory:", account=ACCOUNT, uid=UID, mode=MODE, wire_ns=START_NS, version="simulation"
        )
        self.instruments = {row.instrument_id: row for row in self.venue.core.instruments()}
        self.pairs = carry_pairs(self.instruments.values())
        self.limits = RiskLimits()
        self.assembly: Assembly | None = None
        #: A desk is up: a naked leg is its business now.
        self.watched = False

    async def live(self, *, key: OperatorKey, crash_at_gate: int | None, move_mode: MoveMode) -> str:
        """One desk from its start to its end, and how it ended: killed, or the error that it gave up on.

        Raises:
            BaseExceptionGroup: an error that no desk may die of.
        """
        lifeline = Lifeline(crash_at_gate=crash_at_gate)
        exchange, journal = mortal(self.venue, self.journal, lifeline)
        assembly = Assembly(
            Surroundings(
                account=ACCOUNT,
                mode=MODE,
                install="simulation",
                exchange=exchange,
                journal=journal,
                runner=InlineRunner(),
                offload=InlineRunner(),
                clocks=self.clocks,
                verifier=PinnedVerifier(key),
                instruments=self.instruments,
                pairs=self.pairs,
                limits=self.limits,
                policy=LeveragePolicy(),
                heartbeat=lambda: None,
                move_mode=move_mode,
            )
        )
        try:
            with lifeline.scope:
                async with anyio.create_task_group() as tasks:
                    await tasks.start(assembly.run)
                    self.assembly = assembly
                    self.watched = True
                    await anyio.sleep_forever()
        except BaseExceptionGroup as group:
            rest = group.split(Killed)[1]
            if rest is not None and not lifeline.dead:
                # A desk may give up on a venue or a journal that it cannot go on without: it is restarted.
                known, unknown = rest.split(CarrydeskError)
                if unknown is not None or known is None:
                    raise
                return f"gave up: {known.exceptions[0]}"
        except CarrydeskError as error:
            # Raised before the desk was up.
            return f"gave up: {error}"
        except Killed:
            pass
        finally:
            self.assembly = None
            self.watched = False
            lifeline.kill()
        return "killed"

    def reopen(self) -> None:
        """A new desk takes the journal over, as after a restart."""
        self.journal = self.journal.reopen(self.clocks.wire_ns(), version="simulation")
