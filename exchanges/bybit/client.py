"""The raw client: Bybit v5 endpoints one to one, rows as sent. Signs, pages, and reads the envelope.

Raises VenueError only. What a code proves is decided in `codes`; what rows mean, in the `parse` modules.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from exchanges.bybit import codes
from exchanges.bybit.server_time import ServerTime, TimeSample, measure
from exchanges.bybit.sign import ApiKey, rest_headers
from exchanges.errors import unreadable
from exchanges.fields import Row, decode, integer, mapping, rows, text
from exchanges.rest import HttpReply, RestClient
from portfolio.core.decimals import parse_integer
from portfolio.core.errors import Effect, NumberError, VenueError
from portfolio.ports import Clocks

#: Statuses with which the venue refuses before it looks (docs/v5/error). Everything else that is not 200 may
#: come from something in between, after the venue acted.
_REFUSED_STATUSES = (400, 401, 403, 404)
#: Window of reads, which have no deadline of their own.
READ_WINDOW_MS = 5000
#: Query parameters in the order of the wire.
Params = Mapping[str, str | int]
#: More pages than any account or market here has: a cursor that never ends is the venue's bug, not our loop.
PAGES_MAX = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """An envelope with retCode 0."""

    result: Row
    extra: Row
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LimitSeen:
    """The rate-limit headers of one answer; the reset is in ms on the venue's clock."""

    limit: int
    remaining: int
    reset_ms: int


