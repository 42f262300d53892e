"""The beats, in order.

Each does one thing as its actor would, says what it saw and notes it in the report.
"""

import json
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anyio
from mcp import Client

from portfolio.approvals import create_operator_key, sign_approval, unlock
from portfolio.core.attribution import attribute
from portfolio.core.entries import CashBooked, FillBooked, IntentApproved
from portfolio.core.errors import CarrydeskError, RefusedError
from portfolio.core.intents import IntentStatus, SignedApproval
from portfolio.core.limits import MINUTE_NS
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import AccountId, IntentId
from portfolio.ports import Recorded
from portfolio.service import DeskSnapshot, IntentProgress
from server.demo.book import (
    acted_since,
    gross_usd,
    guard_is_done,
    guard_is_quiet,
    newest_action,
    reference_prices,
)
from server.demo.report import Report, Voice
from server.demo.shock import solve
from server.demo.stage import EQUITY_USDT, PASSPHRASE, Stage
from server.demo.truth import planned_ids, truth_of
from tools.venue_check import venue_check, venue_text

LEG_USD = "24900"
SHOCK_HEALTH = Decimal("0.66")
FILL_SECONDS_MAX = 60.0
GUARD_SECONDS_MAX = 20.0
RECOVERY_SECONDS_MAX = 60.0
SETTLE_SECONDS_MAX = 30.0
#: How often the halving is proposed: whatever else trades on the account makes a waiting intent void.
PROPOSALS_MAX = 3
_RECORDS = 1000


