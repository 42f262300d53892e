"""The engine on top of the rig: gates, engines and controller, all real; only the guard's word is a value."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

from exchanges.paper.commands import Transfer
from portfolio.controller import PortfolioController
from portfolio.core.account import AccountSnapshot, Balance
from portfolio.core.digest import sealed
from portfolio.core.drift import account_fingerprint
from portfolio.core.entries import IntentApproved, IntentMoved, IntentProposed, RepaymentMoved
from portfolio.core.events import BalanceUpdate
from portfolio.core.increments import Increments
from portfolio.core.intents import Intent, IntentStatus, LegBound, Target
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import Coin, PairId
from portfolio.core.orders import OrderClass, Side
from portfolio.core.reconcile import Course
from portfolio.engine import ArbitrageEngine
from portfolio.gatekeeper import Gatekeeper
from portfolio.journal_retry import JournalRetry
from portfolio.leftovers import Leftovers
from portfolio.legs import Kit
from portfolio.operations import MoveEnd, MoveMode, Operation, Permit
from portfolio.ports import OrderRow
from portfolio.progress import read_progress, sides_of
from portfolio.repayment import Repayer
from portfolio.runner import InlineRunner
from portfolio.waiting import WaitingRoom
from tests.portfolio.rig import PAIRS, Rig, Settings, desk


@dataclass
class Word:
    """What the guard says to the engine."""

    held: set[PairId] = field(default_factory=set)
    frozen: str | None = None

    def holds(self, pair_id: PairId) -> bool:
        return pair_id in self.held

    def frozen_reason(self) -> str | None:
        return self.frozen


@dataclass
class Trader:
    """A desk that trades."""

    rig: Rig
    word: Word
    kit: Kit
    engines: dict[PairId, ArbitrageEngine]
    controller: PortfolioController
    sim: MarginSim
    #: What the controller is told of the recovery.
    recovered: bool = True

    @staticmethod
    def pair_id(coin: str) -> PairId:
        """`SOL` is SOL@bybit, `SOL:reverse` is SOL@bybit:reverse."""
        name, _, way = coin.partition(":")
        return PairId(f"{name}@bybit:{way}" if way else f"{name}@bybit")

    def engine(self, coin: str) -> ArbitrageEngine:
        return self.engines[self.pair_id(coin)]

    def operation(
        self,
        intent: Intent,
        coin: str,
        mode: MoveMode = MoveMode.NORMAL,
        *,
        permit: Permit | None = None,
        optional: bool = True,
    ) -> Operation:
        pair_id = self.pair_id(coin)
        target = next(row for row in intent.targets if row.pair_id == pair_id)
        return Operation(
            operation_id=intent.intent_id,
            pair_id=pair_id,
            course=Course(target.from_quantity, target.to_quantity),
            mode=mode,
            bounds=target.bounds,
            permit=permit,
            optional=optional,
        )

    def intent(self, *moves: tuple[str, str, str], intent_id: str = "i1", room: str = "0.01") -> Intent:
        """An intent of (coin, from, to) as a proposal would write it now."""
        targets = tuple(self.target(*move, room=Decimal(room)) for move in moves)
        view = self.rig.view
        state = view.margin_state()
        legs = {pair_id: view.legs(pair_id) for pair_id in view.pairs}
        wanted = {target.pair_id: target.to_quantity for target in targets}
        after = self.sim.simulate(state, view.pairs, legs, wanted, stresses=()).after
        return self.rig.intent(
            intent_id=intent_id,
            targets=targets,
            fingerprint=account_fingerprint(state, PAIRS.values()),
            health_after=after.health_score,
        )

    def target(self, coin: str, start: str, end: str, *, room: Decimal) -> Target:
        pair = PAIRS[self.pair_id(coin)]
        growing = Decimal(end) > Decimal(start)
        long, short = (Side.BUY, Side.SELL) if growing else (Side.SELL, Side.BUY)
        bounds = tuple(
            LegBound(leg, self.rig.view.reference_price(leg), self.rig.price(leg, side, room))
            for leg, side in ((pair.long_leg, long), (pair.short_leg, short))
        )
        return Target(pair.pair_id, Decimal(start), Decimal(end), bounds)

    def approve(self, *moves: tuple[str, str, str], intent_id: str = "i1", room: str = "0.01") -> Intent:
        """Propose and approve it at once."""
        return self.record(self.intent(*moves, intent_id=intent_id, room=room))

    def propose(self, intent: Intent) -> Intent:
        intent = sealed(intent)
        self.rig.journal.append([IntentProposed(intent)], self.rig.clocks.wire_ns())
        return intent

    def record(self, intent: Intent) -> Intent:
        """Propose and approve an intent as it is."""
        intent = self.propose(intent)
        approved = IntentApproved(intent.intent_id, self.rig.sign(intent))
        self.rig.journal.append([approved], self.rig.clocks.wire_ns())
        return intent

    def status(self, intent: Intent) -> IntentStatus:
        row = self.rig.journal.intent(intent.intent_id)
        assert row is not None
        return row.status

    def note(self, intent: Intent) -> str:
        row = self.rig.journal.intent(intent.intent_id)
        assert row is not None
        return row.note

    async def ended(self, intent: Intent) -> None:
        """Until the intent has ended."""
        while not self.status(intent).final:
            await self.rig.view.changed()

    def move_intent(self, intent: Intent, status: IntentStatus) -> None:
        """Somebody else's word about an intent."""
        entry = IntentMoved(intent.intent_id, self.status(intent), status, "operator", "")
        self.rig.journal.append([entry], self.rig.clocks.wire_ns())

    async def hold(self, coin: str, quantity: str, *, intent_id: str = "i0") -> None:
        """Enter a pair, urgently, and leave no intent open."""
        intent = self.approve((coin, "0", quantity), intent_id=intent_id)
        result = await self.engine(coin).move(self.operation(intent, coin, MoveMode.URGENT))
        assert result.end is MoveEnd.REACHED, result
        self.move_intent(intent, IntentStatus.DONE)

    def sides(self, coin: str) -> tuple[Decimal, Decimal]:
        """The truth at the venue: coins held on spot, coins of the perpetual."""
        core = self.rig.exchange.core
        rows = [row.balance for row in core.coins() if row.balance.coin == coin]
        held = sum((row.wallet - row.spot_borrow for row in rows), start=Decimal(0))
        return held, self.rig.venue_position(coin)

    def owed(self, coin: str) -> Decimal:
        """The truth at the venue: debt of spot margin trading."""
        rows = [row.balance for row in self.rig.exchange.core.coins() if row.balance.coin == coin]
        return sum((row.spot_borrow for row in rows), start=Decimal(0))

    def deposit(self, coin: str, quantity: str) -> None:
        """Somebody pays in."""
        self.rig.exchange.command(Transfer(Coin(coin), Decimal(quantity)))

    def lie(self) -> None:
        """From now on the venue reports a balance that no account can have."""
        view, nothing = self.rig.view, Decimal(0)
        row = Balance(Coin("BNB"), nothing, nothing, nothing, locked=Decimal(-1))
        read = self.rig.exchange.read_account

        async def read_lies() -> AccountSnapshot:
            truth = await read()
            return replace(truth, balances=(*(one for one in truth.balances if one.coin != "BNB"), row))

        self.rig.exchange.read_account = read_lies
        later = view.account_snapshot().event_market_ns + 1
        view.apply(BalanceUpdate((row,), None, later, self.rig.clocks.wire_ns()))

    def repaid(self) -> int:
        """How many repayments the venue carried out."""
        entries = [row.entry for row in self.rig.journal.read(limit=10_000)]
        return sum(isinstance(one, RepaymentMoved) and one.status == "done" for one in entries)

    def sent(self, intent: Intent, order_class: OrderClass) -> list[OrderRow]:
        rows = self.rig.journal.orders(intent_id=intent.intent_id)
        return [row for row in rows if row.request.order_class is order_class]

    def progress(self, intent: Intent, coin: str) -> Increments:
        """What the journal says the operation did."""
        operation = self.operation(intent, coin)
        pair = PAIRS[operation.pair_id]
        progress = read_progress(self.rig.journal, intent.intent_id, pair)
        sides = sides_of(pair, entering=operation.course.entering)
        return progress.increments(sides, operation.course.distance)


