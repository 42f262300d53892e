"""What each entry means: how it changes the projections, and when it may not be written.

Pure over `Rows`: the same functions run inside the append's transaction and in the rebuild of `verify.py`.
They must stay true to what was accepted before, or old journals no longer verify.

1. An order id, a fill id, an intent id, a request id per proposer, an approval nonce and a ledger row occur
   once.
2. At most one intent per account is executing or being cancelled, and only a signed approval starts one.
3. An order's `filled`, a pair's holding and the fills' sum are the same number, net of fees in the base coin.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from portfolio.core import entries as e
from portfolio.core.decimals import ZERO
from portfolio.core.errors import ConflictError, InputError
from portfolio.core.intents import IntentStatus, SignedApproval
from portfolio.core.names import VenueOrderId
from portfolio.core.orders import Fill
from portfolio.journal import rows as r
from portfolio.journal.rows import Key, Projection
from portfolio.ports import Freeze, IntentRow, OrderRow, Recorded, TokenRow

V = TypeVar("V")

ANSWERS = frozenset({"accepted", "rejected", "not_sent", "unknown", "absent"})
_ACTIVE = frozenset({IntentStatus.EXECUTING, IntentStatus.CANCELLING})
_READ_AGAIN = "Read it again before deciding."


class Rows(Protocol):
    """The projections as the entry finds them."""

    def get(self, projection: Projection[V], key: Key) -> V | None:
        """The value now, or None."""
        ...

    def create(self, projection: Projection[V], key: Key, value: V, conflict: str) -> None:
        """Add a row.

        Raises:
            ConflictError: the key exists; `conflict` is the message. It may come as late as the commit.
        """
        ...

    def put(self, projection: Projection[V], key: Key, value: V) -> None:
        """Add or replace a row."""
        ...

    def drop(self, projection: Projection[V], key: Key) -> None:
        """Remove a row if it is there."""
        ...


def apply(rows: Rows, recorded: Recorded) -> None:
    """Carry one entry into the projections.

    Raises:
        ConflictError: the entry does not follow from the state.
        InputError: the entry itself is not valid.
    """
    _APPLY[type(recorded.entry)](rows, recorded, recorded.entry)


def _nothing(rows: Rows, recorded: Recorded, entry: object) -> None:
    """An audit line that changes no projection."""


def _opened(rows: Rows, recorded: Recorded, entry: e.JournalOpened) -> None:
    if recorded.seq != 1:
        raise ConflictError("A journal is opened once, by its first entry.")


def _started(rows: Rows, recorded: Recorded, entry: e.DeskStarted) -> None:
    if entry.fence != recorded.fence:
        raise ConflictError("A desk starts under the fence it took.", field="fence")


def _treasury(rows: Rows, recorded: Recorded, entry: e.TreasuryAdopted) -> None:
    _put_quantity(rows, r.TREASURY, (entry.coin,), entry.quantity)


def _put_quantity(rows: Rows, projection: Projection[Decimal], key: Key, quantity: Decimal) -> None:
    if quantity == 0:
        rows.drop(projection, key)
    else:
        rows.put(projection, key, quantity)


def _proposed(rows: Rows, recorded: Recorded, entry: e.IntentProposed) -> None:
    intent = entry.intent
    row = IntentRow(
        intent=intent,
        status=IntentStatus.PROPOSED,
        note="",
        moved_by=intent.proposed_by,
        approval=None,
        updated_wire_ns=recorded.wire_ns,
    )
    stored = r.StoredIntent(seq=recorded.seq, row=row)
    rows.create(r.INTENTS, (intent.intent_id,), stored, f"Intent {intent.intent_id} exists already.")
    if intent.request_id is not None:
        rows.create(
            r.REQUESTS,
            (intent.proposed_by, intent.request_id),
            intent.intent_id,
            f"Request {intent.request_id!r} of {intent.proposed_by!r} has an intent already.",
        )


def _approved(rows: Rows, recorded: Recorded, entry: e.IntentApproved) -> None:
    stored = _intent(rows, entry.intent_id)
    if stored.row.status not in (IntentStatus.PROPOSED, IntentStatus.REQUESTED):
        raise ConflictError(
            f"Intent {entry.intent_id} is {stored.row.status}: it can no longer be approved.",
            field="intent_id",
            next_step=_READ_AGAIN,
        )
    _burn(rows, recorded, entry.approval)
    row = replace(stored.row, approval=entry.approval)
    _move(rows, recorded, replace(stored, row=row), IntentStatus.EXECUTING, by="operator", note="approved")


def _moved(rows: Rows, recorded: Recorded, entry: e.IntentMoved) -> None:
    stored = _intent(rows, entry.intent_id)
    if stored.row.status is not entry.expected:
        raise ConflictError(
            f"Intent {entry.intent_id} is {stored.row.status}, not {entry.expected}.",
            field="expected",
            next_step=_READ_AGAIN,
        )
    if entry.expected.final:
        raise ConflictError(f"Intent {entry.intent_id} is {entry.expected}: that is final.", field="status")
    if entry.status is IntentStatus.EXECUTING:
        raise ConflictError("Only a signed approval starts an intent.", field="status")
    _move(rows, recorded, stored, entry.status, by=entry.by, note=entry.note)


def _intent(rows: Rows, intent_id: str) -> r.StoredIntent:
    stored = rows.get(r.INTENTS, (intent_id,))
    if stored is None:
        raise ConflictError(f"Intent {intent_id} was never proposed.", field="intent_id")
    return stored


def _move(
    rows: Rows, recorded: Recorded, stored: r.StoredIntent, status: IntentStatus, *, by: str, note: str
) -> None:
    intent = stored.row.intent
    before, after = stored.row.status in _ACTIVE, status in _ACTIVE
    if after and not before:
        other = rows.get(r.EXECUTING, (intent.account,))
        rows.create(
            r.EXECUTING,
            (intent.account,),
            intent.intent_id,
            f"Intent {other} is executing on {intent.account}: one at a time.",
        )
    if before and not after:
        rows.drop(r.EXECUTING, (intent.account,))
    row = replace(stored.row, status=status, note=note, moved_by=by, updated_wire_ns=recorded.wire_ns)
    rows.put(r.INTENTS, (intent.intent_id,), replace(stored, row=row))


def _burn(rows: Rows, recorded: Recorded, approval: SignedApproval) -> None:
    rows.create(
        r.NONCES, (approval.nonce,), recorded.seq, "This approval was used before: every approval works once."
    )


def _planned(rows: Rows, recorded: Recorded, entry: e.OrderPlanned) -> None:
    request = entry.request
    row = OrderRow(
        request=request,
        deadline_wire_ns=entry.deadline_wire_ns,
        state="planned",
        venue_order_id=None,
        status=None,
        filled=ZERO,
        filled_quote=ZERO,
        fee_base=ZERO,
        planned_wire_ns=recorded.wire_ns,
        detail="",
    )
    rows.create(
        r.ORDERS,
        (request.client_order_id,),
        r.StoredOrder(seq=recorded.seq, row=row),
        f"Order id {request.client_order_id} was used before: an id is unique for ever.",
    )


def _order(rows: Rows, client_order_id: str) -> r.StoredOrder:
    stored = rows.get(r.ORDERS, (client_order_id,))
    if stored is None:
        raise ConflictError(f"Order {client_order_id} was never planned here.", field="client_order_id")
    return stored


def _put_order(rows: Rows, stored: r.StoredOrder, row: OrderRow) -> None:
    rows.put(r.ORDERS, (row.request.client_order_id,), replace(stored, row=row))


def _answered(rows: Rows, recorded: Recorded, entry: e.OrderAnswered) -> None:
    if entry.outcome not in ANSWERS:
        raise InputError(
            f"{entry.outcome!r} is not an outcome.", field="outcome", allowed=", ".join(sorted(ANSWERS))
        )
    stored = _order(rows, entry.client_order_id)
    row = stored.row
    venue_order_id = row.venue_order_id
    if entry.venue_order_id is not None:
        venue_order_id = VenueOrderId(entry.venue_order_id)
    # A late answer never takes back what is certain: the order stream may have closed the order before
    # the answer to its placement arrived, and "unknown" is no news for an order that has an answer.
    certain = row.state == "closed" or (
        entry.outcome == "unknown" and row.state not in ("planned", "unknown")
    )
    state, detail = (row.state, row.detail) if certain else (entry.outcome, entry.detail)
    _put_order(rows, stored, replace(row, state=state, detail=detail, venue_order_id=venue_order_id))


def _closed(rows: Rows, recorded: Recorded, entry: e.OrderClosed) -> None:
    if not entry.status.terminal:
        raise InputError(f"{entry.status} is not a terminal status.", field="status")
    stored = _order(rows, entry.client_order_id)
    _put_order(rows, stored, replace(stored.row, state="closed", status=entry.status))


def fee_in_base(fill: Fill) -> Decimal:
    """The part of a fill's fee that was taken in the base coin, in coins.

    Only spot pays in the coin received; the base is the beginning of the symbol: `bybit:spot:BTCUSDT` and
    BTC.
    """
    _, kind, symbol = fill.instrument_id.split(":")
    is_base = symbol.startswith(fill.fee_coin) and symbol != fill.fee_coin
    return fill.fee if kind == "spot" and is_base else ZERO


def _filled(rows: Rows, recorded: Recorded, entry: e.FillBooked) -> None:
    fill = entry.fill
    stored = _order(rows, fill.client_order_id)
    row = stored.row
    if (fill.instrument_id, fill.side) != (row.request.instrument_id, row.request.side):
        raise ConflictError(f"Fill {fill.fill_id} is not of order {fill.client_order_id}.", field="fill")
    booked = r.StoredFill(seq=recorded.seq, fill=fill, pair_id=entry.pair_id, intent_id=entry.intent_id)
    rows.create(r.FILLS, (fill.fill_id,), booked, f"Fill {fill.fill_id} is booked already.")
    fee = fee_in_base(fill)
    # A fill proves that an order exists, whatever was concluded before.
    state = row.state if row.state in r.UNSETTLED or row.state == "closed" else "accepted"
    row = replace(
        row,
        state=state,
        filled=row.filled + fill.quantity,
        filled_quote=row.filled_quote + fill.quantity * fill.price,
        fee_base=row.fee_base + fee,
    )
    _put_order(rows, stored, row)
    key = (entry.pair_id, fill.instrument_id)
    held = rows.get(r.HOLDINGS, key) or ZERO
    _put_quantity(rows, r.HOLDINGS, key, held + fill.side.sign * fill.quantity - fee)


def _orphaned(rows: Rows, recorded: Recorded, entry: e.FillOrphaned) -> None:
    booked = r.StoredFill(seq=recorded.seq, fill=entry.fill, pair_id=None, intent_id=None)
    rows.create(r.FILLS, (entry.fill.fill_id,), booked, f"Fill {entry.fill.fill_id} is booked already.")


def _cash(rows: Rows, recorded: Recorded, entry: e.CashBooked) -> None:
    rows.create(
        r.CASH,
        (entry.kind, entry.reference),
        r.StoredCash(seq=recorded.seq, entry=entry),
        f"Ledger row {entry.kind} {entry.reference} is booked already.",
    )


def _guard_state(rows: Rows, recorded: Recorded, entry: e.GuardStateSaved) -> None:
    rows.put(r.GUARD_STATE, (), entry.state)


def _frozen(rows: Rows, recorded: Recorded, entry: e.EntriesFrozen) -> None:
    standing = rows.get(r.FREEZES, (entry.source,))
    since = recorded.wire_ns if standing is None else standing.since_wire_ns
    # What only the operator may lift stays so, even when the rule fires again more mildly.
    kept = standing is not None and standing.lifted_by == "operator"
    freeze = Freeze(
        source=entry.source,
        reason=entry.reason,
        lifted_by="operator" if kept else entry.lifted_by,
        since_wire_ns=since,
    )
    rows.put(r.FREEZES, (entry.source,), freeze)


def _thawed(rows: Rows, recorded: Recorded, entry: e.EntriesThawed) -> None:
    rows.drop(r.FREEZES, (entry.source,))


def _halted(rows: Rows, recorded: Recorded, entry: e.Halted) -> None:
    if rows.get(r.HALT, ()) is None:
        halt = r.StoredHalt(by=entry.by, note=entry.note, since_wire_ns=recorded.wire_ns)
        rows.put(r.HALT, (), halt)


def _resumed(rows: Rows, recorded: Recorded, entry: e.Resumed) -> None:
    _burn(rows, recorded, entry.approval)
    rows.drop(r.HALT, ())


def _token_added(rows: Rows, recorded: Recorded, entry: e.TokenAdded) -> None:
    token = TokenRow(name=entry.name, token_hash=entry.token_hash, scopes=entry.scopes, revoked=False)
    rows.create(r.TOKENS, (entry.name,), token, f"A token named {entry.name!r} exists already.")


def _token_revoked(rows: Rows, recorded: Recorded, entry: e.TokenRevoked) -> None:
    token = rows.get(r.TOKENS, (entry.name,))
    if token is None:
        raise ConflictError(f"There is no token named {entry.name!r}.", field="name")
    rows.put(r.TOKENS, (entry.name,), replace(token, revoked=True))


_APPLY: dict[type, Callable[[Rows, Recorded, Any], None]] = {
    e.JournalOpened: _opened,
    e.DeskStarted: _started,
    e.TreasuryAdopted: _treasury,
    e.IntentProposed: _proposed,
    e.IntentApproved: _approved,
    e.IntentMoved: _moved,
    e.OrderPlanned: _planned,
    e.OrderAnswered: _answered,
    e.OrderClosed: _closed,
    e.FillBooked: _filled,
    e.FillOrphaned: _orphaned,
    e.RepaymentMoved: _nothing,
    e.CashBooked: _cash,
    e.GuardActed: _nothing,
    e.GuardStateSaved: _guard_state,
    e.EntriesFrozen: _frozen,
    e.EntriesThawed: _thawed,
    e.Halted: _halted,
    e.Resumed: _resumed,
    e.TokenAdded: _token_added,
    e.TokenRevoked: _token_revoked,
    e.TablesChanged: _nothing,
    e.Noted: _nothing,
}
