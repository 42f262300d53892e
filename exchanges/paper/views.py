"""What the venue shows: books, tickers, candles and the account's rows, as of now."""

from dataclasses import replace
from decimal import Decimal
from itertools import islice

from exchanges.paper import risk
from exchanges.paper.config import SECOND_NS
from exchanges.paper.replay import funding_between, predicted_rate, settlement_after
from exchanges.paper.rows import BookView, Candle, CoinRow, PositionRow, Ticker
from exchanges.paper.state import State
from portfolio.core.account import Position
from portfolio.core.decimals import ZERO, round_half_even_to_step
from portfolio.core.errors import InputError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.valuation import Valuation
from portfolio.core.market import Level, Settlement
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side

#: Looks at the path per candle; a candle's high and low are the extremes among them.
_CANDLE_SAMPLES = 12
CANDLES_MAX = 1000


def book(state: State, key: InstrumentId, depth: int) -> BookView:
    """The made book, or the frozen one while it stands still."""
    frozen = state.frozen_books.get(key)
    if frozen is not None and state.now_ns < frozen[1]:
        shown = frozen[0]
        return replace(shown, bids=shown.bids[:depth], asks=shown.asks[:depth])
    made, middle = state.books[key], state.middle(key)
    bids = tuple(islice(made.levels(Side.BUY, middle, state.now_ns), depth))
    asks = tuple(islice(made.levels(Side.SELL, middle, state.now_ns), depth))
    return BookView(key, bids, asks, state.now_ns)


def ticker(state: State, key: InstrumentId, *, with_book: bool = True) -> Ticker:
    """Prices and, for a perpetual, its funding outlook; without the book's top when that is not needed."""
    listing = state.listing(key)
    instrument = listing.instrument
    top = book(state, key, 1) if with_book else BookView(key, (), (), state.now_ns)
    spot = instrument.kind is InstrumentKind.SPOT
    index = state.index(key)
    coming = None if spot else settlement_after(state.replay, instrument.base, state.now_ns)
    return Ticker(
        instrument_id=key,
        last=round_half_even_to_step(state.middle(key), instrument.tick_size),
        bid=_first(top.bids),
        ask=_first(top.asks),
        index=index,
        mark=index if spot else state.mark(key),
        usd_index=state.usd(instrument.base),
        predicted_rate=None if spot else predicted_rate(state.replay, instrument.base, state.now_ns),
        next_settlement_ns=None if coming is None else coming.market_ns,
        interval_minutes=None if coming is None else coming.interval_minutes,
        open_interest=None if spot else listing.open_interest,
        at_ns=state.now_ns,
    )


def _first(levels: tuple[Level, ...]) -> Level | None:
    return levels[0] if levels else None


def candles(
    state: State, key: InstrumentId, interval_ns: int, start_ns: int, end_ns: int, *, of: str
) -> tuple[Candle, ...]:
    """Candles that open in [start, end], the last one running.

    Raises:
        InputError: a range of more than `CANDLES_MAX` candles, a bad interval, or an unknown price.
    """
    if interval_ns < SECOND_NS or (end_ns - start_ns) // interval_ns >= CANDLES_MAX:
        raise InputError("Too many candles.", field="interval", allowed=f"at most {CANDLES_MAX} at a time")
    if of not in ("last", "mark", "index"):
        raise InputError(f"No candles of {of}.", field="of", allowed="last, mark, index")
    instrument = state.instrument(key)
    found: list[Candle] = []
    opens = -(-max(start_ns, state.replay.start_ns) // interval_ns) * interval_ns
    while opens <= min(end_ns, state.now_ns):
        closes = min(opens + interval_ns, state.now_ns)
        step = max(1, (closes - opens) // _CANDLE_SAMPLES)
        times = range(opens, closes + 1, step)
        prices = [
            round_half_even_to_step(_price(state, key, of, moment), instrument.tick_size) for moment in times
        ]
        found.append(Candle(opens, prices[0], max(prices), min(prices), prices[-1]))
        opens += interval_ns
    return tuple(found)


def _price(state: State, key: InstrumentId, of: str, at_ns: int) -> Decimal:
    instrument = state.instrument(key)
    if of == "mark":
        return state.market.mark(instrument.base, at_ns)
    if of == "index":
        return state.market.index(instrument.base, at_ns)
    return state.market.middle(instrument.base, instrument.kind, at_ns)


def settlements(
    state: State, key: InstrumentId, since_ns: int, until_ns: int | None
) -> tuple[Settlement, ...]:
    """Settled funding with prices of its instant, up to now; from before the run too where there is data."""
    instrument = state.instrument(key)
    coin = instrument.base
    until = state.now_ns if until_ns is None else min(until_ns, state.now_ns)
    return tuple(
        Settlement(
            point.market_ns,
            point.rate,
            state.market.mark(coin, point.market_ns),
            state.market.index(coin, point.market_ns),
        )
        for point in funding_between(state.replay, coin, max(since_ns, state.replay.start_ns), until)
    )


def coin_row(state: State, coin: Coin, valued: Valuation) -> CoinRow:
    """One coin of the wallet."""
    balance = state.balance(coin)
    worth = next((row for row in valued.coins if row.coin == coin), None)
    unrealised = worth.unrealised_pnl if worth else ZERO
    table = state.tables.collateral.get(coin)
    return CoinRow(
        balance=balance,
        unrealised_pnl=unrealised,
        equity=balance.wallet - balance.spot_borrow + unrealised,
        usd_price=state.usd(coin),
        borrowed=state.owed(coin),
        cumulative_realised=state.ledger.realised.get(coin, ZERO),
        marginable=table is not None,
        switch_on=table is not None and table.enabled,
    )


def position_row(state: State, key: InstrumentId, valued: Valuation | None = None) -> PositionRow:
    """One perpetual, flat or not."""
    if valued is None:
        valued = risk.value(risk.margin_state(state))
    holding, mark = state.holding(key), state.mark(key)
    leg = next((row for row in valued.legs if row.instrument_id == key), None)
    position = None
    if holding.quantity:
        position = Position(key, holding.quantity, holding.entry_price, mark, state.leverage(key))
    return PositionRow(
        instrument_id=key,
        position=position,
        leverage=state.leverage(key),
        mark_price=mark,
        initial_margin=leg.initial_margin if leg else ZERO,
        maintenance_margin=leg.maintenance_margin if leg else ZERO,
        realised_current=holding.realised_current if holding.quantity else ZERO,
        realised_total=holding.realised_total,
        created_ns=holding.created_ns,
        updated_ns=holding.updated_ns,
        sequence=holding.sequence,
    )
