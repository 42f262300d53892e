"""The desk's doors: DeskService for the front, OperatorService for the operator. Thin; the work is elsewhere.

Every call checks the caller again. Nothing here sends an order: the front may propose and request, the
operator may approve, and approval itself wakes the controller.
"""

import hashlib
import hmac
import shlex
from collections.abc import Awaitable, Callable, Collection
from itertools import chain, count

import anyio

from portfolio.core.digest import operator_digest
from portfolio.core.entries import (
    EntriesThawed,
    Entry,
    Halted,
    IntentApproved,
    IntentMoved,
    Resumed,
    TokenAdded,
    TokenRevoked,
)
from portfolio.core.errors import AccessError, ConflictError, InputError, RefusedError, UnknownNameError
from portfolio.core.intents import IntentStatus, SignedApproval
from portfolio.core.market import Settlement
from portfolio.core.names import AccountId, InstrumentId, IntentId
from portfolio.ports import ApprovalVerifier, Clocks, IntentRow, Journal, Recorded, Runner, TokenRow
from portfolio.proposals import Proposer
from portfolio.ranking import Ranking
from portfolio.reports import Reports
from portfolio.service import (
    DeskSnapshot,
    IntentProgress,
    LegChange,
    OrderCheck,
    Principal,
    Proposal,
    ProposalRequest,
    Scope,
)
from portfolio.venue_questions import VenueQuestions
from portfolio.writer import JournalWriter, NotCommitted

WAIT_MAX_NS = 25_000_000_000
_POLL_SECONDS = 0.1
_NOTE_MAX = 2000
TOKEN_NAME_MAX = 64
#: Whom the journal names beside tokens.
_OURS = ("desk", "guard", "operator")
#: Where intents are found, for agents and for the operator.
_LISTED = "get_portfolio lists the open ones."
_LISTED_TO_OPERATOR = "`carrydesk status` lists the open ones."


