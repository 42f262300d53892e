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
from exchanges.paper.faults import FaultPlan, RequestFault
from exchanges.paper.synthetic import SyntheticReplay
from exchanges.paper.windows import Window
from portfolio.approvals import OperatorKey, PinnedVerifier
from portfolio.assembly import Assembly, Surroundings
from portfolio.clocks import LoopClocks
from portfolio.core.errors import CarrydeskError
from portfolio.core.limits import HOUR_NS, SECOND_NS
from portfolio.core.names import AccountId, Coin
from portfolio.core.orders import Accepted, OrderClass, OrderRequest, Outcome, Rejected
from portfolio.core.risk import LeveragePolicy
from portfolio.journal.open import open_journal
from portfolio.journal.sql import SqlJournal
from portfolio.ports import EmergencyLog
from portfolio.runner import InlineRunner
from server.simulation.lifeline import Death, Killed, Lifeline, mortal
from server.simulation.weather import START_NS, Weather, pairs_of

__all__ = ["ACCOUNT", "EQUITY_USDT", "MODE", "START_NS", "WatchedVenue", "World"]

ACCOUNT = AccountId("bybit:main")
MODE = "paper"
UID = "20000001"
#: What scores need behind, and what the longest episode needs ahead.
HISTORY_HOURS = 40 * 24
FUTURE_HOURS = 24
EQUITY_USDT = Decimal(100_000)
COINS = tuple(Coin(name) for name in ("BTC", "ETH", "SOL", "XRP"))
#: The venue's words for an id that it has seen before, by kind.
DUPLICATE_CODES = frozenset({"110072", "170141"})
TOO_MANY_CODE = "10006"


class WatchedVenue(MemoryExchange):
    """The in-memory venue, which shows its truth whenever it moved."""

    def __init__(
        self, core: VenueCore, clocks: LoopClocks, faults: FaultPlan, options: MemoryOptions
    ) -> None:
        super().__init__(core, clocks, faults=faults, options=options)
        self.on_moved: Callable[[], None] = lambda: None
        self.on_duplicate: Callable[[str], None] = lambda client_order_id: None
        self.on_entered: Callable[[OrderRequest], None] = lambda order: None
        self.on_limited: Callable[[str], None] = lambda limit: None
        self._muddled_until_ns = 0

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

    @property
    def reachable(self) -> bool:
        """The streams are up and the data has not ended."""
        return not self._listeners.down and not self.core.ended

    def _place_one(self, order: OrderRequest, fault: RequestFault | None) -> Outcome:
        outcome = super()._place_one(order, fault)
        if order.order_class is OrderClass.ENTRY and isinstance(outcome, Accepted):
            self.on_entered(order)
        return outcome

    async def _write(
        self,
        count: int,
        deadline_wire_ns: int,
        arrive: Callable[[RequestFault | None], tuple[Outcome, ...]],
        window: Window,
    ) -> tuple[Outcome, ...]:
        """A full window is reported; a planned fault, which says the same, does not arrive.

        Not while a late request may come between: nobody can know when it counts.
        """
        if self.faults.request(self._writes + 1) is RequestFault.LATE:
            self._muddled_until_ns = deadline_wire_ns + SECOND_NS

        def watched(fault: RequestFault | None) -> tuple[Outcome, ...]:
            outcomes = arrive(fault)
            muddled = self._clocks.wire_ns() <= self._muddled_until_ns
            limited = any(isinstance(one, Rejected) and one.venue_code == TOO_MANY_CODE for one in outcomes)
            if limited and not muddled:
                self.on_limited(window.limit.name)
            return outcomes

        return await super()._write(count, deadline_wire_ns, watched, window)


class ShortReplay(SyntheticReplay):
    """Data that may end in the middle of an hour."""

    def stop(self, end_ns: int) -> None:
        """Nothing is known from here on."""
        self._end_ns = end_ns


class World:
    """What outlives every desk."""

    def __init__(self, *, seed: int, weather: Weather) -> None:
        self.weather = weather
        start_ns = weather.start_market_ns
        self.clocks = LoopClocks(start_wire_ns=START_NS, start_market_ns=start_ns, speed=weather.speed)
        config = VenueConfig(uid=UID, start_ns=start_ns, balances={Coin("USDT"): EQUITY_USDT}, coins=COINS)
        past = HISTORY_HOURS * HOUR_NS
        replay = ShortReplay(seed=seed, start_ns=start_ns - past, hours=HISTORY_HOURS + FUTURE_HOURS)
        replay.stop(start_ns + weather.future_ns)
        options = MemoryOptions(
            latency_ns=weather.latency_ns,
            visibility_lag_ns=SECOND_NS // 2,
            quotes_every_ns=SECOND_NS // 2,
            market_speed=Decimal(weather.speed),
        )
        core = VenueCore(config, replay, seed=seed)
        self.venue = WatchedVenue(core, self.clocks, weather.plan(core.instruments()), options)
        self.journal: SqlJournal = open_journal(
            ":memory:", account=ACCOUNT, uid=UID, mode=MODE, wire_ns=START_NS, version="simulation"
        )
        #: Outlives a desk that dies, as a file does; None: this world has none.
        self.emergency: EmergencyLog | None = None
        self.instruments = {row.instrument_id: row for row in self.venue.core.instruments()}
        self.pairs = pairs_of(tuple(self.instruments.values()), weather)
        self.assembly: Assembly | None = None
        #: A desk is up: a naked leg is its business now.
        self.watched = False
        #: When the desk that is up came up, wire clock.
        self.up_since_ns = START_NS

    async def live(self, *, key: OperatorKey, death: Death | None = None) -> str:
        """One desk from its start to its end, and how it ended: killed, or the error that it gave up on.

        Raises:
            BaseExceptionGroup: an error that no desk may die of.
        """
        lifeline = Lifeline(death=death)
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
                limits=self.weather.limits,
                policy=LeveragePolicy(),
                heartbeat=lambda: None,
                move_mode=self.weather.mode,
                emergency=self.emergency,
            )
        )
        try:
            with lifeline.scope:
                async with anyio.create_task_group() as tasks:
                    await tasks.start(assembly.run)
                    self.assembly = assembly
                    self.watched = True
                    self.up_since_ns = self.clocks.wire_ns()
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