class BybitClient:
    """One account's REST access."""

    def __init__(self, rest: RestClient, key: ApiKey, clocks: Clocks, server_time: ServerTime) -> None:
        self._rest = rest
        self._key = key
        self._clocks = clocks
        self.server_time = server_time

    # --- envelope -----------------------------------------------------------------------------------------

    async def get(self, path: str, params: Params, *, signed: bool = True) -> Answer:
        """One GET. Values go on the wire as given, cursors included: they arrive already encoded."""
        query = "&".join(f"{name}={value}" for name, value in params.items())
        headers = self._headers(query.encode(), READ_WINDOW_MS) if signed else None
        return self._read(f"GET {path}", await self._rest.request("GET", path, query=query, headers=headers))

    async def post(
        self, path: str, body: Mapping[str, object], *, recv_window_ms: int = READ_WINDOW_MS
    ) -> Answer:
        """One POST; the venue refuses it when it arrives after the window."""
        payload = json.dumps(body, separators=(",", ":")).encode()
        headers = self._headers(payload, recv_window_ms) | {"Content-Type": "application/json"}
        return self._read(
            f"POST {path}", await self._rest.request("POST", path, body=payload, headers=headers)
        )

    async def pages(self, path: str, params: Params, *, signed: bool = True) -> tuple[Row, ...]:
        """Rows of every page of a cursor list."""
        found: list[Row] = []
        cursor = ""
        for _ in range(PAGES_MAX):
            page = await self.get(path, {**params, "cursor": cursor} if cursor else params, signed=signed)
            found.extend(rows(page.result, "list"))
            cursor = text(page.result, "nextPageCursor") if "nextPageCursor" in page.result else ""
            if not cursor:
                return tuple(found)
        raise unreadable(f"GET {path}", "nextPageCursor", f"{PAGES_MAX} pages without an end")

    def stamp_ms(self) -> int:
        """A timestamp that is not ahead of the venue's clock."""
        return self.server_time.earliest_ns(self._clocks.wire_ns(), self._clocks.monotonic_ns()) // 1_000_000

    def _headers(self, payload: bytes, recv_window_ms: int) -> dict[str, str]:
        return rest_headers(
            self._key, timestamp_ms=self.stamp_ms(), recv_window_ms=recv_window_ms, payload=payload
        )

    def _read(self, what: str, reply: HttpReply) -> Answer:
        if reply.status != 200:
            raise _status_error(what, reply.status)
        envelope = decode(reply.body, what)
        code = str(envelope.get("retCode"))
        if code != codes.OK:
            if code == codes.CLOCK:
                self.server_time.forget()
            raise code_error(what, code, str(envelope.get("retMsg")), limit_seen(reply.headers))
        extra = envelope.get("retExtInfo")
        # "{}" as a string on a few spot-margin pages, absent on others.
        return Answer(
            mapping(envelope, "result") if "result" in envelope else {},
            extra if isinstance(extra, dict) else {},
            reply.headers,
        )

    # --- endpoints ----------------------------------------------------------------------------------------

    async def time_samples(self, count: int = 3) -> tuple[TimeSample, ...]:
        """Measure the venue's clock a few times."""
        samples: list[TimeSample] = []
        for _ in range(count):
            sent_wire, sent = self._clocks.wire_ns(), self._clocks.monotonic_ns()
            answer = await self.get("/v5/market/time", {}, signed=False)
            samples.append(
                measure(
                    sent_wire_ns=sent_wire,
                    server_ns=integer(answer.result, "timeNano"),
                    sent_monotonic_ns=sent,
                    answered_monotonic_ns=self._clocks.monotonic_ns(),
                )
            )
        return tuple(samples)

    async def instruments(self, category: str) -> tuple[Row, ...]:
        """Every instrument of a category that trades now."""
        limit: Params = {"limit": 1000} if category == "linear" else {}
        return await self.pages("/v5/market/instruments-info", {"category": category, **limit}, signed=False)

    async def tickers(self, category: str) -> tuple[Row, ...]:
        """Tickers of a whole category."""
        return rows(
            (await self.get("/v5/market/tickers", {"category": category}, signed=False)).result, "list"
        )

    async def risk_limits(self, symbol: str | None) -> tuple[Row, ...]:
        """Position tiers of one symbol, or of all (in pages of 15 symbols)."""
        params: Params = {"category": "linear", **({"symbol": symbol} if symbol else {})}
        return await self.pages("/v5/market/risk-limit", params, signed=False)

    async def funding_history(self, symbol: str, start_ms: int, end_ms: int) -> Row:
        """At most 200 settled rates, newest first."""
        params: Params = {"category": "linear", "symbol": symbol, "startTime": start_ms, "endTime": end_ms}
        return (await self.get("/v5/market/funding/history", {**params, "limit": 200}, signed=False)).result

    async def kline(self, category: str, symbol: str, minutes: int, start_ms: int, end_ms: int) -> Row:
        """At most 1000 candles by start time, newest first."""
        params: Params = {"category": category, "symbol": symbol, "interval": minutes, "start": start_ms}
        answer = await self.get("/v5/market/kline", {**params, "end": end_ms, "limit": 1000}, signed=False)
        return answer.result

    async def key_info(self) -> Row:
        """user/query-api."""
        return (await self.get("/v5/user/query-api", {})).result

    async def account_info(self) -> Row:
        """account/info."""
        return (await self.get("/v5/account/info", {})).result

    async def wallet(self) -> Row:
        """The unified account of wallet-balance."""
        found = rows(
            (await self.get("/v5/account/wallet-balance", {"accountType": "UNIFIED"})).result, "list"
        )
        if len(found) != 1:
            raise unreadable("GET /v5/account/wallet-balance", "list", f"{len(found)} accounts")
        return found[0]

    async def positions(self) -> tuple[Row, ...]:
        """Open USDT positions."""
        params: Params = {"category": "linear", "settleCoin": "USDT", "limit": 200}
        return await self.pages("/v5/position/list", params)

    async def open_orders(self, category: str) -> tuple[Row, ...]:
        """Working orders of a category."""
        settle = {"settleCoin": "USDT"} if category == "linear" else {}
        return await self.pages("/v5/order/realtime", {"category": category, **settle, "limit": 50})

    async def order_by_link(self, path: str, category: str, symbol: str, link: str) -> tuple[Row, ...]:
        """An order by our id from order/realtime or order/history."""
        params: Params = {"category": category, "symbol": symbol, "orderLinkId": link}
        return await self.pages(path, params)

    async def pre_check(self, item: Mapping[str, object]) -> Row:
        """The account's rates without and with one perpetual order, which is not placed."""
        return (await self.post("/v5/order/pre-check", {"category": "linear", **item})).result

    async def executions_of(self, category: str, symbol: str, link: str) -> tuple[Row, ...]:
        """Executions of one order by our id."""
        params: Params = {"category": category, "symbol": symbol, "orderLinkId": link, "limit": 100}
        return await self.pages("/v5/execution/list", params)

    async def executions(self, category: str, start_ms: int, end_ms: int) -> tuple[Row, ...]:
        """Executions of a category in a window of at most 7 days, newest first."""
        params: Params = {"category": category, "startTime": start_ms, "endTime": end_ms, "limit": 100}
        return await self.pages("/v5/execution/list", params)

    async def transactions(self, start_ms: int, end_ms: int) -> tuple[Row, ...]:
        """The cash ledger in a window of at most 7 days, newest first."""
        params: Params = {"accountType": "UNIFIED", "startTime": start_ms, "endTime": end_ms, "limit": 50}
        return await self.pages("/v5/account/transaction-log", params)

    async def fee_rates(self, category: str) -> tuple[Row, ...]:
        """This account's fee rates of a category."""
        return rows((await self.get("/v5/account/fee-rate", {"category": category})).result, "list")

    async def collateral_info(self) -> Row:
        """Switches, borrow rates and limits of every coin."""
        return (await self.get("/v5/account/collateral-info", {})).result

    async def collateral_ratios(self) -> Row:
        """Tiered collateral ratios of every coin."""
        return (await self.get("/v5/spot-margin-trade/collateral", {}, signed=False)).result

    async def borrow_tiers(self) -> Row:
        """Margin tiers of borrowing, every coin."""
        return (await self.get("/v5/spot-margin-trade/position-tiers", {})).result

    async def spot_margin_state(self) -> Row:
        """Whether spot margin is on, and its leverage."""
        return (await self.get("/v5/spot-margin-trade/state", {})).result

    async def set_spot_leverage(self, leverage: str) -> None:
        """Leverage of borrowing for the whole account, "2" to "10"."""
        await self.post("/v5/spot-margin-trade/set-leverage", {"leverage": leverage})

    async def set_leverage(self, symbol: str, leverage: str) -> None:
        """Leverage of one perpetual; already being so is fine."""
        body = {"category": "linear", "symbol": symbol, "buyLeverage": leverage, "sellLeverage": leverage}
        try:
            await self.post("/v5/position/set-leverage", body)
        except VenueError as error:
            if error.venue_code not in codes.UNCHANGED:
                raise

    async def repay(self, coin: str, amount: str | None, recv_window_ms: int) -> str:
        """no-convert-repay: its resultStatus, P (processing), SU (success) or FA (failed)."""
        body = {"coin": coin} if amount is None else {"coin": coin, "amount": amount}
        answer = await self.post("/v5/account/no-convert-repay", body, recv_window_ms=recv_window_ms)
        return text(answer.result, "resultStatus")


