"""Everything known of one account now: a state holder that venue events mutate and everybody else reads.

No I/O and no waiting except `changed`. Only the bookkeeper's task applies events; readers run in the same
event loop and copy what they take across an `await`. Invariants:

- What is unknown raises `MissingDataError` or reads None; it is never zero.
- A private update older than what is known is ignored, so that reordering cannot turn time back.
- After a `Gap` the account counts as never seen until the next `Reset`; prices from before a gap of a public
  stream count as never seen until newer ones arrive.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType

import anyio

from portfolio.core.account import AccountSnapshot, Balance, MarginFigures, Position
from portfolio.core.decimals import ZERO
from portfolio.core.errors import MissingDataError, UnknownNameError
from portfolio.core.events import (
    BalanceUpdate,
    EndOfData,
    FillUpdate,
    Gap,
    OrderUpdate,
    PositionUpdate,
    RateLimitUpdate,
    Reset,
    VenueEvent,
)
from portfolio.core.freshness import Ages, stale_inputs
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.limits import Freshness
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.uncounted import uncounted_coins, without_uncounted
from portfolio.core.market import CoinPrice, FundingOutlook, Mark, Quote
from portfolio.core.names import AccountId, Coin, InstrumentId, PairId, VenueOrderId
from portfolio.core.orders import OrderState
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.risk import LeveragePolicy, RiskTables
from portfolio.core.table_changes import TableChange
from portfolio.market_view import MarketView
from portfolio.ports import Clocks, MarketSnapshot

#: Streams whose names start with this feed prices only; every other one is taken to feed the account.
_PUBLIC = "public"
#: Closed orders remembered so that a late "working" report cannot bring one back.
_CLOSED_MAX = 2000
_NEVER = -1


class AccountView:
    """The latest state of one account and its markets. See the module for its invariants."""

    def __init__(
        self,
        *,
        account: AccountId,
        instruments: Mapping[InstrumentId, Instrument],
        pairs: Mapping[PairId, PairSpec],
        clocks: Clocks,
        policy: LeveragePolicy,
    ) -> None:
        self.account = account
        self.market = MarketView(instruments)
        self.instruments = self.market.instruments
        self.pairs: Mapping[PairId, PairSpec] = MappingProxyType(dict(pairs))
        self.policy = policy
        self.tables: RiskTables | None = None
        #: The last change of the tables; None while there was none.
        self.tables_changed: TableChange | None = None
        #: When the last reading of the venue's cash ledger began that the journal has whole, wire clock.
        self.ledger_read_wire_ns: int | None = None
        #: Counts applied events; compare two reads to learn whether anything happened between them.
        self.version = 0
        #: The venue reached the end of its history: no newer price will come.
        self.ended = False
        self._clocks = clocks
        self._treasury: dict[Coin, Decimal] = {}
        self._base: AccountSnapshot | None = None
        self._built: AccountSnapshot | None = None
        self._balances: dict[Coin, tuple[Balance, int]] = {}
        self._positions: dict[InstrumentId, tuple[Position | None, int]] = {}
        self._orders: dict[VenueOrderId, OrderState] = {}
        self._closed: OrderedDict[VenueOrderId, None] = OrderedDict()
        self._figures: MarginFigures | None = None
        self._account_seen_ns: int | None = None
        self._figures_seen_ns: int | None = None
        self._event_market_ns = 0
        #: Market time of the last full read: what it did not name did not exist then.
        self._read_market_ns = 0
        self._doubted = True
        self._waiter: anyio.Event | None = None

    # --- what happens to it -------------------------------------------------------------------------------

    def apply(self, event: VenueEvent) -> None:
        """Take in one venue event. Orders, balances and positions that are older than known are ignored."""
        match event:
            case Quote() | Mark() | CoinPrice() | FundingOutlook():
                self.market.apply(event)
            case OrderUpdate():
                self._apply_order(event.order)
            case BalanceUpdate():
                self._apply_balances(event)
            case PositionUpdate():
                self._apply_position(event)
            case Reset():
                self._apply_reset(event)
            case Gap():
                self._apply_gap(event)
            case EndOfData():
                self.ended = True
            case FillUpdate() | RateLimitUpdate():
                # Fills reach balances and positions through their own rows; limits belong to the worker.
                pass
        self._touch()

    def load_market(self, market: MarketSnapshot) -> None:
        """Take in every price of one read."""
        self.market.load(market)
        self._touch()

    def set_tables(self, tables: RiskTables, change: TableChange | None = None) -> None:
        """Replace the risk tables; `change` says what differs from those before, when something does."""
        self.tables = tables
        self.tables_changed = change or self.tables_changed
        self._touch()

    def set_treasury(self, treasury: Mapping[Coin, Decimal]) -> None:
        """Replace the coins that belong to no pair (from the journal)."""
        self._treasury = dict(treasury)
        self._touch()

    def _touch(self) -> None:
        self.version += 1
        self._built = None
        if self._waiter is not None:
            self._waiter.set()
            self._waiter = None

    def _apply_order(self, order: OrderState) -> None:
        key = order.venue_order_id
        known = self._orders.get(key)
        if key in self._closed or (known is not None and order.filled < known.filled):
            return
        if not order.status.terminal:
            self._orders[key] = order
            return
        self._orders.pop(key, None)
        self._closed[key] = None
        if len(self._closed) > _CLOSED_MAX:
            self._closed.popitem(last=False)

    def _apply_balances(self, event: BalanceUpdate) -> None:
        for row in event.balances:
            known = self._balances.get(row.coin, (None, self._read_market_ns))
            if event.event_market_ns >= known[1]:
                self._balances[row.coin] = (row, event.event_market_ns)
        if event.figures is not None and event.event_market_ns >= self._event_market_ns:
            self._figures = event.figures
            self._figures_seen_ns = event.seen_wire_ns
        self._account_event(event.event_market_ns, event.seen_wire_ns)

    def _apply_position(self, event: PositionUpdate) -> None:
        known = self._positions.get(event.instrument_id, (None, self._read_market_ns))
        if event.event_market_ns >= known[1]:
            self._positions[event.instrument_id] = (event.position, event.event_market_ns)
        self._account_event(event.event_market_ns, event.seen_wire_ns)

    def _account_event(self, event_market_ns: int, seen_wire_ns: int) -> None:
        self._event_market_ns = max(self._event_market_ns, event_market_ns)
        self._account_seen_ns = max(self._account_seen_ns or 0, seen_wire_ns)

    def _apply_reset(self, event: Reset) -> None:
        snapshot = event.snapshot
        at = snapshot.event_market_ns
        self._base = snapshot
        self._balances = {row.coin: (row, at) for row in snapshot.balances}
        self._positions = {row.instrument_id: (row, at) for row in snapshot.positions}
        self._orders = {row.venue_order_id: row for row in snapshot.orders if not row.status.terminal}
        for venue_order_id in self._orders:
            self._closed.pop(venue_order_id, None)
        self._figures = snapshot.figures
        self._event_market_ns = self._read_market_ns = at
        self._account_seen_ns = self._figures_seen_ns = snapshot.seen_wire_ns
        self._doubted = False

    def _apply_gap(self, event: Gap) -> None:
        if event.stream.startswith(_PUBLIC):
            self.market.doubt(event.seen_wire_ns)
        else:
            self._doubted = True

    # --- what it says -------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> AccountSnapshot | None:
        """The account with every update since the last full read, None before it; its age is in `ages`."""
        if self._base is None or self._figures is None:
            return None
        if self._built is None:
            self._built = replace(
                self._base,
                balances=tuple(row for row, _ in self._balances.values()),
                positions=tuple(row for row, _ in self._positions.values() if row is not None),
                orders=tuple(self._orders.values()),
                figures=self._figures,
                event_market_ns=self._event_market_ns,
                seen_wire_ns=self._account_seen_ns or self._base.seen_wire_ns,
            )
        return self._built

    @property
    def treasury(self) -> Mapping[Coin, Decimal]:
        """Coins that belong to no pair, as last set."""
        return MappingProxyType(self._treasury)

    def account_snapshot(self) -> AccountSnapshot:
        """Like `snapshot`.

        Raises:
            MissingDataError: the account was never read.
        """
        snapshot = self.snapshot
        if snapshot is None:
            raise MissingDataError(
                "The account was not read yet.", field="account", next_step="Wait for the venue."
            )
        return snapshot

    def instrument(self, instrument_id: InstrumentId) -> Instrument:
        """See `MarketView.instrument`."""
        return self.market.instrument(instrument_id)

    def quote(self, instrument_id: InstrumentId) -> Quote:
        """See `MarketView.quote`."""
        return self.market.quote(instrument_id)

    def mark(self, instrument_id: InstrumentId) -> Mark:
        """See `MarketView.mark`."""
        return self.market.mark(instrument_id)

    def coin_price(self, coin: Coin) -> CoinPrice:
        """See `MarketView.coin_price`."""
        return self.market.coin_price(coin)

    def funding(self, instrument_id: InstrumentId) -> FundingOutlook:
        """See `MarketView.funding`."""
        return self.market.funding(instrument_id)

    def reference_price(self, instrument_id: InstrumentId) -> Decimal:
        """See `MarketView.reference_price`."""
        return self.market.reference_price(instrument_id)

    def pair(self, pair_id: PairId) -> PairSpec:
        """A pair by id.

        Raises:
            UnknownNameError: this desk does not know it.
        """
        found = self.pairs.get(pair_id)
        if found is None:
            raise UnknownNameError(f"{pair_id} is not a pair of this desk.", field="pair_id")
        return found

    def signed_holding(self, instrument_id: InstrumentId) -> Decimal:
        """Base coins of one leg, signed, + long: the position; for spot wallet - debt - treasury of the coin.

        Raises:
            MissingDataError: the account was never read.
        """
        self.account_snapshot()
        instrument = self.instrument(instrument_id)
        if instrument.kind is InstrumentKind.PERPETUAL:
            position = self._positions.get(instrument_id, (None, _NEVER))[0]
            return ZERO if position is None else position.quantity
        return self._spot_net(instrument.base)

    def _spot_net(self, coin: Coin) -> Decimal:
        row = self._balances.get(coin)
        held = ZERO if row is None else row[0].wallet - row[0].spot_borrow
        return held - self._treasury.get(coin, ZERO)

    def legs(self, pair_id: PairId) -> PairLegs:
        """What the pair holds now. A leg on the wrong side counts as 0 here; the orphan rule sees it.

        Raises:
            MissingDataError: the account was never read.
        """
        pair = self.pair(pair_id)
        return PairLegs(
            pair_id=pair_id,
            long_quantity=max(ZERO, self.signed_holding(pair.long_leg)),
            short_quantity=max(ZERO, -self.signed_holding(pair.short_leg)),
        )

    def debt(self, coin: Coin) -> Decimal:
        """Coins owed from spot margin trading, >= 0.

        Raises:
            MissingDataError: the account was never read.
        """
        self.account_snapshot()
        row = self._balances.get(coin)
        return ZERO if row is None else row[0].spot_borrow

    def margin_state(self) -> MarginState:
        """The input of the margin rules.

        Raises:
            MissingDataError: the account, the risk tables, or the price of something held is missing.
        """
        snapshot = self.account_snapshot()
        if self.tables is None:
            raise MissingDataError(
                "No risk tables were fetched yet.", field="tables", next_step="Wait for the venue."
            )
        for position in snapshot.positions:
            self.mark(position.instrument_id)
        uncounted = self.uncounted()
        for balance in snapshot.balances:
            if (balance.wallet != 0 or balance.spot_borrow != 0) and balance.coin not in uncounted:
                self.coin_price(balance.coin)
        state = MarginState(
            balances=snapshot.balances,
            positions=tuple(
                replace(row, mark_price=self.mark(row.instrument_id).mark_price) for row in snapshot.positions
            ),
            orders=tuple(self._resting(snapshot.orders)),
            prices=self.market.prices(),
            tables=self.tables,
            instruments=self.instruments,
            policy=self.policy,
        )
        return without_uncounted(state, uncounted)

    def uncounted(self) -> tuple[Coin, ...]:
        """Coins held that no rule can count, see `core.margin.uncounted`; none while that is not known."""
        snapshot = self.snapshot
        if snapshot is None or self.tables is None:
            return ()
        if all(row.coin in self.tables.collateral for row in snapshot.balances):
            return ()
        legs = {leg for pair in self.pairs.values() for leg in (pair.long_leg, pair.short_leg)}
        legs |= {row.instrument_id for row in snapshot.positions}
        legs |= {row.instrument_id for row in snapshot.orders}
        known = [self.instruments[leg] for leg in legs if leg in self.instruments]
        needed = {coin for row in known for coin in (row.base, row.quote)}
        return uncounted_coins(snapshot.balances, self.tables, needed)

    def _resting(self, orders: Iterable[OrderState]) -> Iterable[RestingOrder]:
        for order in orders:
            left = order.quantity - order.filled
            if left <= 0:
                continue
            price = order.limit_price
            if price is None:
                price = self.reference_price(order.instrument_id)
            yield RestingOrder(order.instrument_id, order.side, left, price, order.reduce_only)

    # --- how old it is ------------------------------------------------------------------------------------

    def ages(self, trading: Collection[InstrumentId] = ()) -> Ages:
        """Ages of what is held, and of the instruments about to be traded with their books."""
        now = self._clocks.wire_ns()
        perpetuals = {key for key, (row, _) in self._positions.items() if row is not None}
        perpetuals |= {key for key in trading if self.instrument(key).kind is InstrumentKind.PERPETUAL}
        uncounted = self.uncounted()
        coins = [
            coin
            for coin, (row, _) in self._balances.items()
            if (row.wallet != 0 or row.spot_borrow != 0) and coin not in uncounted
        ]
        prices = self.market.seen_of_marks(perpetuals)
        prices += self.market.seen_of_quotes(trading)
        prices += self.market.seen_of_coins(coins)
        return Ages(
            account_ns=None if self._doubted else _age(now, self._account_seen_ns),
            price_ns=_oldest(now, prices),
            funding_ns=_oldest(now, self.market.seen_of_funding(perpetuals)),
            tables_ns=_age(now, None if self.tables is None else self.tables.seen_wire_ns),
            figures_ns=None if self._doubted else _age(now, self._figures_seen_ns),
        )

    def stale(self, freshness: Freshness, trading: Collection[InstrumentId] = ()) -> tuple[str, ...]:
        """Names of inputs that are missing or too old; `end_of_data` once the venue's history ended."""
        names = stale_inputs(self.ages(trading), freshness)
        return (*names, "end_of_data") if self.ended else names

    async def changed(self, since: int | None = None) -> None:
        """Wait for the next applied event; return at once when `version` already moved past `since`."""
        if since is not None and self.version > since:
            return
        if self._waiter is None:
            self._waiter = anyio.Event()
        await self._waiter.wait()


def _age(now: int, seen: int | None) -> int | None:
    return None if seen is None else max(0, now - seen)


def _oldest(now: int, seen: list[int | None]) -> int | None:
    """0 when nothing is needed; None when something needed is missing."""
    times = [moment for moment in seen if moment is not None]
    if len(times) < len(seen):
        return None
    return max((max(0, now - moment) for moment in times), default=0)
