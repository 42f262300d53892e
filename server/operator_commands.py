"""The operator's commands: each opens the operator's socket, does one thing and says what came of it.

They need the home and no settings: a fault in the file must not keep the operator from halting the desk.
"""

import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import anyio

from portfolio.approvals import load_operator_key, sign_approval, unlock
from portfolio.core.digest import intent_digest, operator_digest
from portfolio.core.errors import ApprovalError, CarrydeskError, ConflictError
from portfolio.core.intents import Intent, IntentStatus, SignedApproval
from portfolio.core.limits import MINUTE_NS
from portfolio.core.names import AccountId, IntentId
from portfolio.desk import TOKEN_NAME_MAX
from portfolio.ports import IntentRow
from portfolio.service import DeskSnapshot, Scope
from server.clients import OPERATOR_DOOR, OperatorClient
from server.console import Console
from server.home import Home, new_token, token_hash
from server.passphrase import passphrase
from server.rpc_client import open_link
from tools.account_mode import sim_of
from tools.book import figures, utilisation
from tools.portfolio import PortfolioArguments, PortfolioResult, show
from tools.results import ratio, usd

T = TypeVar("T")
#: How long a signature starts and carries an execution.
APPROVAL_NS = 30 * MINUTE_NS


def ask(home: Home, work: Callable[[OperatorClient], Awaitable[T]]) -> T:
    """Run `work` with a client of the home's desk.

    Raises:
        UnreachableError: the desk does not run.
        CarrydeskError: what the desk answered.
    """

    async def main() -> T:
        async with open_link(home.operator_socket, OPERATOR_DOOR) as link:
            return await work(OperatorClient(link))

    return anyio.run(main)


# --- looking ----------------------------------------------------------------------------------------------


def status(console: Console, home: Home) -> dict[str, Any]:
    """The book and its guard."""

    async def work(desk: OperatorClient) -> tuple[DeskSnapshot, PortfolioResult]:
        snapshot = await desk.status()
        return snapshot, await show(snapshot, PortfolioArguments(detail="full"))

    snapshot, book = ask(home, work)
    if not console.as_json:
        _print_status(console, book, snapshot)
    return status_data(snapshot, book)


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def status_data(snapshot: DeskSnapshot, book: PortfolioResult) -> dict[str, Any]:
    """The JSON of `status`: ratios as numbers, amounts as decimal texts."""
    totals = figures(snapshot)
    shown = book.model_dump(mode="json")
    health = None if totals is None else _number(totals.health_score)
    usage = None if totals is None else _number(totals.margin_usage)
    return {
        "mode": snapshot.mode,
        "install": snapshot.install,
        "summary": book.summary,
        "accounts": [
            {
                "account": snapshot.account,
                "uid": snapshot.uid,
                "margin": shown["margin"],
                "venue_margin": shown["venue_margin"],
                "health_score": health,
                "margin_usage": usage,
                "stale": list(snapshot.stale),
                "data_age_s": shown["data_age_s"],
                "recovered": snapshot.recovered,
            }
        ],
        "health_score": health,
        "margin_usage": usage,
        "utilisation": _number(utilisation(snapshot)),
        "pairs": shown["pairs"],
        "guard": shown["guard"] | {"freezes": shown["freezes"], "halted": snapshot.halted},
        "intents": shown["intents"],
        "market_time": shown["market_time"],
        "warnings": shown["warnings"],
    }


