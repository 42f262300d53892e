"""The operator's door to a paper venue: shocks, tables, forced reductions, faults, and what is inside.

Separate from the venue's own paths and opened only by the API secret, so that nothing that merely trades can
move the market it trades on.
"""

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from exchanges.paper.bybit.venue import PaperVenue
from exchanges.paper.bybit.wire import Call, Refusal
from exchanges.paper.commands import (
    AutoDeleverage,
    ChangeTables,
    Command,
    FreezeBook,
    LimitNextFill,
    RejectNext,
    ShiftFigures,
    Shock,
    Transfer,
)
from portfolio.core.decimals import clamp, parse
from portfolio.core.errors import CarrydeskError
from portfolio.core.names import Coin

SECRET_HEADER = "x-paper-secret"  # noqa: S105 - the name of a header
MS_NS = 1_000_000


async def control(venue: PaperVenue, request: Request) -> Response:
    """One operator request: /paper/{action} with a JSON object."""
    given = request.headers.get(SECRET_HEADER, "")
    if not hmac.compare_digest(given.encode(), venue.key.api_secret.encode()):
        return JSONResponse({"ok": False, "message": "The secret is wrong."}, status_code=403)
    action = request.path_params["action"]
    try:
        result = _act(venue, action, _object(await request.body()))
    except Refusal as refusal:
        return JSONResponse({"ok": False, "message": refusal.message, "code": refusal.code}, 400)
    except (CarrydeskError, ValueError) as error:
        return JSONResponse({"ok": False, "message": str(error)}, status_code=400)
    return JSONResponse({"ok": True, **result})


def _object(body: bytes) -> dict[str, object]:
    values: object = json.loads(body or b"{}")
    if not isinstance(values, dict):
        raise Refusal("10001", "The body is not an object.")
    return values


def _act(venue: PaperVenue, action: str, values: Mapping[str, object]) -> dict[str, object]:
    if action in _COMMANDS:
        reply = venue.handle(_COMMANDS[action](venue, Call(values)))
        if not reply.ok:
            raise Refusal(reply.code, reply.message)
        return {}
    if action in _DEEDS:
        return _DEEDS[action](venue, Call(values))
    raise Refusal("404", f"There is no {action}; there are {', '.join(sorted({*_COMMANDS, *_DEEDS}))}.")


# --- commands of the core ---------------------------------------------------------------------------------


def _factors(call: Call, name: str) -> dict[Coin, Decimal]:
    found = call.values.get(name, {})
    if not isinstance(found, dict):
        raise Refusal("10001", f"{name} is not an object of coin: number.")
    return {Coin(coin): parse(str(factor), name) for coin, factor in found.items()}


def _shock(venue: PaperVenue, call: Call) -> Command:
    """{multipliers: {SOL: "0.8"}, premium: {SOL: "0.01"}, ramp_ms: market ms}; "*" is every coin."""
    multipliers = _factors(call, "multipliers")
    every = multipliers.pop(Coin("*"), None)
    if every is not None:
        coins = {one.base for one in venue.core.instruments()}
        multipliers = dict.fromkeys(coins, every) | multipliers
    return Shock(multipliers, _factors(call, "premium"), call.integer("ramp_ms", 0) * MS_NS)


def _ratio(venue: PaperVenue, call: Call) -> Command:
    """{coin: SOL, shift: "-0.05"}: every collateral ratio of the coin moves by it, within 0 and 1."""
    coin, shift = Coin(call.text("coin")), call.number("shift")
    table = venue.core.tables(0).collateral.get(coin)
    if table is None:
        raise Refusal("10001", f"{coin} has no collateral table.")
    tiers = tuple(
        replace(tier, ratio=clamp(tier.ratio + shift, Decimal(0), Decimal(1))) for tier in table.tiers
    )
    return ChangeTables(collateral=(replace(table, tiers=tiers),))


def _borrow_rate(venue: PaperVenue, call: Call) -> Command:
    """{coin: USDT, factor: "3"}: the hourly borrow rate is multiplied."""
    coin = Coin(call.text("coin"))
    table = venue.core.tables(0).borrow.get(coin)
    if table is None:
        raise Refusal("10001", f"{coin} has no borrow table.")
    return ChangeTables(borrow=(replace(table, hourly_rate=table.hourly_rate * call.number("factor")),))


_COMMANDS: Mapping[str, Callable[[PaperVenue, Call], Command]] = {
    "shock": _shock,
    "ratio": _ratio,
    "borrow-rate": _borrow_rate,
    "adl": lambda _, call: AutoDeleverage(call.instrument(), call.number("fraction")),
    "figures": lambda _, call: ShiftFigures(
        call.number_or_none("maintenance") or Decimal(1), call.number_or_none("equity") or Decimal(1)
    ),
    "transfer": lambda _, call: Transfer(Coin(call.text("coin")), call.number("quantity")),
    "freeze-book": lambda _, call: FreezeBook(call.instrument(), call.integer("ms", 0) * MS_NS),
    "limit-fill": lambda _, call: LimitNextFill(call.instrument(), call.number("share")),
    "reject": lambda _, call: RejectNext(
        call.instrument(), call.text("code"), call.text("message", "planned"), call.integer("count", 1)
    ),
}


# --- what concerns the wire -------------------------------------------------------------------------------


def _faults(venue: PaperVenue, call: Call) -> dict[str, object]:
    """{faults: [rules]}: see faults.py."""
    rows = call.values.get("faults")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refusal("10001", "faults is not a list of rules.")
    venue.faults.add(rows)
    return {}


def _disconnect(venue: PaperVenue, call: Call) -> dict[str, object]:
    """{socket: public | private | trade}."""
    which = call.text("socket")
    if which not in ("public", "private", "trade"):
        raise Refusal("10001", "socket is public, private or trade.")
    return {"dropped": venue.drop(which)}


def _tear(venue: PaperVenue, call: Call) -> dict[str, object]:
    """{category, symbol}: one update of that book is lost."""
    venue.tear_book(call.kind().value, call.text("symbol"))
    return {}


def _skew(venue: PaperVenue, call: Call) -> dict[str, object]:
    """{ms}: the clock that signatures are checked against is off by so much."""
    venue.clock.skew_ns = call.integer("ms", 0) * MS_NS
    return {}


def _latency(venue: PaperVenue, call: Call) -> dict[str, object]:
    """{ms}: round trip of what connects from now on, and of every REST request."""
    venue.latency_s = call.integer("ms", 0) / 1000
    return {}


def _clock(venue: PaperVenue, call: Call) -> dict[str, object]:
    clock = venue.clock
    return {
        "uid": venue.core.config.uid,
        "start_market_ns": clock.start_market_ns,
        "start_wire_ns": clock.start_wire_ns,
        "speed": str(clock.speed),
        "market_ns": clock.market_ns(),
        "wire_ns": clock.wire_ns(),
        "ended": venue.core.ended,
    }


def _dump(venue: PaperVenue, call: Call) -> dict[str, object]:
    return {"state": venue.now().dump()}


_DEEDS: Mapping[str, Callable[[PaperVenue, Call], dict[str, object]]] = {
    "faults": _faults,
    "disconnect": _disconnect,
    "tear-book": _tear,
    "skew": _skew,
    "latency": _latency,
    "clock": _clock,
    "dump": _dump,
}
