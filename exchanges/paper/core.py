"""The paper venue without I/O: one account, its orders, positions, coins and debts over replayed prices.

This is the public interface; every time is a market-clock integer ns and queries answer as of `now_ns`.
"""

from collections.abc import Mapping
from typing import Protocol

from decimal import Decimal

from exchanges.paper.commands import Command, Reply
from exchanges.paper.config import VenueConfig
from exchanges.paper.rows import (
    BookView,
    Candle,
    CoinRow,
    Execution,
    LedgerRow,
    Notice,
    PositionRow,
    Ticker,
    VenueOrder,
)
from portfolio.core.account import MarginFigures
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.margin.state import MarginState
from portfolio.core.market import Settlement
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import RiskTables


class VenueCore(Protocol):  # becomes a class: VenueCore(config, replay, *, seed)
    config: VenueConfig
    now_ns: int
    ended: bool

    def handle(self, command: Command, at: int) -> Reply:
        """Advance to `at`, then do it. What follows from it (fills, ...) comes out of the next `advance`."""
        ...

    def advance(self, to: int) -> tuple[Notice, ...]:
        """Let the market run to `to` (never back) and hand over everything noticed since the last call."""
        ...

    def next_due(self) -> int | None:
        """Market time of the next thing that happens by itself; None after the end of data."""
        ...

    def instruments(self) -> tuple[Instrument, ...]: ...
    def instrument(self, instrument_id: InstrumentId) -> Instrument: ...
    def tables(self, seen_wire_ns: int) -> RiskTables: ...
    def book(self, instrument_id: InstrumentId, depth: int | None = None) -> BookView: ...
    def ticker(self, instrument_id: InstrumentId) -> Ticker: ...
    def usd_price(self, coin: Coin) -> Decimal: ...
    def candles(
        self, instrument_id: InstrumentId, interval_ns: int, start_ns: int, end_ns: int, *, of: str = "last"
    ) -> tuple[Candle, ...]:
        """`of`: last, mark or index. Ascending, complete or running at now."""
        ...

    def settlements(
        self, instrument_id: InstrumentId, since_ns: int, until_ns: int | None = None
    ) -> tuple[Settlement, ...]: ...
    def coins(self, every: bool = False) -> tuple[CoinRow, ...]:
        """Coins with any balance or debt; all listed ones with `every`."""
        ...

    def positions(self) -> tuple[PositionRow, ...]:
        """Open ones."""
        ...

    def position(self, instrument_id: InstrumentId) -> PositionRow: ...
    def figures(self) -> MarginFigures: ...
    def margin_state(self) -> MarginState: ...
    def open_orders(self, kind: InstrumentKind | None = None) -> tuple[VenueOrder, ...]: ...
    def closed_orders(self, kind: InstrumentKind | None = None) -> tuple[VenueOrder, ...]:
        """Ascending by update."""
        ...

    def order(
        self, instrument_id: InstrumentId, *, order_link_id: str = "", order_id: str = ""
    ) -> VenueOrder | None: ...
    def executions(self, since_ns: int = 0) -> tuple[Execution, ...]: ...
    def ledger(self, since_ns: int = 0) -> tuple[LedgerRow, ...]: ...
    def leverage(self, instrument_id: InstrumentId) -> Decimal: ...
    def liquidation_order(self) -> Mapping[Coin, int]: ...
    def dump(self) -> dict[str, object]:
        """JSON-able state."""
        ...

    def load(self, state: Mapping[str, object]) -> None: ...