def _print_status(console: Console, book: PortfolioResult, snapshot: DeskSnapshot) -> None:
    console.say(
        f"{snapshot.mode} account {snapshot.account} (uid {snapshot.uid}), install {snapshot.install}"
    )
    console.say(f"market {book.market_time}, wall {book.as_of}")
    console.say(book.summary)
    for warning in book.warnings:
        console.say(f"! {warning}")
    if snapshot.install == "same-user":
        console.say("Same-user install: holds against agents confined to MCP, not against your own shell.")
    rows = [
        (
            pair.pair,
            pair.status,
            pair.notional_usd or "?",
            pair.unhedged_coins,
            pair.carry_usd_per_day or "?",
            pair.quality_score or "?",
        )
        for pair in book.pairs
    ]
    console.table("Pairs", ("pair", "status", "USD a leg", "unhedged", "USD a day", "quality"), rows)
    intents = [(i.intent_id, i.status, ", ".join(i.pairs), i.expires_at, i.note) for i in book.intents]
    if intents:
        console.table("Intents", ("intent", "status", "pairs", "expires", "note"), intents)
    actions = [(a.at, a.rule, ", ".join(a.pairs), a.detail) for a in book.guard.last_actions]
    if actions:
        console.table("Guard", ("at", "rule", "pairs", "did"), actions)


# --- deciding ---------------------------------------------------------------------------------------------


def check_waiting(row: IntentRow) -> None:
    """Say that there is nothing to approve before the operator reads a text and types a passphrase.

    Raises:
        ConflictError: it was approved already, or has ended.
    """
    if row.status not in (IntentStatus.PROPOSED, IntentStatus.REQUESTED):
        note = f" ({row.note})" if row.note else ""
        raise ConflictError(
            f"{row.intent.intent_id} is {row.status}{note}; only a waiting intent can be approved.",
            next_step="See `carrydesk status` for what waits.",
        )


def approve(console: Console, home: Home, intent_id: str, passphrase_file: Path | None) -> dict[str, Any]:
    """Show the full text and a live what-if, take the passphrase, sign, send.

    Raises:
        ConflictError: the intent does not wait; nothing is shown or asked.
        ApprovalError: the text is not what the digest says, or the passphrase is wrong.
    """
    name = IntentId(intent_id)

    async def look(desk: OperatorClient) -> tuple[Intent, DeskSnapshot]:
        row = (await desk.progress(name)).row
        check_waiting(row)
        return row.intent, await desk.status()

    intent, snapshot = ask(home, look)
    if intent_digest(intent) != intent.digest:
        raise ApprovalError(
            f"The digest of {intent_id} is not that of its text: NOT APPROVED.",
            field="digest",
            next_step="Halt the desk and look into its journal.",
        )
    console.say(intent.text)
    console.say("")
    for line in live_check(intent, snapshot):
        console.say(line)
    console.say(f"Digest {intent.digest}")
    approval = _signed(home, "intent", intent.account, intent.mode, intent.digest, passphrase_file)

    async def send(desk: OperatorClient) -> dict[str, Any]:
        row = await desk.approve(name, approval)
        return {
            "intent_id": row.intent.intent_id,
            "status": row.status.value,
            "digest": row.intent.digest,
            "text": intent.text,
            "approval": {"signature": approval.signature, "nonce": approval.nonce},
        }

    found = ask(home, send)
    console.say(f"Approved: {intent_id} is {found['status']}.")
    return found


def live_check(intent: Intent, snapshot: DeskSnapshot) -> list[str]:
    """What the same change would do now; beside the approval, outside of its digest."""
    if snapshot.state is None:
        return [f"Now: cannot be simulated ({', '.join(snapshot.stale) or 'the account is not read yet'})."]
    pairs = {pair.spec.pair_id: pair.spec for pair in snapshot.pairs}
    targets = {target.pair_id: target.to_quantity for target in intent.targets}
    try:
        found = sim_of(snapshot).simulate(
            snapshot.state, pairs, snapshot.legs, targets, limits=snapshot.limits
        )
    except CarrydeskError as error:
        return [f"Now: cannot be simulated ({error.message})"]
    worst = found.worst_stress
    lines = [
        f"Simulated now: health {ratio(found.before.health_score)} to {ratio(found.after.health_score)}, "
        f"equity {usd(found.after.total_equity)} USD"
        + ("" if worst is None else f"; worst stress {worst.scenario}: {ratio(worst.figures.health_score)}")
    ]
    if not found.allowed:
        lines.append(f"Simulated now: refused by {', '.join(found.blocked_by)}")
    return lines


