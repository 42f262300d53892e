"""A live account: prices tick, positions and balances change, and the totals follow without adding all again.

Every instrument's and every coin's part is computed by the functions that `value` itself uses; totals are
exact sums (see `exact`), so replacing a part leaves exactly what adding all parts anew would give. Whatever
the sequence of changes, `figures` equals a full valuation of `state`, Decimal for Decimal.

Changes are only noted; `figures` works off what they touched: one instrument, the coin it settles in, and
the open spot orders of that coin. Where `value` would raise, so does `figures`, until a change mends it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from portfolio.core.account import Balance, MarginFigures, Position
from portfolio.core.decimals import ZERO
from portfolio.core.errors import InputError
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.margin.checks import require_balance, require_order, require_position
from portfolio.core.margin.exact import exact_change, exact_sum
from portfolio.core.margin.lookups import instrument_of
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.market import Prices
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import RiskTables

#: Amounts that add up, always in the same order.
Terms = tuple[Decimal, ...]


class IncrementalRule(Protocol):
    """A margin rule taken apart: what adds up per instrument, then per coin, then over the account."""

    @property
    def coin_width(self) -> int:
        """How many terms a coin has."""
        ...

    def instrument(
        self,
        state: MarginState,
        instrument_id: InstrumentId,
        position: Position | None,
        orders: tuple[RestingOrder, ...],
    ) -> tuple[Coin, Terms]:
        """The coin that a perpetual settles in, and what position and orders add there, in that coin."""
        ...

    def coin(
        self, state: MarginState, coin: Coin, balance: Balance | None, settled: Terms | None
    ) -> tuple[Decimal, Terms] | None:
        """Net coins held and USD terms; None when nothing is held, owed or settled. `settled` is rounded."""
        ...

    def spot_order(
        self, state: MarginState, order: RestingOrder, equities: Mapping[Coin, Decimal]
    ) -> Decimal:
        """USD, >= 0: what one open spot order takes from the margin balance."""
        ...

    def figures(self, totals: Terms, spot_orders: Decimal) -> MarginFigures:
        """The figures from the exact totals of all coins and the rounded one of all open spot orders."""
        ...


class _Settled:
    """Exact totals of what settles in one coin, and how many instruments do."""

    __slots__ = ("instruments", "totals")

    def __init__(self, terms: Terms) -> None:
        self.totals = terms
        self.instruments = 1


class LiveMargin:
    """One account's margin, kept up to date. Not for several tasks at once.

    Args:
        state: The account to start from; it is copied.
        rule: The account mode's rule, taken apart.

    Raises:
        InputError: a coin has two balances or an instrument two positions.
        MissingDataError: an open order's instrument is not known.
    """

    def __init__(self, state: MarginState, rule: IncrementalRule) -> None:
        self._rule = rule
        self._balances = {row.coin: row for row in state.balances}
        self._positions = {row.instrument_id: row for row in state.positions}
        if len(self._balances) < len(state.balances) or len(self._positions) < len(state.positions):
            raise InputError("A coin has two balances, or an instrument two positions.", field="state")
        self._marks = dict(state.prices.marks)
        self._usd = dict(state.prices.usd)
        # The rule looks prices up in these two mappings, which ticks change in place.
        self._state = replace(
            state, balances=(), positions=(), orders=(), prices=Prices(self._marks, self._usd)
        )
        self._orders: dict[InstrumentId, tuple[RestingOrder, ...]] = {}
        self._spot_orders: dict[InstrumentId, tuple[RestingOrder, ...]] = {}
        for order in state.orders:
            kept = self._orders_like(order.instrument_id)
            kept[order.instrument_id] = (*kept.get(order.instrument_id, ()), order)
        self._forget()

    def _forget(self) -> None:
        """Drop everything computed."""
        self._instrument_terms: dict[InstrumentId, tuple[Coin, Terms]] = {}
        self._settled: dict[Coin, _Settled] = {}
        self._coin_terms: dict[Coin, Terms] = {}
        self._equities: dict[Coin, Decimal] = {}
        self._nothing: Terms = (ZERO,) * self._rule.coin_width
        self._totals = self._nothing
        self._spot_terms: dict[InstrumentId, Decimal] = {}
        self._spot_total = ZERO
        #: Open spot orders by the coins that they would swap.
        self._swapping: dict[Coin, set[InstrumentId]] = {}
        # Mappings for their order: errors should not depend on how names hash.
        self._stale_instruments: dict[InstrumentId, None] = dict.fromkeys((*self._positions, *self._orders))
        self._stale_coins: dict[Coin, None] = dict.fromkeys(self._balances)
        self._stale_spot: dict[InstrumentId, None] = {}
        for instrument_id in self._spot_orders:
            self._note_spot(instrument_id)

    def _orders_like(self, instrument_id: InstrumentId) -> dict[InstrumentId, tuple[RestingOrder, ...]]:
        perpetual = instrument_of(self._state, instrument_id).kind is InstrumentKind.PERPETUAL
        return self._orders if perpetual else self._spot_orders

    def _note_spot(self, instrument_id: InstrumentId) -> None:
        instrument = instrument_of(self._state, instrument_id)
        self._stale_spot[instrument_id] = None
        for coin in (instrument.base, instrument.quote):
            self._swapping.setdefault(coin, set()).add(instrument_id)

    def set_mark(self, instrument_id: InstrumentId, mark: Decimal) -> None:
        """A perpetual's mark price, in quote."""
        self._marks[instrument_id] = mark
        if instrument_id in self._positions or instrument_id in self._orders:
            self._stale_instruments[instrument_id] = None

    def set_coin_price(self, coin: Coin, usd: Decimal) -> None:
        """A coin's USD index price."""
        self._usd[coin] = usd
        self._stale_coins[coin] = None

    def set_balance(self, balance: Balance) -> None:
        """A coin's balance after a transfer, a fill, a settlement or a repayment."""
        self._balances[balance.coin] = balance
        self._stale_coins[balance.coin] = None

    def set_position(self, instrument_id: InstrumentId, position: Position | None) -> None:
        """A perpetual's position after a fill or a change of leverage; None when it is closed.

        Raises:
            InputError: the position is another instrument's.
        """
        if position is None:
            self._positions.pop(instrument_id, None)
        elif position.instrument_id != instrument_id:
            raise InputError(f"A position of {position.instrument_id} is not one of {instrument_id}.")
        else:
            self._positions[instrument_id] = position
        self._stale_instruments[instrument_id] = None

    def set_orders(self, instrument_id: InstrumentId, orders: Iterable[RestingOrder]) -> None:
        """All open orders of one instrument.

        Raises:
            InputError: one of them is another instrument's.
            MissingDataError: the instrument is not known.
        """
        rows = tuple(orders)
        if any(row.instrument_id != instrument_id for row in rows):
            raise InputError(f"Not all of these orders are of {instrument_id}.")
        kept = self._orders_like(instrument_id)
        kept[instrument_id] = rows
        if not rows:
            del kept[instrument_id]
        if kept is self._spot_orders:
            self._note_spot(instrument_id)
        else:
            self._stale_instruments[instrument_id] = None

    def set_tables(self, tables: RiskTables) -> None:
        """Risk tables as fetched again; everything is valued anew."""
        self._state = replace(self._state, tables=tables)
        self._forget()

    def set_instruments(self, instruments: Mapping[InstrumentId, Instrument]) -> None:
        """Instruments as listed now; everything is valued anew.

        Raises:
            MissingDataError: an open order's instrument is not among them; nothing has changed then.
        """
        state = replace(self._state, instruments=instruments)
        for instrument_id in (*self._orders, *self._spot_orders):
            instrument_of(state, instrument_id)
        self._state = state
        self._forget()

    def state(self) -> MarginState:
        """The account as it is now, for a full valuation."""
        orders = (*self._orders.values(), *self._spot_orders.values())
        return replace(
            self._state,
            balances=tuple(self._balances.values()),
            positions=tuple(self._positions.values()),
            orders=tuple(order for rows in orders for order in rows),
            prices=Prices(dict(self._marks), dict(self._usd)),
        )

    def figures(self) -> MarginFigures:
        """The four totals now, exactly those of a full valuation of `state`.

        Raises:
            MissingDataError: as the rule does; also SettingsError, RefusedError and NumberError.
        """
        while self._stale_instruments:
            instrument_id = next(iter(self._stale_instruments))
            self._value_instrument(instrument_id)
            del self._stale_instruments[instrument_id]
        while self._stale_coins:
            coin = next(iter(self._stale_coins))
            self._value_coin(coin)
            self._stale_spot.update(dict.fromkeys(sorted(self._swapping.get(coin, ()))))
            del self._stale_coins[coin]
        while self._stale_spot:
            instrument_id = next(iter(self._stale_spot))
            self._value_spot_orders(instrument_id)
            del self._stale_spot[instrument_id]
        return self._rule.figures(self._totals, +self._spot_total)

    def _value_instrument(self, instrument_id: InstrumentId) -> None:
        position = self._positions.get(instrument_id)
        orders = self._orders.get(instrument_id, ())
        before = self._instrument_terms.get(instrument_id)
        if position is None and not orders:
            if before is not None:
                self._settle(before[0], before[1], None)
                del self._instrument_terms[instrument_id]
            return
        if position is not None:
            require_position(position)
        for order in orders:
            require_order(order)
        after = self._rule.instrument(self._state, instrument_id, position, orders)
        assert before is None or before[0] == after[0], "it settles in one coin until instruments change"
        self._settle(after[0], None if before is None else before[1], after[1])
        self._instrument_terms[instrument_id] = after

    def _settle(self, coin: Coin, before: Terms | None, after: Terms | None) -> None:
        """Replace one instrument's part of what settles in a coin."""
        found = self._settled.get(coin)
        if found is None:
            assert after is not None, "what is taken out was put in"
            self._settled[coin] = _Settled(after)
        else:
            nothing = (ZERO,) * len(found.totals)
            found.totals = exact_change(found.totals, before or nothing, after or nothing)
            found.instruments += (after is not None) - (before is not None)
            if not found.instruments:
                del self._settled[coin]
        self._stale_coins[coin] = None

    def _value_coin(self, coin: Coin) -> None:
        settled = self._settled.get(coin)
        rounded = None if settled is None else tuple([+term for term in settled.totals])
        balance = self._balances.get(coin)
        if balance is not None:
            require_balance(balance)
        after = self._rule.coin(self._state, coin, balance, rounded)
        before = self._coin_terms.get(coin)
        terms = self._nothing if after is None else after[1]
        self._totals = exact_change(self._totals, before or self._nothing, terms)
        if after is not None:
            self._equities[coin], self._coin_terms[coin] = after
        elif before is not None:
            del self._equities[coin], self._coin_terms[coin]

    def _value_spot_orders(self, instrument_id: InstrumentId) -> None:
        rule, state, equities = self._rule, self._state, self._equities
        rows = self._spot_orders.get(instrument_id, ())
        for row in rows:
            require_order(row)
        after = exact_sum([rule.spot_order(state, row, equities) for row in rows])
        before = self._spot_terms.get(instrument_id, ZERO)
        (self._spot_total,) = exact_change((self._spot_total,), (before,), (after,))
        self._spot_terms[instrument_id] = after
