"""The paper venue without I/O: one account, its orders, positions, coins and debts over replayed prices.

Commands go in with the market time at which they arrive; replies come out at once, and what follows from them
(fills, wallets) comes out of the next `advance`. The venue never looks at a clock: the same seed, replay,
commands and times give the same replies and notices, and it does not matter how often `advance` is called.

Promises:

1. A refused command has no effect.
2. wallet - debt of every coin = its opening balance + the sum of (change - debt) of its ledger rows, exactly.
3. A client order id works once, for ever, per kind.
4. Time never goes back; after the end of data nothing changes any more.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from exchanges.paper import account, accrual, liquidation, matching, operator_commands, risk, storage, views
from exchanges.paper.admission import admit, refuse
from exchanges.paper.bybit_tables import LIQUIDATION_ORDER, Listing
from exchanges.paper.commands import Command, PlaceOrder, Reply
from exchanges.paper.config import VenueConfig
from exchanges.paper.ledger import Entry
from exchanges.paper.pre_check import PreCheck, pre_check
from exchanges.paper.replay import Replay
from exchanges.paper.rows import (
    BookView,
    Candle,
    CoinRow,
    EndOfDataNotice,
    Execution,
    LedgerKind,
    LedgerRow,
    Notice,
    PositionNotice,
    PositionRow,
    Ticker,
    VenueOrder,
    WalletNotice,
)
from exchanges.paper.state import State
from portfolio.core.account import MarginFigures
from portfolio.core.errors import UnknownNameError
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.valuation import Valuation
from portfolio.core.market import Settlement
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import RiskTables


class VenueCore:
    """See the module. Queries answer as of `now_ns`; all times are market-clock integer ns."""

    def __init__(self, config: VenueConfig, replay: Replay, *, seed: int) -> None:
        self._state = State(config, replay, seed=seed)
        self._funding_due = accrual.funding_after(self._state, config.start_ns)
        for coin, quantity in config.balances.items():
            entry = Entry(LedgerKind.TRANSFER_IN, coin, cash_flow=quantity)
            self._state.ledger.post(entry, config.start_ns)
        self._state.ledger.touched.clear()

    @property
    def config(self) -> VenueConfig:
        """What it was started with."""
        return self._state.config

    @property
    def now_ns(self) -> int:
        """How far the market has run."""
        return self._state.now_ns

    @property
    def ended(self) -> bool:
        """The data is over: orders are refused and nothing moves."""
        return self._state.ended

    def handle(self, command: Command, at: int) -> Reply:
        """Let the market run to `at` (or stay, if it is past that), then do it."""
        self._run(at)
        state = self._state
        if state.ended:
            return refuse("10001", "The paper venue has reached the end of its data.")
        try:
            reply = self._apply(command)
        except UnknownNameError as unknown:
            return refuse("10001", f"Not supported symbols: {unknown.message}")
        self._flush()
        return reply

    def pre_check(self, command: PlaceOrder) -> PreCheck | Reply:
        """The account's rates with and without an order, as of `now_ns`; nothing is placed or changed."""
        try:
            return pre_check(self._state, command)
        except UnknownNameError as unknown:
            return refuse("10001", f"Not supported symbols: {unknown.message}")

    def advance(self, to: int) -> tuple[Notice, ...]:
        """Let the market run to `to` and hand over everything noticed since the last call, in order."""
        self._run(to)
        notices = tuple(self._state.outbox)
        self._state.outbox.clear()
        return notices

    def next_due(self) -> int | None:
        """When the next thing happens by itself; None after the end of data."""
        state = self._state
        if state.ended:
            return None
        now, grid = state.now_ns, state.config.grid_ns
        due = min(state.replay.end_ns, accrual.interest_after(now))
        if self._funding_due is not None:
            due = min(due, self._funding_due)
        if state.working:
            due = min(due, (now // grid + 1) * grid)
        if self._at_risk():
            due = min(due, max(now + 1, state.next_margin_check_ns))
        return due

    # --- the market --------------------------------------------------------------------------------------

    def instruments(self) -> tuple[Instrument, ...]:
        """Everything that is listed."""
        return tuple(listing.instrument for listing in self._state.listings.values())

    def listing(self, instrument_id: InstrumentId) -> Listing:
        """An instrument with its price limits. Raises UnknownNameError."""
        return self._state.listing(instrument_id)

    def tables(self, seen_wire_ns: int) -> RiskTables:
        """All risk tables, stamped by the reader."""
        tables = self._state.tables
        return replace(tables, seen_wire_ns=seen_wire_ns)

    def liquidation_order(self) -> Mapping[Coin, int]:
        """Rank in which the venue sells collateral by force, lowest first."""
        return LIQUIDATION_ORDER

    def book(self, instrument_id: InstrumentId, depth: int | None = None) -> BookView:
        """The book as shown. MADE."""
        return views.book(self._state, instrument_id, depth or self.config.book_levels)

    def ticker(self, instrument_id: InstrumentId, *, with_book: bool = True) -> Ticker:
        """Prices and funding outlook of one instrument; bid and ask are None `with_book` False."""
        return views.ticker(self._state, instrument_id, with_book=with_book)

    def usd_price(self, coin: Coin) -> Decimal:
        """USD price at which a coin counts."""
        return self._state.usd(coin)

    def candles(
        self, instrument_id: InstrumentId, interval_ns: int, start_ns: int, end_ns: int, *, of: str = "last"
    ) -> tuple[Candle, ...]:
        """Candles of `last`, `mark` or `index` that open in [start, end], ascending."""
        return views.candles(self._state, instrument_id, interval_ns, start_ns, end_ns, of=of)

    def settlements(
        self, instrument_id: InstrumentId, since_ns: int, until_ns: int | None = None
    ) -> tuple[Settlement, ...]:
        """Settled funding up to now, ascending, at the symbol's own times."""
        return views.settlements(self._state, instrument_id, since_ns, until_ns)

    # --- the account -------------------------------------------------------------------------------------

    def coins(self, *, every: bool = False) -> tuple[CoinRow, ...]:
        """Coins with any balance or debt; every listed one on demand."""
        state = self._state
        valued = self.valuation()
        rows = (views.coin_row(state, coin, valued) for coin in state.coins())
        return tuple(row for row in rows if every or row.balance.wallet or row.balance.spot_borrow)

    def positions(self) -> tuple[PositionRow, ...]:
        """Open positions."""
        state = self._state
        valued = self.valuation()
        return tuple(
            views.position_row(state, key, valued) for key, row in state.holdings.items() if row.quantity
        )

    def position(self, instrument_id: InstrumentId) -> PositionRow:
        """One perpetual, flat or not."""
        return views.position_row(self._state, instrument_id)

    def leverage(self, instrument_id: InstrumentId) -> Decimal:
        """The account's leverage of one perpetual."""
        return self._state.leverage(instrument_id)

    @property
    def spot_leverage(self) -> Decimal:
        """The account's spot margin leverage."""
        return self._state.spot_leverage

    def figures(self) -> MarginFigures:
        """The account's totals as the venue reports them (shifted, when the operator shifted them)."""
        return risk.reported(self._state)

    def valuation(self) -> Valuation:
        """The margin rule's full answer, unshifted."""
        return risk.value(risk.margin_state(self._state))

    def margin_state(self) -> MarginState:
        """The account in the margin rule's terms, with every price."""
        return risk.whole_margin_state(self._state)

    def open_orders(self, kind: InstrumentKind | None = None) -> tuple[VenueOrder, ...]:
        """Working orders, oldest first."""
        return self._of_kind(self._state.working, kind)

    def closed_orders(self, kind: InstrumentKind | None = None) -> tuple[VenueOrder, ...]:
        """Orders that are over, oldest first."""
        closed = {key: row for key, row in self._state.orders.items() if key not in self._state.working}
        return self._of_kind(closed, kind)

    def order(
        self, instrument_id: InstrumentId, *, order_link_id: str = "", order_id: str = ""
    ) -> VenueOrder | None:
        """One order by the venue's id, else by the client's."""
        return account.find_order(self._state, instrument_id, order_link_id=order_link_id, order_id=order_id)

    def executions(self, since_ns: int = 0) -> tuple[Execution, ...]:
        """Fills and funding payments since, ascending."""
        return tuple(row for row in self._state.executions if row.at_ns >= since_ns)

    def ledger(self, since_ns: int = 0) -> tuple[LedgerRow, ...]:
        """Ledger rows since, ascending."""
        return tuple(row for row in self._state.ledger.rows if row.at_ns >= since_ns)

    # --- persistence -------------------------------------------------------------------------------------

    def dump(self) -> dict[str, object]:
        """The state as JSON values; take it after `advance`, notices on their way are not in it."""
        return storage.dump(self._state)

    def load(self, stored: Mapping[str, object]) -> None:
        """Continue a run. Raises InputError for another uid, seed or format."""
        storage.load(self._state, stored)
        self._funding_due = accrual.funding_after(self._state, self._state.now_ns)

    # --- inside ------------------------------------------------------------------------------------------

    def _apply(self, command: Command) -> Reply:
        state = self._state
        if isinstance(command, PlaceOrder):
            return self._place(command)
        if isinstance(command, account.AccountCommand):
            return account.apply(state, command)
        reply = operator_commands.apply(state, command)
        if state.next_margin_check_ns <= state.now_ns and self._at_risk():
            liquidation.check(state)
        return reply

    def _place(self, command: PlaceOrder) -> Reply:
        state = self._state
        admitted = admit(state, command)
        if isinstance(admitted, Reply):
            return admitted
        state.keep_order(admitted)
        matching.enter(state, admitted)
        return Reply(order_id=admitted.order_id, order_link_id=admitted.order_link_id)

    def _run(self, to: int) -> None:
        """Do everything that is due up to `to`, each at its own time."""
        state = self._state
        while (due := self.next_due()) is not None and due <= to:
            state.now_ns = due
            self._do_due()
            self._flush()
        if not state.ended:
            state.now_ns = max(state.now_ns, to)

    def _do_due(self) -> None:
        state = self._state
        now = state.now_ns
        if now >= state.replay.end_ns:
            state.ended = True
            state.outbox.append(EndOfDataNotice(now))
            return
        if now == self._funding_due:
            accrual.settle_funding(state)
            self._funding_due = accrual.funding_after(state, now)
        if accrual.interest_after(now - 1) == now:
            accrual.charge_interest(state)
        if now % state.config.grid_ns == 0 and state.working:
            matching.work_resting(state)
        if now >= state.next_margin_check_ns and self._at_risk():
            liquidation.check(state)

    def _at_risk(self) -> bool:
        """Whether there is anything that margin is needed for."""
        state = self._state
        return any(row.quantity for row in state.holdings.values()) or any(
            row.spot_borrow or row.wallet < 0 for row in state.ledger.balances.values()
        )

    def _flush(self) -> None:
        """Tell the positions and coins that changed."""
        state = self._state
        if not state.moved and not state.ledger.touched:
            return
        valued = self.valuation()
        for key in sorted(state.moved):
            state.outbox.append(PositionNotice(views.position_row(state, key, valued), state.now_ns))
        if state.ledger.touched:
            rows = tuple(
                views.coin_row(state, coin, valued) for coin in state.coins() if coin in state.ledger.touched
            )
            state.outbox.append(WalletNotice(rows, risk.shifted(state, valued.figures), state.now_ns))
        state.moved.clear()
        state.ledger.touched.clear()

    def _of_kind(
        self, orders: Mapping[str, VenueOrder], kind: InstrumentKind | None
    ) -> tuple[VenueOrder, ...]:
        return tuple(
            row
            for row in orders.values()
            if kind is None or self._state.instrument(row.instrument_id).kind is kind
        )