def _signed(
    home: Home, purpose: str, account: AccountId, mode: str, digest: str, path: Path | None
) -> SignedApproval:
    key = load_operator_key(home.operator_file)
    private = unlock(key, passphrase(mode, path))
    return sign_approval(
        private,
        purpose=purpose,
        mode=mode,
        accounts=(account,),
        digest=digest,
        expires_wire_ns=time.time_ns() + APPROVAL_NS,
    )


def reject(console: Console, home: Home, intent_id: str, note: str) -> dict[str, Any]:
    """Refuse an intent; the agent can read the note."""
    row = ask(home, lambda desk: desk.reject(IntentId(intent_id), note))
    console.say(f"{intent_id} is {row.status.value}.")
    return {"intent_id": intent_id, "status": row.status.value, "note": row.note}


def halt(console: Console, home: Home, note: str) -> dict[str, Any]:
    """The kill switch."""
    ask(home, lambda desk: desk.halt(note))
    console.say("Halted: only hedges and reductions run. Lift it with: carrydesk resume")
    return {"halted": True, "note": note}


def resume(console: Console, home: Home, passphrase_file: Path | None) -> dict[str, Any]:
    """Lift the halt and the operator's freezes, signed."""
    snapshot = ask(home, lambda desk: desk.status())
    console.say(f"Resuming {snapshot.mode} account {snapshot.account} lifts:")
    lifted = [
        f"{freeze.source}: {freeze.reason}" for freeze in snapshot.freezes if freeze.lifted_by == "operator"
    ]
    for line in (["the halt"] if snapshot.halted else []) + lifted:
        console.say(f"  {line}")
    digest = operator_digest("resume", snapshot.account, snapshot.mode)
    approval = _signed(home, "resume", snapshot.account, snapshot.mode, digest, passphrase_file)
    ask(home, lambda desk: desk.resume(approval))
    console.say("Resumed.")
    return {"halted": False, "lifted": lifted}


# --- tokens -----------------------------------------------------------------------------------------------


def token_add(console: Console, home: Home, name: str, scopes: str) -> dict[str, Any]:
    """Issue a token; it is shown once and stored as a hash."""
    wanted = tuple(scope.strip() for scope in scopes.split(",") if scope.strip())
    token = new_token()
    ask(home, lambda desk: desk.add_token(name, token_hash(token), wanted))
    if not console.as_json:
        console.say(f"Token of {name} ({', '.join(wanted)}), shown once:")
        console.say(token)
    return {"name": name, "scopes": list(wanted), "token": token}


def token_list(console: Console, home: Home) -> dict[str, Any]:
    """Every token ever issued."""
    rows = ask(home, lambda desk: desk.tokens())
    if not console.as_json:
        shown = [
            (_shown_name(row.name), ", ".join(row.scopes), "revoked" if row.revoked else "valid")
            for row in rows
        ]
        console.table("Tokens", ("name", "scopes", "state"), shown)
    return {
        "tokens": [{"name": row.name, "scopes": list(row.scopes), "revoked": row.revoked} for row in rows]
    }


def _shown_name(name: str) -> str:
    """On one line: older journals may hold a name that is none."""
    return name if name.isprintable() and 1 <= len(name) <= TOKEN_NAME_MAX else f"{name[:TOKEN_NAME_MAX]!a}"


def token_revoke(console: Console, home: Home, name: str) -> dict[str, Any]:
    """That token opens nothing any more."""
    ask(home, lambda desk: desk.revoke_token(name))
    console.say(f"The token {name} is revoked.")
    return {"name": name, "revoked": True}


ALL_SCOPES = ",".join(scope.value for scope in Scope)