def code_error(what: str, code: str, message: str, limits: LimitSeen | None = None) -> VenueError:
    """The error of a non-zero retCode. A message of the venue is data: shown in quotes, cut."""
    waits = code == codes.RATE_LIMITED and limits is not None
    return VenueError(
        f'{what}: the venue answered {code} "{message[:200]}".',
        effect=codes.effect_of(code),
        venue_code=code,
        retry_after_ns=None if not waits or limits is None else limits.reset_ms * 1_000_000,
        next_step=_NEXT_STEPS.get(code, ""),
    )


_NEXT_STEPS = {
    "10003": "Check that the key belongs to this environment (paper, testnet or live).",
    "10004": "Check the secret.",
    "10005": "Give the key trading rights for spot and contracts.",
    "10010": "Add this machine's address to the key, or remove the binding.",
    "10002": "The clock is being synchronised; send again.",
    "10006": "Wait for the limit's reset.",
}


def _status_error(what: str, status: int) -> VenueError:
    refused = status in _REFUSED_STATUSES
    return VenueError(
        f"{what}: HTTP {status}.",
        effect=Effect.REJECTED if refused else Effect.UNKNOWN,
        venue_code=f"http_{status}",
        next_step="Stop for ten minutes: the address is over its limit or not served."
        if status == 403
        else "",
    )


def limit_seen(headers: Mapping[str, str]) -> LimitSeen | None:
    """The three X-Bapi-Limit headers (names in lower case), when they are all there."""
    values = [
        headers.get(name, "")
        for name in ("x-bapi-limit", "x-bapi-limit-status", "x-bapi-limit-reset-timestamp")
    ]
    try:
        numbers = [parse_integer(value) for value in values]
    except NumberError:
        return None
    return LimitSeen(*numbers) if min(numbers) >= 0 else None