class Desk:
    """Implements DeskService and OperatorService."""

    def __init__(
        self,
        *,
        journal: Journal,
        runner: Runner,
        clocks: Clocks,
        verifier: ApprovalVerifier,
        proposer: Proposer,
        reports: Reports,
        ranking: Ranking,
        questions: VenueQuestions,
        account: AccountId,
        mode: str,
        nudge: Callable[[], None],
        guard_reads: Callable[[int], Awaitable[None]],
        recovered: Callable[[], bool],
        writer: JournalWriter,
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._runner = runner
        self._clocks = clocks
        self._verifier = verifier
        self._proposer = proposer
        self._reports = reports
        self._ranking = ranking
        self._questions = questions
        self._account = account
        self._mode = mode
        self._nudge = nudge
        self._guard_reads = guard_reads
        self._recovered = recovered
        #: Set when the operator asked the desk to end in good order.
        self.stopping = anyio.Event()

    # --- agents -------------------------------------------------------------------------------------------

    async def authenticate(self, token: str) -> Principal:
        """See DeskService."""
        given = hash_token(token)
        for row in await self._runner.run(self._journal.tokens):
            if not row.revoked and hmac.compare_digest(row.token_hash, given):
                return Principal(row.name, row.scopes)
        raise AccessError(
            "This token opens nothing here.", next_step="Ask the operator for one: carrydesk token add NAME."
        )

    async def read(self, principal: Principal) -> DeskSnapshot:
        """See DeskService."""
        _need(principal, Scope.READ)
        return await self.status()

    async def settlements(
        self, principal: Principal, instrument_id: InstrumentId, since_market_ns: int
    ) -> tuple[Settlement, ...]:
        """See DeskService."""
        _need(principal, Scope.READ)
        return await self._ranking.settlements(instrument_id, since_market_ns)

    async def check_orders(
        self, principal: Principal, changes: tuple[LegChange, ...]
    ) -> tuple[OrderCheck, ...]:
        """See DeskService."""
        _need(principal, Scope.SIMULATE)
        return await self._questions.check(changes)

    async def propose(self, principal: Principal, request: ProposalRequest) -> Proposal:
        """See DeskService."""
        _need(principal, Scope.PROPOSE)
        return await self._proposer.propose(principal, request)

    async def request_execution(self, principal: Principal, intent_id: IntentId, digest: str) -> IntentRow:
        """See DeskService."""
        _need(principal, Scope.REQUEST)
        row = await self._own(principal, intent_id)
        if not hmac.compare_digest(row.intent.digest, digest):
            raise ConflictError(
                "This digest is not the intent's.", field="digest", next_step="Read it again with get_intent."
            )
        if row.status is not IntentStatus.PROPOSED:
            return row
        self._alive(row)
        return await self._move(row, IntentStatus.REQUESTED, principal.name, "execution requested")

    async def intent(
        self, principal: Principal, intent_id: IntentId | None, request_id: str | None, wait_ns: int
    ) -> IntentProgress:
        """See DeskService."""
        _need(principal, Scope.READ)
        if not 0 <= wait_ns <= WAIT_MAX_NS:
            raise InputError(
                f"wait: {wait_ns} ns is out of range.",
                field="wait_s",
                allowed="0 to 25 s",
                next_step="Call again with a wait_s within it.",
            )
        row = await self._find(principal, intent_id, request_id)
        with anyio.move_on_after(wait_ns / 1e9):
            while not row.status.final:
                await anyio.sleep(_POLL_SECONDS)
                row = await self._row(row.intent.intent_id)
        return await self._reports.progress(row)

    async def cancel(self, principal: Principal, intent_id: IntentId, reason: str) -> IntentRow:
        """See DeskService."""
        _need(principal, Scope.PROPOSE)
        row = await self._own(principal, intent_id)
        if row.status.final or row.status is IntentStatus.CANCELLING:
            return row
        executing = row.status is IntentStatus.EXECUTING
        after = IntentStatus.CANCELLING if executing else IntentStatus.CANCELLED
        moved = await self._move(row, after, principal.name, reason[:_NOTE_MAX])
        self._nudge()
        return moved

    # --- the operator -------------------------------------------------------------------------------------

    async def status(self) -> DeskSnapshot:
        """See OperatorService."""
        return await self._reports.snapshot(recovered=self._recovered())

    async def progress(self, intent_id: IntentId) -> IntentProgress:
        """See OperatorService."""
        return await self._reports.progress(await self._row(intent_id, _LISTED_TO_OPERATOR))

    async def approve(self, intent_id: IntentId, approval: SignedApproval) -> IntentRow:
        """See OperatorService."""
        row = await self._row(intent_id, _LISTED_TO_OPERATOR)
        if row.status not in (IntentStatus.PROPOSED, IntentStatus.REQUESTED):
            raise ConflictError(
                f"{intent_id} is {row.status}; only a waiting intent can be approved.",
                next_step="See `carrydesk status` for what waits.",
            )
        self._alive(row)
        self._verifier.verify(
            approval,
            purpose="intent",
            digest=row.intent.digest,
            account=self._account,
            mode=self._mode,
            now_wire_ns=self._clocks.wire_ns(),
        )
        if await self._runner.run(self._journal.halted):
            raise RefusedError("The desk is halted.", next_step="Run carrydesk resume first.")
        entry = IntentApproved(intent_id, approval)
        await self._runner.run(lambda: self._journal.append([entry], self._clocks.wire_ns()))
        self._nudge()
        return await self._row(intent_id)

    async def reject(self, intent_id: IntentId, note: str) -> IntentRow:
        """See OperatorService."""
        row = await self._row(intent_id, _LISTED_TO_OPERATOR)
        if row.status not in (IntentStatus.PROPOSED, IntentStatus.REQUESTED):
            raise ConflictError(
                f"{intent_id} is {row.status}; only a waiting intent can be rejected.",
                next_step="See `carrydesk status`; `carrydesk halt` stops what adds risk.",
            )
        return await self._move(row, IntentStatus.REJECTED, "operator", note[:_NOTE_MAX])

    async def halt(self, note: str) -> None:
        """See OperatorService."""
        entry = Halted("operator", note[:_NOTE_MAX])
        try:
            await self._writer.append([entry])
        except NotCommitted as failure:
            # The kill switch waits for no disk: the journal has it before anything newer of the worker.
            try:
                await self._writer.keep_aside([entry])
            except NotCommitted:
                raise failure from None
        self._nudge()

    async def resume(self, approval: SignedApproval) -> None:
        """See OperatorService."""
        self._verifier.verify(
            approval,
            purpose="resume",
            digest=operator_digest("resume", self._account, self._mode),
            account=self._account,
            mode=self._mode,
            now_wire_ns=self._clocks.wire_ns(),
        )
        # A halt that the journal does not have yet comes before what lifts it.
        await self._writer.append(())
        freezes = await self._runner.run(self._journal.freezes)
        entries: list[Entry] = [Resumed(approval)]
        entries += [EntriesThawed(f.source, "operator") for f in freezes if f.lifted_by == "operator"]
        done = await self._runner.run(lambda: self._journal.append(entries, self._clocks.wire_ns()))
        # The gates of entries ask the guard: what is approved next must not meet the halt that was lifted.
        await self._guard_reads(done[-1].seq)
        self._nudge()

    async def add_token(self, name: str, token_hash: str, scopes: tuple[str, ...]) -> None:
        """See OperatorService."""
        unknown = set(scopes) - {scope.value for scope in Scope}
        if unknown or not scopes:
            raise InputError(
                f"Scopes {', '.join(sorted(unknown)) or 'none'} cannot be given.",
                field="scopes",
                allowed=", ".join(Scope),
                next_step="Choose among these with --scopes; no token was issued.",
            )
        _check_token_name(name)
        rows = await self._runner.run(self._journal.tokens)
        taken = {row.name for row in rows}
        if name in taken:
            free = free_name(name, taken)
            raise ConflictError(
                f"A token {name!r} was issued before; a name is used once, even after it was revoked.",
                field="name",
                next_step=f"Choose another name, such as {free}: `carrydesk token add {shlex.quote(free)}`.",
            )
        entry = TokenAdded(name, token_hash, scopes)
        await self._runner.run(lambda: self._journal.append([entry], self._clocks.wire_ns()))

    async def tokens(self) -> tuple[TokenRow, ...]:
        """See OperatorService."""
        return await self._runner.run(self._journal.tokens)

    async def revoke_token(self, name: str) -> None:
        """See OperatorService."""
        rows = await self._runner.run(self._journal.tokens)
        if not any(row.name == name and not row.revoked for row in rows):
            raise UnknownNameError(f"No token {name!r} is valid.", next_step="See carrydesk token list.")
        await self._runner.run(lambda: self._journal.append([TokenRevoked(name)], self._clocks.wire_ns()))

    async def recorded(self, after_seq: int, limit: int) -> tuple[Recorded, ...]:
        """See OperatorService."""
        return await self._runner.run(lambda: self._journal.read(after_seq, min(limit, 1000)))

    async def stop(self) -> None:
        """See OperatorService."""
        self.stopping.set()

    # --- shared -------------------------------------------------------------------------------------------

    async def _row(self, intent_id: IntentId, listed: str = _LISTED) -> IntentRow:
        row = await self._runner.run(lambda: self._journal.intent(intent_id))
        if row is None:
            raise UnknownNameError(f"There is no intent {intent_id}.", field="intent_id", next_step=listed)
        return row

    async def _own(self, principal: Principal, intent_id: IntentId) -> IntentRow:
        row = await self._row(intent_id)
        if row.intent.proposed_by != principal.name:
            raise AccessError(f"{intent_id} belongs to another token.", next_step="Use your own intents.")
        return row

    async def _find(
        self, principal: Principal, intent_id: IntentId | None, request_id: str | None
    ) -> IntentRow:
        if intent_id is not None:
            return await self._row(intent_id)
        if request_id is None:
            raise InputError(
                "Name an intent_id or a request_id.", field="intent_id", next_step="Call get_intent with one."
            )
        row = await self._runner.run(lambda: self._journal.intent_by_request(principal.name, request_id))
        if row is None:
            raise UnknownNameError(
                f"No intent of this token has request_id {request_id!r}.",
                field="request_id",
                next_step="Nothing was stored under it: propose_rebalance may use it.",
            )
        return row

    def _alive(self, row: IntentRow) -> None:
        if row.intent.expires_wire_ns <= self._clocks.wire_ns():
            raise ConflictError(f"{row.intent.intent_id} has expired.", next_step="Propose it again.")

    async def _move(self, row: IntentRow, status: IntentStatus, by: str, note: str) -> IntentRow:
        entry = IntentMoved(row.intent.intent_id, row.status, status, by, note)
        await self._runner.run(lambda: self._journal.append([entry], self._clocks.wire_ns()))
        return await self._row(row.intent.intent_id)


def _check_token_name(name: str) -> None:
    """A name stands in lists, logs and approval texts, so it is one short line, and nobody else's name.

    Raises:
        InputError: it is none of that.
    """
    if 1 <= len(name) <= TOKEN_NAME_MAX and name.isprintable() and name == name.strip():
        if name not in _OURS:
            return
        message = f"A token cannot be named {name!r}: the journal calls a part of the desk so."
    else:
        message = (
            "That is no token's name: it is empty, too long, has blanks around it or control characters."
        )
    raise InputError(
        message,
        field="name",
        allowed=f"1 to {TOKEN_NAME_MAX} printable characters, without blanks around; not {', '.join(_OURS)}",
        next_step="Choose another name, such as my-agent: `carrydesk token add my-agent`.",
    )


def free_name(name: str, taken: Collection[str]) -> str:
    """`name`, or cut to fit with the smallest number from 2 that nobody has."""
    numbered = (f"{name[: TOKEN_NAME_MAX - 1 - len(str(number))]}-{number}" for number in count(2))
    return next(one for one in chain((name,), numbered) if one not in taken)


def hash_token(token: str) -> str:
    """SHA-256 of a token, hex. Tokens are random and long, so a slow hash would protect nothing more."""
    return hashlib.sha256(token.encode()).hexdigest()


def _need(principal: Principal, scope: Scope) -> None:
    if scope.value not in principal.scopes:
        raise AccessError(
            f"Token {principal.name!r} lacks the scope {scope.value}.",
            allowed=", ".join(principal.scopes),
            next_step="Ask the operator for a token with this scope.",
        )
