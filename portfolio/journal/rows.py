"""How each projection is stored: its table, its key, its columns, and which of its rows stay in memory.

Decimals are plain text, nested values canonical JSON. `fixed` columns are written once, `moving` ones on
each change.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from sqlalchemy import Table

from portfolio.codec import canonical, from_json, read_json, to_json
from portfolio.core.decimals import plain
from portfolio.core.entries import CashBooked
from portfolio.core.intents import Intent, IntentStatus, SignedApproval
from portfolio.core.names import IntentId, PairId
from portfolio.core.orders import Fill, OrderRequest, OrderStatus
from portfolio.journal import schema
from portfolio.ports import FillRow, Freeze, IntentRow, OrderRow, TokenRow

V = TypeVar("V")
Key = tuple[str, ...]
Columns = Mapping[str, Any]

#: States in which a fill may still come or the truth is still open.
UNSETTLED = frozenset({"planned", "accepted", "unknown"})


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order and the entry that planned it."""

    seq: int
    row: OrderRow


@dataclass(frozen=True, slots=True)
class StoredFill:
    """A fill and the entry that booked it; pair and intent are None for an orphan."""

    seq: int
    fill: Fill
    pair_id: PairId | None
    intent_id: IntentId | None

    def row(self) -> FillRow:
        """The port's value, for a fill that has an owner."""
        assert self.pair_id is not None
        assert self.intent_id is not None
        return FillRow(fill=self.fill, pair_id=self.pair_id, intent_id=self.intent_id)


@dataclass(frozen=True, slots=True)
class StoredIntent:
    """An intent and the entry that proposed it."""

    seq: int
    row: IntentRow


@dataclass(frozen=True, slots=True)
class StoredHalt:
    """Who halted the desk, and since when."""

    by: str
    note: str
    since_wire_ns: int


@dataclass(frozen=True, slots=True)
class StoredCash:
    """A row of the venue's ledger and the entry that booked it."""

    seq: int
    entry: CashBooked


def _nothing(_: Any) -> Columns:
    return {}


def _no_intent(_: Any) -> None:
    return None


def _always(_: Any) -> bool:
    return True


def _never(_: Any) -> bool:
    return False


@dataclass(frozen=True)
class Projection(Generic[V]):
    """One table as a mapping from key texts to values."""

    table: Table
    keys: tuple[str, ...]
    moving: Callable[[V], Columns]
    decode: Callable[[Columns], V]
    fixed: Callable[[V], Columns] = _nothing
    #: Which values are mirrored in memory.
    mirrored: Callable[[V], bool] = _always
    #: All rows are mirrored: what is not in memory does not exist.
    whole: bool = True
    #: The operation that a value belongs to, where rows are asked for by operation.
    intent_id: Callable[[V], str | None] = _no_intent

    def columns(self, key: Key, value: V) -> dict[str, Any]:
        """All columns but the stream."""
        return {**dict(zip(self.keys, key, strict=True)), **self.fixed(value), **self.moving(value)}

    def key_of(self, columns: Columns) -> Key:
        """The key within a stored row."""
        return tuple(columns[name] for name in self.keys)


def _order_fixed(stored: StoredOrder) -> Columns:
    request = stored.row.request
    return {
        "seq": stored.seq,
        "intent_id": request.intent_id,
        "pair_id": request.pair_id,
        "instrument_id": request.instrument_id,
        "request": to_json(request),
        "deadline_wire_ns": stored.row.deadline_wire_ns,
        "planned_wire_ns": stored.row.planned_wire_ns,
    }


def _order_moving(stored: StoredOrder) -> Columns:
    row = stored.row
    return {
        "state": row.state,
        "unsettled": int(row.state in UNSETTLED),
        "venue_order_id": row.venue_order_id,
        "status": None if row.status is None else row.status.value,
        "filled": plain(row.filled),
        "filled_quote": plain(row.filled_quote),
        "fee_base": plain(row.fee_base),
        "detail": canonical(row.detail),
    }


def _order(columns: Columns) -> StoredOrder:
    status = columns["status"]
    return StoredOrder(
        seq=columns["seq"],
        row=OrderRow(
            request=from_json(OrderRequest, columns["request"]),
            deadline_wire_ns=columns["deadline_wire_ns"],
            state=columns["state"],
            venue_order_id=columns["venue_order_id"],
            status=None if status is None else OrderStatus(status),
            filled=Decimal(columns["filled"]),
            filled_quote=Decimal(columns["filled_quote"]),
            fee_base=Decimal(columns["fee_base"]),
            planned_wire_ns=columns["planned_wire_ns"],
            detail=read_json(columns["detail"]),
        ),
    )


ORDERS: Projection[StoredOrder] = Projection(
    table=schema.orders,
    keys=("client_order_id",),
    fixed=_order_fixed,
    moving=_order_moving,
    decode=_order,
    mirrored=lambda stored: stored.row.state in UNSETTLED,
    whole=False,
    intent_id=lambda stored: stored.row.request.intent_id,
)

FILLS: Projection[StoredFill] = Projection(
    table=schema.fills,
    keys=("fill_id",),
    moving=lambda stored: {
        "seq": stored.seq,
        "client_order_id": stored.fill.client_order_id,
        "pair_id": stored.pair_id,
        "intent_id": stored.intent_id,
        "fill": to_json(stored.fill),
    },
    decode=lambda columns: StoredFill(
        seq=columns["seq"],
        fill=from_json(Fill, columns["fill"]),
        pair_id=columns["pair_id"],
        intent_id=columns["intent_id"],
    ),
    mirrored=_never,
    whole=False,
    intent_id=lambda stored: stored.intent_id,
)


