"""The engine of one account put together: the same parts in the same order, live, on paper, simulated.

Nothing here decides anything. What differs between a production desk and a simulated one comes in from
outside: the exchange, the journal, the clocks and where blocking or heavy work runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus

from portfolio.bookkeeper import Bookkeeper
from portfolio.controller import PortfolioController
from portfolio.core.drift import account_fingerprint
from portfolio.core.instrument import Instrument
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.modes import BYBIT_UTA, AccountMode
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import AccountId, InstrumentId, PairId
from portfolio.core.pairs import PairSpec
from portfolio.core.risk import LeveragePolicy
from portfolio.core.staking import UNDERLYING
from portfolio.desk import Desk
from portfolio.engine import ArbitrageEngine
from portfolio.gatekeeper import Gatekeeper
from portfolio.guard import Guard
from portfolio.journal_retry import JournalRetry
from portfolio.leftovers import Leftovers
from portfolio.legs import Kit
from portfolio.operations import MoveMode
from portfolio.ports import ApprovalVerifier, Clocks, EmergencyLog, Exchange, Journal, Runner
from portfolio.proposals import Proposer
from portfolio.ranking import Ranking
from portfolio.repayment import DebtSweeper, Repayer
from portfolio.reports import Reports
from portfolio.venue_questions import VenueQuestions
from portfolio.view import AccountView
from portfolio.waiting import WaitingRoom
from portfolio.worker import RebalanceWorker


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an account's engine needs from outside."""

    account: AccountId
    mode: str
    install: str
    exchange: Exchange
    journal: Journal
    #: Where journal calls run, and where work over 2 ms runs.
    runner: Runner
    offload: Runner
    clocks: Clocks
    verifier: ApprovalVerifier
    instruments: Mapping[InstrumentId, Instrument]
    pairs: Mapping[PairId, PairSpec]
    limits: RiskLimits
    policy: LeveragePolicy
    heartbeat: Callable[[], None]
    #: How the venue margins the account. The one adapter that there is trades Bybit UTA accounts alone.
    account_mode: AccountMode = BYBIT_UTA
    emergency: EmergencyLog | None = None
    move_mode: MoveMode = MoveMode.NORMAL
    ranking_seconds: float = 60.0


class Assembly:
    """All parts of one account's engine. `run` keeps them going until cancelled."""

    def __init__(self, given: Surroundings) -> None:
        self.view = AccountView(
            account=given.account,
            instruments=given.instruments,
            pairs=given.pairs,
            clocks=given.clocks,
            policy=given.policy,
        )
        self.sim = MarginSim(given.account_mode, staking=UNDERLYING)
        self.worker = RebalanceWorker(
            exchange=given.exchange,
            journal=given.journal,
            runner=given.runner,
            clocks=given.clocks,
            instruments=given.instruments,
            view=self.view,
            veto=None,
            verifier=given.verifier,
            account=given.account,
            mode=given.mode,
            pairs=given.pairs,
            limits=given.limits.trade,
            emergency=given.emergency,
            freshness=given.limits.freshness,
        )
        self.bookkeeper = Bookkeeper(
            exchange=given.exchange, worker=self.worker, view=self.view, clocks=given.clocks
        )
        self.ranking = Ranking(
            exchange=given.exchange,
            view=self.view,
            clocks=given.clocks,
            limits=given.limits,
            offload=given.offload,
            interval_seconds=given.ranking_seconds,
        )
        self.guard = Guard(
            view=self.view,
            sim=self.sim,
            worker=self.worker,
            journal=given.journal,
            runner=given.runner,
            clocks=given.clocks,
            limits=given.limits,
            scores=self.ranking.scores,
            recovered=lambda: self.bookkeeper.recovered,
            heartbeat=given.heartbeat,
            tables_doubted=self.bookkeeper.tables_soon,
        )
        self.worker.veto = self.guard
        self.controller = self._controller(given)
        self.desk = self._desk(given)

    def _controller(self, given: Surroundings) -> PortfolioController:
        gates = Gatekeeper(
            view=self.view,
            sim=self.sim,
            guard=self.guard,
            clocks=given.clocks,
            limits=given.limits,
            offload=given.offload,
        )
        repayer = Repayer(view=self.view, worker=self.worker, clocks=given.clocks)
        self.sweeper = DebtSweeper(
            view=self.view, repayer=repayer, recovered=lambda: self.bookkeeper.recovered
        )
        retry = JournalRetry()
        kit = Kit(
            view=self.view,
            worker=self.worker,
            journal=given.journal,
            runner=given.runner,
            clocks=given.clocks,
            gates=gates,
            guard=self.guard,
            limits=given.limits,
            repayer=repayer,
            retry=retry,
        )
        pairs = tuple(given.pairs.values())
        waiting = WaitingRoom(
            view=self.view,
            journal=given.journal,
            runner=given.runner,
            offload=given.offload,
            clocks=given.clocks,
            sim=self.sim,
            limits=given.limits,
            fingerprint=lambda state: account_fingerprint(state, pairs),
        )
        return PortfolioController(
            view=self.view,
            journal=given.journal,
            runner=given.runner,
            offload=given.offload,
            clocks=given.clocks,
            sim=self.sim,
            engines={pair.pair_id: ArbitrageEngine(kit, pair) for pair in pairs},
            waiting=waiting,
            leftovers=Leftovers(journal=given.journal, runner=given.runner, worker=self.worker),
            retry=retry,
            recovered=lambda: self.bookkeeper.recovered,
            mode=given.move_mode,
        )

    def _desk(self, given: Surroundings) -> Desk:
        proposer = Proposer(
            view=self.view,
            journal=given.journal,
            runner=given.runner,
            offload=given.offload,
            clocks=given.clocks,
            sim=self.sim,
            limits=given.limits,
            account=given.account,
            mode=given.mode,
            unusual=self._unusual,
            gates=self.ranking.gates,
        )
        reports = Reports(
            view=self.view,
            journal=given.journal,
            runner=given.runner,
            clocks=given.clocks,
            guard=self.guard,
            ranking=self.ranking,
            limits=given.limits,
            writer=self.worker.writer,
            mode=given.mode,
            install=given.install,
        )
        return Desk(
            journal=given.journal,
            runner=given.runner,
            clocks=given.clocks,
            verifier=given.verifier,
            proposer=proposer,
            reports=reports,
            ranking=self.ranking,
            questions=VenueQuestions(
                exchange=given.exchange, view=self.view, sim=self.sim, clocks=given.clocks
            ),
            account=given.account,
            mode=given.mode,
            nudge=self.controller.nudge,
            guard_reads=self.guard.read_through,
            recovered=lambda: self.bookkeeper.recovered,
            writer=self.worker.writer,
        )

    def _unusual(self) -> tuple[str, ...]:
        """What an operator should know before approving."""
        out = [f"entries are frozen by {freeze.source}: {freeze.reason}" for freeze in self.guard.frozen()]
        if not self.bookkeeper.recovered:
            out.append("the last run is not accounted for yet; nothing starts before it is")
        if self.ranking.failed is not None:
            out.append(f"scores are old: {self.ranking.failed}")
        return tuple(out)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run everything; ready when the account was read and the guard is awake.

        Raises:
            VenueError, JournalError: what the desk cannot go on without.
        """
        async with anyio.create_task_group() as tasks:
            await tasks.start(self.worker.run)
            await tasks.start(self.bookkeeper.run)
            await tasks.start(self.guard.run)
            await tasks.start(self.controller.run)
            tasks.start_soon(self.sweeper.run)
            tasks.start_soon(self.ranking.run)
            task_status.started()
