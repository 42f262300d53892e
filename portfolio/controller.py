"""PortfolioController: brings the live book to the targets of the one intent that executes.

It wakes on approval (`nudge`), on every interval, and at the start; each time it asks the journal which
intent executes and lets the engines work from live legs, so the same tick that starts an intent also
resumes it after a crash. Exits run first and free the margin that entries use; entries follow at the pace
of what is freed. While the journal cannot be used it waits: the guard beside it must not end with it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
from anyio.abc import TaskStatus

from portfolio.core.decimals import plain
from portfolio.core.errors import MissingDataError
from portfolio.core.intents import Intent, IntentStatus
from portfolio.core.limits import MINUTE_NS, SECOND_NS
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import PairId
from portfolio.core.planning import PairMove, plan_moves
from portfolio.core.proportional import Funding
from portfolio.engine import ArbitrageEngine
from portfolio.journal_retry import JournalRetry
from portfolio.leftovers import RUNNING, Leftovers
from portfolio.operations import MoveEnd, MoveMode, MoveResult, Operation
from portfolio.ports import Clocks, IntentRow, Journal, Runner
from portfolio.swaps import Swap, SwapPermit, fund_entries
from portfolio.view import AccountView
from portfolio.waiting import WaitingRoom

RECONCILE_NS = 5 * MINUTE_NS
_WEED_SECONDS = 5.0
_RETRY_SECONDS = 0.5


class PortfolioController:
    """See the module. One per account."""

    def __init__(
        self,
        *,
        view: AccountView,
        journal: Journal,
        runner: Runner,
        offload: Runner,
        clocks: Clocks,
        sim: MarginSim,
        engines: Mapping[PairId, ArbitrageEngine],
        waiting: WaitingRoom,
        leftovers: Leftovers,
        retry: JournalRetry,
        recovered: Callable[[], bool],
        mode: MoveMode = MoveMode.NORMAL,
        interval_ns: int = RECONCILE_NS,
    ) -> None:
        self._view = view
        self._journal = journal
        self._runner = runner
        self._offload = offload
        self._clocks = clocks
        self._sim = sim
        self._engines = engines
        self._waiting = waiting
        self._leftovers = leftovers
        self._retry = retry
        #: Whether the bookkeeper knows every outcome of the time before.
        self._recovered = recovered
        self._mode = mode
        self._interval_ns = interval_ns
        self._wake = anyio.Event()

    def nudge(self) -> None:
        """Something changed that it should look at now: an approval, a cancellation."""
        self._wake.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled.

        Raises:
            JournalError: the journal may not be used by us at all.
        """
        async with anyio.create_task_group() as tasks:
            # Two tasks: a cancel needs no commit, so it does not wait for one.
            tasks.start_soon(self._repeat, self._waiting.weed)
            tasks.start_soon(self._repeat, self._withdraw_leftovers)
            task_status.started()
            while True:
                self._wake = wake = anyio.Event()
                wait_ns = await self._retry.until_done(self.tick)
                with anyio.move_on_after(wait_ns / SECOND_NS):
                    await wake.wait()

    async def _repeat(self, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._retry.until_done(look)
            await anyio.sleep(_WEED_SECONDS)

    async def _withdraw_leftovers(self) -> None:
        if self._recovered():
            await self._leftovers.withdraw()

    async def tick(self) -> int:
        """Execute what is to be executed; how long until the next look, wire ns.

        Raises:
            JournalError: the journal cannot be used; nothing was moved, so it may be called again.
        """
        soon = int(_RETRY_SECONDS * SECOND_NS)
        if not self._recovered():
            return soon
        rows = await self._runner.run(lambda: self._journal.intents(open_only=True))
        row = next((row for row in rows if row.status in RUNNING), None)
        if row is None:
            return self._interval_ns
        try:
            await self._execute(row)
        except MissingDataError as error:
            return soon if await self._keep_waiting(row, error.message) else 0
        return 0

    # --- one intent ---------------------------------------------------------------------------------------

    async def _execute(self, row: IntentRow) -> None:
        """Bring one intent to its end.

        Raises:
            MissingDataError: it cannot start yet.
        """
        intent = row.intent
        if row.status is IntentStatus.EXECUTING and not await self._has_begun(intent):
            reason = await self._waiting.drift(intent)
            if reason is not None:
                await self._waiting.move(row, IntentStatus.VOID, reason)
                return
        gone = self._waiting.gone(intent)
        if gone is not None:
            cancelled = row.status is IntentStatus.CANCELLING
            await self._waiting.move(row, IntentStatus.CANCELLED if cancelled else IntentStatus.STOPPED, gone)
            return
        moves = plan_moves(intent.targets, self._view.pairs)
        results = await self._run_moves(intent, moves, await self._fundings(row, moves))
        # Here and not by another tick, which would begin anew the moves that have ended.
        await self._retry.until_done(lambda: self._finish(intent, results))

    async def _fundings(self, row: IntentRow, moves: Sequence[PairMove]) -> Mapping[PairId, Funding]:
        """What pays for each entry; not asked once no entry may go any more, so that what was begun can end.

        Raises:
            MissingDataError: an input of the simulation is missing.
        """
        if row.status is IntentStatus.CANCELLING or self._ran_out(row):
            return {}
        return await fund_entries(moves, self._view, self._sim, self._offload)

    def _ran_out(self, row: IntentRow) -> bool:
        """Whether what the operator signed is over; entries are refused from then on, exits go on."""
        approval = row.approval
        expires = row.intent.expires_wire_ns if approval is None else approval.expires_wire_ns
        return self._clocks.wire_ns() >= expires

    async def _has_begun(self, intent: Intent) -> bool:
        rows = await self._runner.run(lambda: self._journal.orders(intent_id=intent.intent_id))
        return bool(rows)

    async def _keep_waiting(self, row: IntentRow, reason: str) -> bool:
        """An intent that cannot go on for want of data waits until its approval runs out; False: it ended.

        One that has begun is then brought to its end by its engines, which hedge it and withdraw what rests.
        """
        if not self._ran_out(row) or await self._has_begun(row.intent):
            return True
        await self._waiting.move(row, IntentStatus.STOPPED, f"it could not go on in time: {reason}")
        return False

    async def _run_moves(
        self, intent: Intent, moves: Sequence[PairMove], fundings: Mapping[PairId, Funding]
    ) -> list[MoveResult]:
        """All engines at once; a move that shares instruments with another waits for it."""
        swap = Swap(lambda pair_id: self._engines[pair_id].freed)
        paying = {part.pair_id for funding in fundings.values() for part in funding.from_exits}
        ended = {move.pair_id: anyio.Event() for move in moves}
        results: dict[PairId, MoveResult] = {}

        async def run(move: PairMove) -> None:
            for other in move.after:
                await ended[other].wait()
            operation = self._operation(intent, move, swap, fundings.get(move.pair_id), paying)
            result = await self._engines[move.pair_id].move(operation)
            results[move.pair_id] = result
            swap.end(move.pair_id, reached=result.end is MoveEnd.REACHED)
            ended[move.pair_id].set()

        async with anyio.create_task_group() as tasks:
            for move in moves:
                tasks.start_soon(run, move)
        return [results[move.pair_id] for move in moves]

    def _operation(
        self,
        intent: Intent,
        move: PairMove,
        swap: Swap,
        funding: Funding | None,
        paying: set[PairId],
    ) -> Operation:
        permit = None if funding is None else SwapPermit(swap, move.course.distance, funding)
        return Operation(
            operation_id=intent.intent_id,
            pair_id=move.pair_id,
            course=move.course,
            mode=self._mode,
            bounds=move.bounds,
            permit=permit,
            frees_margin=move.pair_id in paying,
        )

    # --- its end ------------------------------------------------------------------------------------------

    async def _finish(self, intent: Intent, results: Sequence[MoveResult]) -> None:
        """Record how it ended; again when a cancellation came in the same moment."""
        for _ in range(2):
            row = await self._runner.run(lambda: self._journal.intent(intent.intent_id))
            if row is None or row.status not in RUNNING:
                return
            status, note = _outcome(row.status, results)
            if await self._waiting.move(row, status, note):
                return


def _outcome(status: IntentStatus, results: Sequence[MoveResult]) -> tuple[IntentStatus, str]:
    missed = [result for result in results if result.end is not MoveEnd.REACHED]
    note = "; ".join(_line(result) for result in missed)
    if not missed:
        return IntentStatus.DONE, "every target is reached"
    if status is IntentStatus.CANCELLING:
        return IntentStatus.CANCELLED, note
    return IntentStatus.STOPPED, note


def _line(result: MoveResult) -> str:
    done = f"{plain(result.lead_done)} of {plain(result.planned)} coins"
    return f"{result.pair_id}: {result.reason} (lead {done}, hedged {plain(result.hedge_done)})"
