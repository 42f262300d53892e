"""Tables of the journal. Decimals and JSON are text, times are integer ns, flags are 0 or 1.

Every table starts with `stream`, the name of the desk group: one file holds one stream, one PostgreSQL
database may hold many. `event` is the truth; all other tables but `schema_version` follow from it.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()


def _key(name: str) -> Column[str]:
    return Column(name, String, primary_key=True)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _int(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _flag(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    _int("applied_wire_ns"),
)

event = Table(
    "event",
    metadata,
    _key("stream"),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _int("fence"),
    _int("wire_ns"),
    _text("kind"),
    _text("body"),
    _text("prev"),
    _text("hash"),
    Index("event_by_kind", "stream", "kind", "seq"),
)

owner = Table(
    "owner",
    metadata,
    _key("stream"),
    _int("fence"),
    _int("head_seq"),
    _text("head_hash"),
)

orders = Table(
    "orders",
    metadata,
    _key("stream"),
    _key("client_order_id"),
    _int("seq"),
    _text("intent_id"),
    _text("pair_id"),
    _text("instrument_id"),
    _text("request"),
    _int("deadline_wire_ns"),
    _int("planned_wire_ns"),
    _text("state"),
    _flag("unsettled"),
    _text("venue_order_id", nullable=True),
    _text("status", nullable=True),
    _text("filled"),
    _text("filled_quote"),
    _text("fee_base"),
    _text("detail"),
    Index("orders_by_intent", "stream", "intent_id", "seq"),
    Index("orders_unsettled", "stream", "unsettled", "seq"),
)

fills = Table(
    "fills",
    metadata,
    _key("stream"),
    _key("fill_id"),
    _int("seq"),
    _text("client_order_id"),
    # Both absent for an orphan: an execution that no planned order explains.
    _text("pair_id", nullable=True),
    _text("intent_id", nullable=True),
    _text("fill"),
    Index("fills_by_intent", "stream", "intent_id", "seq"),
    Index("fills_by_seq", "stream", "seq"),
)

intents = Table(
    "intents",
    metadata,
    _key("stream"),
    _key("intent_id"),
    _int("seq"),
    _text("status"),
    _flag("unfinished"),
    _text("intent"),
    _text("note"),
    _text("moved_by"),
    _text("approval", nullable=True),
    _int("updated_wire_ns"),
    Index("intents_unfinished", "stream", "unfinished", "seq"),
    Index("intents_by_seq", "stream", "seq"),
)

requests = Table(
    "requests", metadata, _key("stream"), _key("proposed_by"), _key("request_id"), _text("intent_id")
)

#: The intent that holds the account: at most one, by primary key.
executing = Table("executing", metadata, _key("stream"), _key("account"), _text("intent_id"))

nonces = Table("nonces", metadata, _key("stream"), _key("nonce"), _int("seq"))

holdings = Table(
    "holdings", metadata, _key("stream"), _key("pair_id"), _key("instrument_id"), _text("quantity")
)

treasury = Table("treasury", metadata, _key("stream"), _key("coin"), _text("quantity"))

freezes = Table(
    "freezes",
    metadata,
    _key("stream"),
    _key("source"),
    _text("reason"),
    _text("lifted_by"),
    _int("since_wire_ns"),
)

#: Its row exists while the desk is halted.
halt = Table("halt", metadata, _key("stream"), _text("by"), _text("note"), _int("since_wire_ns"))

tokens = Table(
    "tokens",
    metadata,
    _key("stream"),
    _key("name"),
    _text("token_hash"),
    _text("scopes"),
    _flag("revoked"),
)

guard_state = Table("guard_state", metadata, _key("stream"), _text("state"))

cash = Table(
    "cash",
    metadata,
    _key("stream"),
    _key("kind"),
    _key("reference"),
    _int("seq"),
    _text("instrument_id", nullable=True),
    _text("coin"),
    _text("amount"),
    _int("event_market_ns"),
)