def _intent_moving(stored: StoredIntent) -> Columns:
    row = stored.row
    return {
        "status": row.status.value,
        "unfinished": int(not row.status.final),
        "note": canonical(row.note),
        "moved_by": canonical(row.moved_by),
        "approval": None if row.approval is None else to_json(row.approval),
        "updated_wire_ns": row.updated_wire_ns,
    }


def _intent(columns: Columns) -> StoredIntent:
    approval = columns["approval"]
    return StoredIntent(
        seq=columns["seq"],
        row=IntentRow(
            intent=from_json(Intent, columns["intent"]),
            status=IntentStatus(columns["status"]),
            note=read_json(columns["note"]),
            moved_by=read_json(columns["moved_by"]),
            approval=None if approval is None else from_json(SignedApproval, approval),
            updated_wire_ns=columns["updated_wire_ns"],
        ),
    )


INTENTS: Projection[StoredIntent] = Projection(
    table=schema.intents,
    keys=("intent_id",),
    fixed=lambda stored: {"seq": stored.seq, "intent": to_json(stored.row.intent)},
    moving=_intent_moving,
    decode=_intent,
    mirrored=lambda stored: not stored.row.status.final,
    whole=False,
)

REQUESTS: Projection[str] = Projection(
    table=schema.requests,
    keys=("proposed_by", "request_id"),
    moving=lambda intent_id: {"intent_id": intent_id},
    decode=lambda columns: str(columns["intent_id"]),
    mirrored=_never,
    whole=False,
)

EXECUTING: Projection[str] = Projection(
    table=schema.executing,
    keys=("account",),
    moving=lambda intent_id: {"intent_id": intent_id},
    decode=lambda columns: str(columns["intent_id"]),
)

NONCES: Projection[int] = Projection(
    table=schema.nonces,
    keys=("nonce",),
    moving=lambda seq: {"seq": seq},
    decode=lambda columns: int(columns["seq"]),
    mirrored=_never,
    whole=False,
)

HOLDINGS: Projection[Decimal] = Projection(
    table=schema.holdings,
    keys=("pair_id", "instrument_id"),
    moving=lambda quantity: {"quantity": plain(quantity)},
    decode=lambda columns: Decimal(columns["quantity"]),
)

TREASURY: Projection[Decimal] = Projection(
    table=schema.treasury,
    keys=("coin",),
    moving=lambda quantity: {"quantity": plain(quantity)},
    decode=lambda columns: Decimal(columns["quantity"]),
)

FREEZES: Projection[Freeze] = Projection(
    table=schema.freezes,
    keys=("source",),
    moving=lambda freeze: {
        "reason": canonical(freeze.reason),
        "lifted_by": freeze.lifted_by,
        "since_wire_ns": freeze.since_wire_ns,
    },
    decode=lambda columns: Freeze(
        source=columns["source"],
        reason=read_json(columns["reason"]),
        lifted_by=columns["lifted_by"],
        since_wire_ns=columns["since_wire_ns"],
    ),
)

HALT: Projection[StoredHalt] = Projection(
    table=schema.halt,
    keys=(),
    moving=lambda halt: {
        "by": canonical(halt.by),
        "note": canonical(halt.note),
        "since_wire_ns": halt.since_wire_ns,
    },
    decode=lambda columns: StoredHalt(
        by=read_json(columns["by"]),
        note=read_json(columns["note"]),
        since_wire_ns=columns["since_wire_ns"],
    ),
)

TOKENS: Projection[TokenRow] = Projection(
    table=schema.tokens,
    keys=("name",),
    moving=lambda token: {
        "token_hash": token.token_hash,
        "scopes": canonical(list(token.scopes)),
        "revoked": int(token.revoked),
    },
    decode=lambda columns: TokenRow(
        name=columns["name"],
        token_hash=columns["token_hash"],
        scopes=tuple(read_json(columns["scopes"])),
        revoked=bool(columns["revoked"]),
    ),
)

GUARD_STATE: Projection[str] = Projection(
    table=schema.guard_state,
    keys=(),
    moving=lambda state: {"state": state},
    decode=lambda columns: str(columns["state"]),
)


CASH: Projection[StoredCash] = Projection(
    table=schema.cash,
    keys=("kind", "reference"),
    moving=lambda stored: {
        "seq": stored.seq,
        "instrument_id": stored.entry.instrument_id,
        "coin": stored.entry.coin,
        "amount": plain(stored.entry.amount),
        "event_market_ns": stored.entry.event_market_ns,
    },
    decode=lambda columns: StoredCash(
        seq=columns["seq"],
        entry=CashBooked(
            kind=columns["kind"],
            reference=columns["reference"],
            instrument_id=columns["instrument_id"],
            coin=columns["coin"],
            amount=Decimal(columns["amount"]),
            event_market_ns=columns["event_market_ns"],
        ),
    ),
    mirrored=_never,
    whole=False,
)

PROJECTIONS: tuple[Projection[Any], ...] = (
    ORDERS,
    FILLS,
    INTENTS,
    REQUESTS,
    EXECUTING,
    NONCES,
    HOLDINGS,
    TREASURY,
    FREEZES,
    HALT,
    TOKENS,
    GUARD_STATE,
    CASH,
)
