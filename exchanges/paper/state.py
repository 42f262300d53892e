"""Everything a paper venue remembers, and the small reads and writes that all its rules share.

The rules (admission, matching, accrual, liquidation) are functions over this state in modules of their own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from exchanges.paper.book import Book
from exchanges.paper.bybit_tables import USDT, Listing, listings, risk_tables
from exchanges.paper.commands import ShiftFigures
from exchanges.paper.config import VenueConfig
from exchanges.paper.holdings import Holding, flat
from exchanges.paper.ledger import Ledger
from exchanges.paper.market import Market
from exchanges.paper.replay import Replay, settlement_after
from exchanges.paper.rows import BookView, Execution, Notice, OrderNotice, VenueOrder
from exchanges.paper.seeded import digest
from portfolio.core.account import Balance
from portfolio.core.decimals import ZERO, round_half_even_to_step
from portfolio.core.errors import MissingDataError, UnknownNameError
from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import RiskTables

#: Executions and closed orders kept for queries; ids stay known for ever.
HISTORY_MAX = 50_000


class State:
    """One account at one venue."""

    def __init__(self, config: VenueConfig, replay: Replay, *, seed: int) -> None:
        if not replay.start_ns <= config.start_ns < replay.end_ns:
            raise MissingDataError(
                f"The replay covers {replay.start_ns} to {replay.end_ns} ns, not {config.start_ns}.",
                field="start_ns",
            )
        self.config = config
        self.seed = seed
        self.replay = replay
        self.now_ns = config.start_ns
        self.ended = False
        coins = config.coins or replay.coins
        self.listings: Mapping[InstrumentId, Listing] = listings(
            coins, {coin: _interval(replay, coin, config.start_ns) for coin in coins}, config.models
        )
        self.instruments: Mapping[InstrumentId, Instrument] = {
            key: listing.instrument for key, listing in self.listings.items()
        }
        self.market = Market(replay, seed=seed, grid_ns=config.grid_ns)
        self.books = {
            key: Book(
                listing,
                seed=seed,
                liquidity=config.liquidity,
                grid_ns=config.grid_ns,
                refill_ns=config.refill_ns,
            )
            for key, listing in self.listings.items()
        }
        self.tables: RiskTables = risk_tables(self.listings)
        self.ledger = Ledger()
        self.holdings: dict[InstrumentId, Holding] = {}
        self.leverages: dict[InstrumentId, Decimal] = {}
        self.spot_leverage = config.spot_leverage
        #: Open and recently closed orders by the venue's id, oldest first.
        self.orders: dict[str, VenueOrder] = {}
        #: The open ones among them, oldest first.
        self.working: dict[str, VenueOrder] = {}
        #: Client ids by kind: never forgotten, so that none is used twice.
        self.links: dict[tuple[InstrumentKind, str], str] = {}
        self.executions: list[Execution] = []
        self.sequence = 0
        self.order_count = 0
        self.shift = ShiftFigures()
        self.frozen_books: dict[InstrumentId, tuple[BookView, int]] = {}
        self.fill_limits: dict[InstrumentId, Decimal] = {}
        self.rejections: dict[InstrumentId, list[tuple[str, str]]] = {}
        self.next_margin_check_ns = config.start_ns
        self.liquidating = False
        self.outbox: list[Notice] = []
        self.moved: set[InstrumentId] = set()
        self._middles: dict[InstrumentId, tuple[int, Decimal]] = {}

    # --- what exists -------------------------------------------------------------------------------------

    def listing(self, key: InstrumentId) -> Listing:
        """Raises UnknownNameError."""
        found = self.listings.get(key)
        if found is None:
            raise UnknownNameError(f"{key} is not listed here.", field="instrument_id")
        return found

    def instrument(self, key: InstrumentId) -> Instrument:
        """Raises UnknownNameError."""
        return self.listing(key).instrument

    def coins(self) -> tuple[Coin, ...]:
        """USDT and every listed base coin."""
        return (USDT, *dict.fromkeys(listing.instrument.base for listing in self.listings.values()))

    def perpetual(self, coin: Coin) -> InstrumentId:
        """The coin's perpetual."""
        return instrument_id(self.config.venue, InstrumentKind.PERPETUAL, f"{coin}{USDT}")

    # --- prices now --------------------------------------------------------------------------------------

    def middle(self, key: InstrumentId) -> Decimal:
        """Middle of the made book, unrounded."""
        known = self._middles.get(key)
        if known is None or known[0] != self.now_ns:
            instrument = self.instrument(key)
            price = self.market.middle(instrument.base, instrument.kind, self.now_ns)
            known = self._middles[key] = (self.now_ns, price)
        return known[1]

    def forget_prices(self) -> None:
        """After a shock: prices of this moment changed."""
        self._middles.clear()

    def mark(self, key: InstrumentId) -> Decimal:
        """Mark price of a perpetual, rounded to its tick."""
        instrument = self.instrument(key)
        return _rounded(self.market.mark(instrument.base, self.now_ns), instrument)

    def index(self, key: InstrumentId) -> Decimal:
        """Index price of an instrument's base coin, rounded to the instrument's tick."""
        instrument = self.instrument(key)
        return _rounded(self.market.index(instrument.base, self.now_ns), instrument)

    def usd(self, coin: Coin) -> Decimal:
        """USD price for collateral and debt. USDT is 1: the archive has no other figure."""
        if coin == USDT:
            return Decimal(1)
        return self.index(self.perpetual(coin))

    # --- account -----------------------------------------------------------------------------------------

    def holding(self, key: InstrumentId) -> Holding:
        """The position, open or flat."""
        return self.holdings.get(key) or flat(key)

    def leverage(self, key: InstrumentId) -> Decimal:
        """The account's setting for a perpetual, never above its lowest tier's maximum."""
        chosen = self.leverages.get(key, self.config.perpetual_leverage)
        return min(chosen, self.tables.positions[key][0].leverage_max)

    def locked(self, coin: Coin, *, besides: str = "") -> Decimal:
        """Coins reserved by working spot orders, without one of them."""
        return sum(
            (
                order.locked
                for order in self.working.values()
                if order.locked_coin == coin and order.order_id != besides
            ),
            ZERO,
        )

    def free(self, coin: Coin, *, besides: str = "") -> Decimal:
        """Coins that a spot order may use without borrowing, >= 0."""
        return max(ZERO, self.ledger.wallet(coin) - self.locked(coin, besides=besides))

    def owed(self, coin: Coin) -> Decimal:
        """Everything owed in a coin: spot borrow plus what losses pushed below zero (reference 2.4.1)."""
        return self.ledger.debt(coin) + max(ZERO, -(self.ledger.wallet(coin) + self.unrealised(coin)))

    def unrealised(self, coin: Coin) -> Decimal:
        """Unrealised PnL of the perpetuals that settle in a coin, at mark prices."""
        total = ZERO
        for key, holding in self.holdings.items():
            if holding.quantity and self.instrument(key).quote == coin:
                total += holding.quantity * self.mark(key) - holding.cost
        return total

    def balance(self, coin: Coin) -> Balance:
        """The coin's row with its locks."""
        return replace(self.ledger.balance(coin), locked=self.locked(coin))

    def margin_check_due(self, at_ns: int) -> None:
        """Look at the margin no later than at this moment."""
        self.next_margin_check_ns = min(self.next_margin_check_ns, at_ns)

    # --- writes ------------------------------------------------------------------------------------------

    def keep_order(self, order: VenueOrder, *, tell: bool = True) -> None:
        """Store a new state of an order and, usually, tell it."""
        self.orders[order.order_id] = order
        if order.status.open:
            self.working[order.order_id] = order
        else:
            self.working.pop(order.order_id, None)
        if order.order_link_id:
            self.links.setdefault(
                (self.instrument(order.instrument_id).kind, order.order_link_id), order.order_id
            )
        if order.locked_coin:
            self.ledger.touched.add(order.locked_coin)
        if tell:
            self.outbox.append(OrderNotice(order, self.now_ns))
        if len(self.orders) > HISTORY_MAX:
            _forget(self.orders, [key for key in self.orders if key not in self.working])

    def keep_execution(self, execution: Execution) -> None:
        """Store an execution."""
        self.executions.append(execution)
        if len(self.executions) > HISTORY_MAX:
            del self.executions[: HISTORY_MAX // 10]

    def keep_holding(self, holding: Holding) -> None:
        """Store a position and tell it with the next flush."""
        self.holdings[holding.instrument_id] = holding
        self.moved.add(holding.instrument_id)

    def next_sequence(self) -> int:
        """Number of the next execution."""
        self.sequence += 1
        return self.sequence

    def next_order_id(self, kind: InstrumentKind) -> str:
        """A UUID for perpetuals, nineteen digits for spot, as the venue's look; from the seed and a count."""
        self.order_count += 1
        return self._identity(kind, "order", self.order_count)

    def execution_id(self, kind: InstrumentKind, sequence: int) -> str:
        """Same looks as an order id."""
        return self._identity(kind, "execution", sequence)

    def _identity(self, kind: InstrumentKind, what: str, number: int) -> str:
        if kind is InstrumentKind.SPOT:
            return str(2_000_000_000_000_000_000 + (1 if what == "order" else 5) * 10**17 + number)
        return str(UUID(bytes=digest(self.seed, self.config.uid, what, number, size=16), version=4))


def _interval(replay: Replay, coin: Coin, at_ns: int) -> int | None:
    point = settlement_after(replay, coin, at_ns)
    return None if point is None else point.interval_minutes


def _rounded(price: Decimal, instrument: Instrument) -> Decimal:
    return max(instrument.tick_size, round_half_even_to_step(price, instrument.tick_size))


def _forget(orders: dict[str, VenueOrder], closed: Iterable[str]) -> None:
    for key in list(closed)[: HISTORY_MAX // 10]:
        del orders[key]