def make_trader(rig: Rig, limits: RiskLimits, mode: MoveMode) -> Trader:
    """The upper half of a desk on a rig."""
    word, sim, inline, retry = Word(), MarginSim(), InlineRunner(), JournalRetry()
    gates = Gatekeeper(view=rig.view, sim=sim, guard=word, clocks=rig.clocks, limits=limits, offload=inline)
    kit = Kit(
        view=rig.view,
        worker=rig.worker,
        journal=rig.journal,
        runner=rig.rails,
        clocks=rig.clocks,
        gates=gates,
        guard=word,
        limits=limits,
        repayer=Repayer(view=rig.view, worker=rig.worker, clocks=rig.clocks),
        retry=retry,
    )
    engines = {pair_id: ArbitrageEngine(kit, pair) for pair_id, pair in PAIRS.items()}
    waiting = WaitingRoom(
        view=rig.view,
        journal=rig.journal,
        runner=rig.rails,
        offload=inline,
        clocks=rig.clocks,
        sim=sim,
        limits=limits,
        fingerprint=lambda state: account_fingerprint(state, PAIRS.values()),
    )
    controller = PortfolioController(
        view=rig.view,
        journal=rig.journal,
        runner=rig.rails,
        offload=inline,
        clocks=rig.clocks,
        sim=sim,
        engines=engines,
        waiting=waiting,
        leftovers=Leftovers(journal=rig.journal, runner=rig.rails, worker=rig.worker),
        retry=retry,
        recovered=lambda: trader.recovered and rig.worker.recovered,
        mode=mode,
    )
    trader = Trader(rig, word, kit, engines, controller, sim)
    return trader


DEFAULT_LIMITS = RiskLimits()


@asynccontextmanager
async def trading(
    settings: Settings | None = None,
    *,
    limits: RiskLimits = DEFAULT_LIMITS,
    mode: MoveMode = MoveMode.NORMAL,
) -> AsyncIterator[Trader]:
    """A venue and one trading desk on it."""
    async with desk(settings=settings) as rig:
        yield make_trader(rig, limits, mode)
