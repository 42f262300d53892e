"""A paper venue's state as JSON and back, so that a run survives its process.

What is made from the seed (books, paths) is not stored; the replay is given anew. State of another uid or
seed is refused: it would be another run.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from exchanges.paper.book import Consumed
from exchanges.paper.commands import ShiftFigures
from exchanges.paper.holdings import Holding
from exchanges.paper.market import ActiveShock
from exchanges.paper.rows import BookView, Execution, LedgerRow, VenueOrder
from exchanges.paper.state import State
from portfolio.core.account import Balance
from portfolio.core.errors import InputError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side
from portfolio.core.risk import RiskTables

FORMAT = 1
T = TypeVar("T")
#: Anything that JSON can hold.
Json = Any


def dump(state: State) -> dict[str, Json]:
    """Everything that the seed and the replay do not give."""
    return {
        "format": FORMAT,
        "uid": state.config.uid,
        "seed": state.seed,
        "now_ns": state.now_ns,
        "ended": state.ended,
        "tables": encode(state.tables),
        "balances": encode(tuple(state.ledger.balances.values())),
        "rows": encode(tuple(state.ledger.rows)),
        "posted": state.ledger.posted,
        "realised": encode(state.ledger.realised),
        "holdings": encode(tuple(state.holdings.values())),
        "leverages": encode(state.leverages),
        "spot_leverage": encode(state.spot_leverage),
        "orders": encode(tuple(state.orders.values())),
        "links": [[kind.value, link, order_id] for (kind, link), order_id in state.links.items()],
        "executions": encode(tuple(state.executions)),
        "sequence": state.sequence,
        "order_count": state.order_count,
        "shift": encode(state.shift),
        "shocks": encode(tuple(state.market.shocks)),
        "consumed": [
            [key, side.value, encode(taken)]
            for key, book in state.books.items()
            for side, taken in book.consumed.items()
        ],
        "frozen_books": [[encode(shown), until] for shown, until in state.frozen_books.values()],
        "fill_limits": encode(state.fill_limits),
        "rejections": {key: [list(item) for item in waiting] for key, waiting in state.rejections.items()},
        "next_margin_check_ns": state.next_margin_check_ns,
        "liquidating": state.liquidating,
    }


def load(state: State, stored: Mapping[str, Json]) -> None:
    """Put a dump into a state that was built with the same config, replay and seed.

    Raises:
        InputError: another format, uid or seed.
    """
    for name, expected in (("format", FORMAT), ("uid", state.config.uid), ("seed", state.seed)):
        if stored.get(name) != expected:
            raise InputError(
                f"The stored paper venue has {name} {stored.get(name)!r}, this run has {expected!r}.",
                field=name,
                next_step="Use the settings of that run, or start a new one in another home.",
            )
    state.now_ns, state.ended = stored["now_ns"], stored["ended"]
    state.tables = decode(RiskTables, stored["tables"])
    ledger = state.ledger
    ledger.balances = {row.coin: row for row in _each(Balance, stored["balances"])}
    ledger.rows = _each(LedgerRow, stored["rows"])
    ledger.posted = stored["posted"]
    ledger.realised = {Coin(key): Decimal(text) for key, text in stored["realised"].items()}
    state.holdings = {row.instrument_id: row for row in _each(Holding, stored["holdings"])}
    state.leverages = {InstrumentId(key): Decimal(text) for key, text in stored["leverages"].items()}
    state.spot_leverage = Decimal(stored["spot_leverage"])
    state.orders = {row.order_id: row for row in _each(VenueOrder, stored["orders"])}
    state.working = {key: row for key, row in state.orders.items() if row.status.open}
    state.links = {(InstrumentKind(kind), link): order_id for kind, link, order_id in stored["links"]}
    state.executions = _each(Execution, stored["executions"])
    state.sequence, state.order_count = stored["sequence"], stored["order_count"]
    state.shift = decode(ShiftFigures, stored["shift"])
    state.market.shocks = _each(ActiveShock, stored["shocks"])
    for key, side, taken in stored["consumed"]:
        state.books[InstrumentId(key)].consumed[Side(side)] = decode(Consumed, taken)
    shown = [(decode(BookView, view), until) for view, until in stored["frozen_books"]]
    state.frozen_books = {view.instrument_id: (view, until) for view, until in shown}
    state.fill_limits = {InstrumentId(key): Decimal(text) for key, text in stored["fill_limits"].items()}
    state.rejections = {
        InstrumentId(key): [(code, message) for code, message in waiting]
        for key, waiting in stored["rejections"].items()
    }
    state.next_margin_check_ns = stored["next_margin_check_ns"]
    state.liquidating = stored["liquidating"]
    ledger.touched.clear()
    state.moved.clear()
    state.outbox.clear()
    state.forget_prices()


def _each(kind: type[T], rows: list[Json]) -> list[T]:
    return [decode(kind, row) for row in rows]


def encode(value: object) -> Json:
    """Decimals as text, dataclasses as objects, tuples as lists."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, StrEnum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return value


def decode(kind: type[T], stored: Json) -> T:
    """The value of this type that `encode` wrote."""
    value: T = _decoder(kind)(stored)
    return value


def _decoder(kind: Any) -> Callable[[Json], Any]:
    return _cached_decoder(kind)


@lru_cache(maxsize=256)
def _cached_decoder(kind: Any) -> Callable[[Json], Any]:
    """How to read one type: dataclass, Decimal, enum, tuple, mapping, optional, or a plain JSON value."""
    kind = getattr(kind, "__supertype__", kind)
    origin = get_origin(kind)
    if origin in (UnionType, Union):
        return _optional(next(arm for arm in get_args(kind) if arm is not type(None)))
    if origin is tuple:
        return _tuple(get_args(kind))
    if origin is not None and issubclass(origin, Mapping):
        value = _decoder(get_args(kind)[1])
        return lambda stored: {key: value(item) for key, item in stored.items()}
    if is_dataclass(kind):
        return _dataclass(kind)
    if kind is Decimal or issubclass(kind, StrEnum):
        return lambda stored: kind(stored)
    return lambda stored: stored


def _optional(arm: Any) -> Callable[[Json], Any]:
    read = _decoder(arm)
    return lambda stored: None if stored is None else read(stored)


def _tuple(arms: tuple[Any, ...]) -> Callable[[Json], Any]:
    if len(arms) == 2 and arms[1] is Ellipsis:
        item = _decoder(arms[0])
        return lambda stored: tuple(item(part) for part in stored)
    reads = [_decoder(arm) for arm in arms]
    return lambda stored: tuple(read(part) for read, part in zip(reads, stored, strict=True))


def _dataclass(kind: Any) -> Callable[[Json], Any]:
    hints = get_type_hints(kind)
    reads = {field.name: _decoder(hints[field.name]) for field in fields(kind)}
    return lambda stored: kind(**{name: read(stored[name]) for name, read in reads.items()})
