"""Proposals: from what an agent wants to an intent that an operator can sign.

The desk computes everything from its own state; nothing in a request is believed. What would not be allowed
is refused here with the limits that refuse it, long before the worker's last veto.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from portfolio.core.approval_text import TextInput, render
from portfolio.core.decimals import ZERO
from portfolio.core.digest import sealed
from portfolio.core.drift import account_fingerprint
from portfolio.core.entries import IntentProposed
from portfolio.core.errors import InputError, RefusedError, StaleDataError
from portfolio.core.intents import DriftBounds, Intent, IntentStatus
from portfolio.core.limits import MINUTE_NS, RiskLimits
from portfolio.core.margin.results import Lines, Simulation, StressResult
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.names import AccountId, IntentId, PairId
from portfolio.core.pairs import PairLegs
from portfolio.core.proposing import Draft, DraftChange, DraftInput, draft
from portfolio.core.repeats import difference
from portfolio.ports import Clocks, IntentRow, Journal, Runner
from portfolio.service import Principal, Proposal, ProposalRequest, ProposedChange, Skipped
from portfolio.view import AccountView

EXPIRES_MINUTES_MAX = 30
WAITING_PER_TOKEN_MAX = 3
TARGETS_MAX = 40
KINDS = ("engine_target", "changes")
#: By pair: the coin's price below and above at which the account would liquidate; None: none within reach.
Reach = tuple[tuple[PairId, Decimal | None, Decimal | None], ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """The state a proposal is computed from, taken at once so that an await cannot mix two states."""

    state: MarginState
    legs: Mapping[PairId, PairLegs]
    given: DraftInput
    fingerprint: str
    wire_ns: int


class Proposer:
    """Builds, simulates, renders and stores proposals of one account."""

    def __init__(
        self,
        *,
        view: AccountView,
        journal: Journal,
        runner: Runner,
        offload: Runner,
        clocks: Clocks,
        sim: MarginSim,
        limits: RiskLimits,
        account: AccountId,
        mode: str,
        unusual: Callable[[], tuple[str, ...]],
        gates: Callable[[], Mapping[PairId, str]],
    ) -> None:
        self._view = view
        self._journal = journal
        self._runner = runner
        self._offload = offload
        self._clocks = clocks
        self._sim = sim
        self._limits = limits
        self._account = account
        self._mode = mode
        self._unusual = unusual
        self._gates = gates
        self._drift = DriftBounds()

    async def propose(self, principal: Principal, request: ProposalRequest) -> Proposal:
        """Store the intent, or answer `no_change`.

        Raises:
            InputError: the request is malformed.
            StaleDataError: an input is missing or too old (reduce-only requests pass on stale funding and
                borrow).
            RefusedError: the account would cross a limit, or too many intents wait.
        """
        _check(request)
        repeated = await self._repeated(principal, request)
        if repeated is not None:
            return repeated
        await self._room(principal)
        moment = self._moment(reduce_only=request.reduce_only)
        wanted = [(target.pair_id, target.notional_usd) for target in request.targets]
        drafted = draft(wanted, moment.given, reduce_only=request.reduce_only)
        lines = Lines.BOOK if request.kind == "engine_target" else Lines.ENTRY
        simulation = await self._offload.run(lambda: self._simulate(moment, drafted, lines))
        if not drafted.changes:
            return _answer("no_change", None, drafted, simulation, self._gates())
        self._allowed(request, drafted, simulation)
        reach = await self._offload.run(lambda: self._reach(drafted, simulation))
        intent = self._intent(principal, request, moment, drafted, simulation, reach)
        await self._runner.run(lambda: self._journal.append([IntentProposed(intent)], self._clocks.wire_ns()))
        row = await self._runner.run(lambda: self._journal.intent(intent.intent_id))
        return _answer("proposed", row, drafted, simulation, self._gates())

    async def _repeated(self, principal: Principal, request: ProposalRequest) -> Proposal | None:
        """The stored intent of the same request id: the same answer, nothing new.

        Raises:
            InputError: the id stands for a proposal of something else.
            StaleDataError: an input is missing or too old.
        """
        request_id = request.request_id
        if request_id is None:
            return None
        row = await self._runner.run(lambda: self._journal.intent_by_request(principal.name, request_id))
        if row is None:
            return None
        moment = self._moment(reduce_only=True)
        wanted = [(target.pair_id, target.notional_usd) for target in request.targets]
        other = difference(
            row.intent,
            kind=request.kind,
            reduce_only=request.reduce_only,
            wanted=wanted,
            given=moment.given,
        )
        if other is not None:
            raise InputError(
                f"request_id {request_id} stands for another proposal, {row.intent.intent_id}: {other}.",
                field="request_id",
                next_step="Take a new request_id, or ask get_intent what became of that one.",
            )
        targets = {target.pair_id: target.to_quantity for target in row.intent.targets}
        legs = moment.legs
        simulation = await self._offload.run(
            lambda: self._sim.simulate(moment.state, self._view.pairs, legs, targets, limits=self._limits)
        )
        return replace(_answer("proposed", row, Draft((), ()), simulation, {}), repeated=True)

    async def _room(self, principal: Principal) -> None:
        rows = await self._runner.run(lambda: self._journal.intents(open_only=True))
        waiting = [
            row
            for row in rows
            if row.intent.proposed_by == principal.name
            and row.status in (IntentStatus.PROPOSED, IntentStatus.REQUESTED)
            and row.intent.expires_wire_ns > self._clocks.wire_ns()
        ]
        if len(waiting) >= WAITING_PER_TOKEN_MAX:
            names = ", ".join(row.intent.intent_id for row in waiting)
            raise RefusedError(
                f"{len(waiting)} intents of this token wait already: {names}.",
                allowed=f"at most {WAITING_PER_TOKEN_MAX}",
                next_step="Cancel one with cancel_intent or wait for the operator.",
            )

    def _moment(self, *, reduce_only: bool) -> Moment:
        view = self._view
        stale = set(view.stale(self._limits.freshness, list(view.instruments)))
        if reduce_only:
            stale -= {"funding", "borrow", "tables"}
        if stale:
            raise StaleDataError(
                f"Missing or too old: {', '.join(sorted(stale))}.",
                field="data",
                next_step="Call get_portfolio for the ages and try again when they are fresh.",
            )
        state = view.margin_state()
        legs = {pair_id: view.legs(pair_id) for pair_id in view.pairs}
        used = {leg for pair in view.pairs.values() for leg in (pair.long_leg, pair.short_leg)}
        given = DraftInput(
            pairs=view.pairs,
            legs=legs,
            instruments=view.instruments,
            reference_prices={leg: view.reference_price(leg) for leg in used},
            fees=state.tables.fees,
            funding={pair.lead_leg: view.funding(pair.lead_leg) for pair in view.pairs.values()},
            drift=self._drift,
        )
        mark = account_fingerprint(state, view.pairs.values())
        return Moment(state, legs, given, mark, self._clocks.wire_ns())

    def _simulate(self, moment: Moment, drafted: Draft, lines: Lines) -> Simulation:
        targets = {change.target.pair_id: change.target.to_quantity for change in drafted.changes}
        return self._sim.simulate(
            moment.state, moment.given.pairs, moment.legs, targets, limits=self._limits, lines=lines
        )

    def _reach(self, drafted: Draft, simulation: Simulation) -> Reach:
        """Where the account after the change would liquidate as one pair's coin alone moves."""
        out = []
        search = self._sim.search(simulation.state)
        for change in drafted.changes:
            pair_id = change.target.pair_id
            if change.target.to_quantity > 0:
                prices = search.prices(self._view.pair(pair_id).coin)
                out.append((pair_id, prices.below, prices.above))
        return tuple(out)

    def _allowed(self, request: ProposalRequest, drafted: Draft, simulation: Simulation) -> None:
        """Refuse what would add risk beyond a limit; taking risk off is always allowed."""
        growing = any(c.target.to_quantity > c.target.from_quantity for c in drafted.changes)
        if not growing:
            return
        if not simulation.allowed:
            raise RefusedError(
                f"The account would cross: {'; '.join(simulation.blocked_by)}.",
                field="targets",
                next_step="Lower the sizes; simulate_margin with find_max gives the largest that fits.",
            )
        health = simulation.after.health_score
        if request.min_health is not None and health < request.min_health:
            raise RefusedError(
                f"Health after would be {health:.4f}, below your minimum of {request.min_health}.",
                field="min_health",
                next_step="Lower the sizes or the minimum.",
            )

    def _intent(
        self,
        principal: Principal,
        request: ProposalRequest,
        moment: Moment,
        drafted: Draft,
        simulation: Simulation,
        reach: Reach,
    ) -> Intent:
        head = self._journal.head()[1]
        seed = f"{self._account}|{head}|{moment.wire_ns}|{principal.name}|{moment.fingerprint}"
        intent = Intent(
            intent_id=IntentId("i" + hashlib.sha256(seed.encode()).hexdigest()[:12]),
            mode=self._mode,
            account=self._account,
            kind=request.kind,
            targets=tuple(change.target for change in drafted.changes),
            reduce_only=request.reduce_only,
            proposed_by=principal.name,
            reason=request.reason,
            request_id=request.request_id,
            health_after=simulation.after.health_score,
            fingerprint=moment.fingerprint,
            drift=self._drift,
            text="",
            digest="",
            created_wire_ns=moment.wire_ns,
            expires_wire_ns=moment.wire_ns + request.expires_in_minutes * MINUTE_NS,
        )
        intent = replace(intent, text=self._text(intent, drafted, moment, simulation, reach))
        return sealed(intent)

    def _text(
        self, intent: Intent, drafted: Draft, moment: Moment, simulation: Simulation, reach: Reach
    ) -> str:
        prices, pairs = moment.given.reference_prices, moment.given.pairs
        before = ZERO
        after = ZERO
        targets = {change.target.pair_id: change.target.to_quantity for change in drafted.changes}
        for pair_id, legs in moment.legs.items():
            pair = pairs[pair_id]
            before += (
                legs.long_quantity * prices[pair.long_leg] + legs.short_quantity * prices[pair.short_leg]
            )
            long, short = legs.long_quantity, legs.short_quantity
            if pair_id in targets:
                long = short = targets[pair_id]
            after += long * prices[pair.long_leg] + short * prices[pair.short_leg]
        expires = datetime.fromtimestamp(intent.expires_wire_ns // 1_000_000_000, tz=UTC)
        worst = _worst(simulation)
        return render(
            TextInput(
                mode=self._mode,
                account=self._account,
                intent_id=intent.intent_id,
                expires_text=f"{expires:%Y-%m-%d %H:%M:%S} UTC",
                proposed_by=intent.proposed_by,
                reason=intent.reason,
                changes=drafted.changes,
                before=simulation.before,
                after=simulation.after,
                gross_before_usd=before,
                gross_after_usd=after,
                worst_stress=worst.scenario,
                worst_stress_health=worst.figures.health_score,
                liquidation=reach,
                unusual=self._unusual(),
                drift=self._drift,
            )
        )


def _check(request: ProposalRequest) -> None:
    if request.kind not in KINDS:
        raise InputError(f"{request.kind!r} is not a kind.", field="kind", allowed=", ".join(KINDS))
    if not request.targets:
        raise InputError("No targets.", field="targets", next_step="Name at least one pair with its size.")
    if len(request.targets) > TARGETS_MAX:
        raise InputError("Too many targets.", field="targets", allowed=f"at most {TARGETS_MAX}")
    if not 1 <= request.expires_in_minutes <= EXPIRES_MINUTES_MAX:
        raise InputError(
            f"expires_in_minutes: {request.expires_in_minutes} is out of range.",
            field="expires_in_minutes",
            allowed=f"1 to {EXPIRES_MINUTES_MAX}",
        )


def _answer(
    status: str,
    row: IntentRow | None,
    drafted: Draft,
    simulation: Simulation,
    gates: Mapping[PairId, str],
) -> Proposal:
    changes = tuple(
        ProposedChange(
            pair_id=c.target.pair_id,
            from_quantity=c.target.from_quantity,
            to_quantity=c.target.to_quantity,
            from_usd=c.from_usd,
            to_usd=c.to_usd,
            cost_usd=c.cost_usd,
            carry_usd_per_day=c.carry_usd_per_day,
            note=_note(c, gates.get(c.target.pair_id)),
        )
        for c in drafted.changes
    )
    worst = _worst(simulation)
    return Proposal(
        status=status,
        row=row,
        changes=changes,
        skipped=tuple(Skipped(pair_id, why) for pair_id, why in drafted.skipped),
        cost_usd=sum((c.cost_usd for c in changes), ZERO),
        carry_usd_per_day=sum((c.carry_usd_per_day for c in changes), ZERO),
        before=simulation.before,
        after=simulation.after,
        worst_stress=worst.scenario,
        worst_stress_health=worst.figures.health_score,
        repeated=False,
    )


def _worst(simulation: Simulation) -> StressResult:
    """The worst stress; an account that nothing can stress (no coin of it has a price) is its own."""
    return simulation.worst_stress or StressResult("none applies", simulation.after)


def _note(change: DraftChange, gate: str | None) -> str:
    """What the change costs and when that is earned back, then what the selector's gates say of the pair."""
    cost, carry = change.cost_usd, change.carry_usd_per_day
    verdict = "the pair is not scored yet" if gate is None else gate
    if carry <= 0:
        return f"costs {cost:.2f} USD; no carry at this target at the predicted rate; {verdict}"
    days = 2 * cost / carry
    return f"costs {cost:.2f} USD each way; {days:.1f} days of predicted carry pay for both; {verdict}"