class Beats:
    """The script of the demo."""

    def __init__(self, stage: Stage, voice: Voice, report: Report) -> None:
        self._stage = stage
        self._voice = voice
        self._report = report
        self._sim = MarginSim()
        self._intent = ""
        self._digest = ""
        self._account = AccountId("")
        self._now_ns = 0
        #: The guard's newest action that was told or is of before the shock, by its number in the journal.
        self._acted = 0

    # --- 1, 2: venue and desk -----------------------------------------------------------------------------

    async def venue(self) -> None:
        """The embedded venue."""
        self._voice.beat("A venue of our own: Bybit v5 on loopback, replaying real history")
        clock = await self._stage.venue_operator("clock")
        self._voice.say(f"    REST {self._stage.venue['rest']}, account uid {clock['uid']}")
        now = datetime.fromtimestamp(int(clock["market_ns"]) // 10**9, tz=UTC)
        self._voice.say(f"    market clock {now:%Y-%m-%d %H:%M:%S} UTC, speed {clock['speed']}")

    async def desk(self) -> None:
        """The desk, its guard awake."""
        self._voice.beat("The desk: guard, worker and journal in a process of their own")
        status = await self._stage.command("status")
        self._voice.say(f"    {status['summary']}")

    # --- 3, 4: the agent ----------------------------------------------------------------------------------

    async def agent(self, client: Client) -> None:
        """The agent looks, asks what if, and proposes."""
        self._voice.beat("An agent connects over `carrydesk stdio` and works with the tools")
        scores = await _call(client, "get_market_scores")
        self._voice.say(f"    get_market_scores: {scores['summary']}")
        targets = [{"pair": row["pair"], "notional_usd": LEG_USD} for row in scores["rows"]]
        what_if = await _call(client, "simulate_margin", targets=targets)
        self._voice.say(f"    simulate_margin: {what_if['summary']}")
        self._voice.say(f"    {what_if['joint_move']['what_hurts']}")
        proposal = await _call(
            client,
            "propose_rebalance",
            kind="changes",
            targets=targets,
            reason="Funding is positive on all seven; spread the book evenly.",
            request_id="demo-entry",
        )
        self._voice.say(f"    propose_rebalance: {proposal['summary']}")
        self._intent, self._digest = str(proposal["intent_id"]), str(proposal["digest"])
        waiting = await _call(client, "execute_intent", intent_id=self._intent, digest=self._digest)
        self._voice.say(f"    execute_intent: {waiting['summary']}")

    async def refusals(self, client: Client) -> None:
        """Everything an agent might try instead of waiting for its operator."""
        self._voice.beat("What the agent may not do")
        approve = {"intent_id": self._intent, "approve": True}
        await self._refused_tool(client, "approving its own intent", "approve_intent", approve)
        await self._refused_tool(
            client,
            "executing other terms than it proposed",
            "execute_intent",
            {"intent_id": self._intent, "digest": "0" * 64},
        )
        await self._refused_tool(
            client,
            "a size beyond the limits",
            "propose_rebalance",
            {
                "kind": "changes",
                "targets": [{"pair": "SOL@bybit", "notional_usd": "900000"}],
                "reason": "all in",
            },
        )
        await self._refused_approval("a signature by another key", self._forged())
        await self._refused_limits()

    async def _refused_tool(self, client: Client, what: str, tool: str, arguments: dict[str, Any]) -> None:
        answer = await client.call_tool(tool, arguments)
        text = getattr(answer.content[0], "text", "") if answer.content else ""
        self._note(what, text if answer.is_error else None)

    async def _refused_approval(self, what: str, approval: SignedApproval) -> None:
        async with self._stage.operator() as operator:
            try:
                await operator.approve(IntentId(self._intent), approval)
            except CarrydeskError as error:
                self._note(what, str(error))
                return
        self._note(what, None)

    async def _refused_limits(self) -> None:
        """A looser limit in the file is refused before anything starts."""
        home = self._stage.home
        text = home.settings_file.read_text(encoding="utf-8")
        looser = f'{text}\n[limits.guard]\nreduce_below_health = "0.4"\n'
        home.settings_file.write_text(looser, encoding="utf-8")
        try:
            answer = await self._stage.command("serve", check=False)
        finally:
            home.settings_file.write_text(text, encoding="utf-8")
        error = answer.get("error", {})
        limit = str(error.get("field", "")).startswith("limits.")  # and not because it serves already
        self._note("loosening a limit in the file", str(error["message"]) if limit else None)

    def _forged(self) -> SignedApproval:
        key = create_operator_key(PASSPHRASE, scrypt_n=2)
        return sign_approval(
            unlock(key, PASSPHRASE),
            purpose="intent",
            mode="paper",
            accounts=(self._account,),
            digest=self._digest,
            expires_wire_ns=self._now_ns + 5 * MINUTE_NS,
        )

    def _note(self, what: str, why: str | None) -> None:
        if why is None:
            raise RefusedError(f"{what} was NOT refused: this must never happen.")
        self._report.refused.append(what)
        self._voice.say(f"    refused: {what}: {_one_line(why)}")

    # --- 5, 6: approval and fills -------------------------------------------------------------------------

    async def approval(self) -> None:
        """The operator reads the full text and signs its digest."""
        self._voice.beat("The operator reads the whole text and signs its digest")
        await self._stage.approve(self._intent)
        entries = await self._entries()
        used = [row.entry for row in entries if isinstance(row.entry, IntentApproved)]
        await self._refused_approval("replaying the approval", used[-1].approval)

    async def fills(self) -> DeskSnapshot:
        """Both legs fill; the venue's margin figure agrees with ours."""
        self._voice.beat("The engine enters seven hedged pairs")
        await self._until_final(self._intent, FILL_SECONDS_MAX)
        snapshot = await self._settled()
        figures = snapshot.guard.figures
        if figures is None or snapshot.state is None:
            raise RefusedError("The desk cannot value the account.")
        held = [legs for legs in snapshot.legs.values() if legs.hedged > 0]
        gross = gross_usd(snapshot)
        self._report.pairs = len(held)
        self._report.utilisation = round(float(gross / figures.total_equity), 4)
        self._report.health_before = round(float(figures.health_score), 4)
        gap = snapshot.guard.margin_gap
        self._report.margin_gap = None if gap is None else float(gap)
        self._voice.say(
            f"    {len(held)} pairs, gross {gross:,.0f} USD on {figures.total_equity:,.0f} USD: "
            f"utilisation {self._report.utilisation}, health {self._report.health_before}"
        )
        self._voice.say(f"    {venue_text(venue_check(snapshot, (), full=False))}")
        return snapshot

    # --- 7, 8: shock and guard ----------------------------------------------------------------------------

    async def shock(self, snapshot: DeskSnapshot) -> None:
        """A rally that leaves health at 0.66, with no agent connected."""
        self._voice.beat(f"No agent is connected; a rally solved to health {SHOCK_HEALTH}")
        assert snapshot.state is not None
        self._acted = newest_action(snapshot)
        factor = solve(self._sim, snapshot.state, SHOCK_HEALTH)
        self._voice.say(
            f"    every coin x {factor}. Delta-neutral is not margin-neutral: the coins count with a"
        )
        self._voice.say("    haircut, the short perpetuals' losses are a debt in full")
        await self._stage.venue_operator("shock", multipliers={"*": str(factor)})

    async def guard(self) -> None:
        """The guard de-risks by itself."""
        self._voice.beat("The guard acts by itself")
        snapshot = await self._stage.snapshot()
        with anyio.move_on_after(GUARD_SECONDS_MAX):
            while not guard_is_done(snapshot, self._acted):
                await anyio.sleep(0.2)
                snapshot = await self._stage.snapshot()
        self._tell_guard(snapshot)
        figures = snapshot.guard.figures
        self._voice.say(f"    health now {figures.health_score:.4f}" if figures else "    health unknown")

    # --- 9, 10: kill and recovery -------------------------------------------------------------------------

    async def kill(self) -> None:
        """Kill -9 in the middle of a rebalance."""
        self._voice.beat("kill -9 of the desk in the middle of a rebalance")
        progress = await self._halving()
        killed = self._stage.kill_desk()
        self._report.killed += 1
        self._voice.say(
            f"    killed pid {killed} with the intent {progress.row.status}: {progress.orders} orders out, "
            f"{progress.fills} fills booked"
        )

    async def _halving(self) -> IntentProgress:
        """An approved halving of the book with its first fills; one that goes void is proposed again.

        Raises:
            RefusedError: it was refused, void every time, or over before anybody could interrupt it.
        """
        for number in range(1, PROPOSALS_MAX + 1):
            await self._propose_half(f"demo-halve-{number}")
            try:
                await self._stage.approve(self._intent)
            except RefusedError:
                if (await self._progress()).row.status is not IntentStatus.VOID:
                    raise
            progress = await self._until_filled()
            row = progress.row
            if row.status is not IntentStatus.VOID:
                if row.status.final:
                    raise RefusedError(f"The halving is {row.status} ({row.note}) before the kill.")
                return progress
            self._voice.say(f"    {self._intent} is void ({row.note})")
        raise RefusedError(f"The halving of the book was void {PROPOSALS_MAX} times.")

    async def _propose_half(self, request_id: str) -> None:
        async with self._stage.agent() as client:
            targets = [
                {"pair": str(pair_id), "notional_usd": str((usd / 2).quantize(Decimal("0.01")))}
                for pair_id, usd in (await self._held_usd()).items()
            ]
            proposal = await _call(
                client,
                "propose_rebalance",
                kind="changes",
                targets=targets,
                constraints={"reduce_only": True},
                reason="Halve the book after the shock.",
                request_id=request_id,
            )
        self._intent = str(proposal["intent_id"])

    async def _until_filled(self) -> IntentProgress:
        async with self._stage.operator() as operator:
            progress = await operator.progress(IntentId(self._intent))
            with anyio.move_on_after(FILL_SECONDS_MAX):
                while progress.fills == 0 and not progress.row.status.final:
                    await anyio.sleep(0.02)
                    progress = await operator.progress(IntentId(self._intent))
        return progress

    async def recovery(self) -> None:
        """The supervisor starts it again; it accounts for everything in flight and goes on."""
        self._voice.beat("The supervisor starts the desk again; the journal says what was in flight")
        await anyio.sleep(0.5)
        await self._until_final(self._intent, RECOVERY_SECONDS_MAX)
        snapshot = await self._settled()
        self._report.recovered = snapshot.recovered
        row = (await self._progress()).row
        self._tell_guard(snapshot)
        self._voice.say(f"    recovered: the intent is {row.status} ({row.note or 'no note'})")

    async def reckoning(self) -> None:
        """By the venue's own books: nothing twice, nothing naked; and where the money went."""
        self._voice.beat("The reckoning, by the venue's own books")
        snapshot = await self._settled()
        assert snapshot.state is not None
        entries = await self._entries()
        dump = (await self._stage.venue_operator("dump"))["state"]
        pairs = {pair.spec.pair_id: pair.spec for pair in snapshot.pairs}
        prices = reference_prices(snapshot)
        truth = truth_of(dump, planned_ids(entries), pairs, snapshot.state.instruments, prices)
        report, figures = self._report, snapshot.guard.figures
        report.orders, report.fills = truth.orders, truth.fills
        report.duplicate_orders = truth.duplicate_orders
        report.naked_seconds_max = round(truth.naked_seconds_max, 3)
        report.naked_at_end = [str(pair_id) for pair_id in truth.naked_at_end]
        report.guard_actions = len(snapshot.guard.last_actions)
        report.health_end = round(float(figures.health_score), 4) if figures else None
        self._voice.say(
            f"    {truth.orders} orders, {truth.fills} fills, {truth.duplicate_orders} twice; "
            f"longest naked leg {report.naked_seconds_max} s; health {report.health_end}"
        )
        fills = [row.entry.fill for row in entries if isinstance(row.entry, FillBooked)]
        cash = [row.entry for row in entries if isinstance(row.entry, CashBooked)]
        parts = attribute(
            equity_start=Decimal(EQUITY_USDT),
            equity_end=figures.total_equity if figures else Decimal(EQUITY_USDT),
            fills=fills,
            cash=[row for row in cash if row.kind != "transfer"],
            prices=prices,
            instruments=snapshot.state.instruments,
        )
        names = ("change", "funding", "basis", "fees", "borrow", "unexplained")
        report.attribution_usd = {name: f"{getattr(parts, name):.2f}" for name in names}
        self._voice.say(f"    equity: {json.dumps(report.attribution_usd)}")

    def _tell_guard(self, snapshot: DeskSnapshot) -> None:
        """What the guard did since it was last told."""
        for entry in acted_since(snapshot, self._acted):
            pairs = ", ".join(entry.pairs)
            before = "unknown" if entry.health_before is None else f"{entry.health_before:.4f}"
            self._voice.say(f"    {entry.rule} of {pairs}: health was {before}")
            self._voice.say(f"        {_one_line(entry.detail)}")
            if self._report.health_after_shock is None and entry.health_before is not None:
                self._report.health_after_shock = round(float(entry.health_before), 4)
        self._acted = newest_action(snapshot)

    # --- helpers ------------------------------------------------------------------------------------------

    def agent_client(self) -> AbstractAsyncContextManager[Client]:
        """The agent's own connection."""
        return self._stage.agent()

    async def look(self) -> None:
        """Remember who and when we are, for forging."""
        snapshot = await self._stage.snapshot()
        self._account, self._now_ns = snapshot.account, snapshot.wire_ns

    async def _entries(self) -> list[Recorded]:
        found: list[Recorded] = []
        async with self._stage.operator() as operator:
            while True:
                page = await operator.recorded(found[-1].seq if found else 0, _RECORDS)
                found += page
                if len(page) < _RECORDS:
                    return found

    async def _progress(self) -> IntentProgress:
        async with self._stage.operator() as operator:
            return await operator.progress(IntentId(self._intent))

    async def _until_final(self, intent_id: str, seconds: float) -> None:
        """Wait for the intent's end, through a restart of the desk if there is one."""
        status: IntentStatus | None = None
        with anyio.move_on_after(seconds):
            while status is None or not status.final:
                await anyio.sleep(0.2)
                try:
                    async with self._stage.operator() as operator:
                        status = (await operator.progress(IntentId(intent_id))).row.status
                except CarrydeskError:
                    status = None
        if status is None or not status.final:
            raise RefusedError(f"Intent {intent_id} is {status} after {seconds:.0f} s.")

    async def _settled(self) -> DeskSnapshot:
        """A snapshot with everything known, nothing stale and nothing of the guard on its way.

        Raises:
            RefusedError: there was none in time.
        """
        with anyio.move_on_after(SETTLE_SECONDS_MAX):
            while True:
                try:
                    snapshot = await self._stage.snapshot()
                except CarrydeskError:
                    snapshot = None
                known = snapshot is not None and snapshot.recovered and not snapshot.stale
                if known and snapshot is not None and guard_is_quiet(snapshot):
                    return snapshot
                await anyio.sleep(0.2)
        raise RefusedError("The desk did not come to rest.")

    async def _held_usd(self) -> dict[str, Decimal]:
        snapshot = await self._settled()
        prices = reference_prices(snapshot)
        return {
            str(pair.spec.pair_id): snapshot.legs[pair.spec.pair_id].hedged * prices[pair.spec.lead_leg]
            for pair in snapshot.pairs
            if snapshot.legs[pair.spec.pair_id].hedged > 0
        }


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]


async def _call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed."""
    answer = await client.call_tool(tool, arguments)
    if answer.is_error or answer.structured_content is None:
        text = getattr(answer.content[0], "text", "") if answer.content else ""
        raise RefusedError(f"{tool} failed: {text}")
    return dict(answer.structured_content)
