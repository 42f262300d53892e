"""Instruments, books and pairs for the tests of the trading core. Quantities in coins, prices in USDT."""

from decimal import Decimal

from hypothesis import strategies as st

from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.market import Level, Quote
from portfolio.core.names import Coin, InstrumentId, Narrative, PairId, Venue
from portfolio.core.pairs import PairSpec

D = Decimal
VENUE = Venue("bybit")


def make_instrument(
    kind: InstrumentKind = InstrumentKind.PERPETUAL,
    base: str = "SOL",
    *,
    lot: str = "0.1",
    tick: str = "0.01",
    quantity_min: str = "0.1",
    notional_min: str = "5",
    quantity_max: str | None = None,
) -> Instrument:
    symbol = f"{base}USDT"
    perpetual = kind is InstrumentKind.PERPETUAL
    return Instrument(
        instrument_id=instrument_id(VENUE, kind, symbol),
        venue=VENUE,
        kind=kind,
        symbol=symbol,
        base=Coin(base),
        quote=Coin("USDT"),
        tick_size=D(tick),
        lot_size=D(lot),
        quantity_min=D(quantity_min),
        notional_min=D(notional_min),
        quantity_max=None if quantity_max is None else D(quantity_max),
        market_quantity_max=None,
        funding_interval_minutes=480 if perpetual else None,
        leverage_max=D(50) if perpetual else None,
        marginable=not perpetual,
    )


PERPETUAL = make_instrument()
SPOT = make_instrument(InstrumentKind.SPOT, lot="0.001", quantity_min="0.001")


def make_pair(base: str = "SOL", *, reverse: bool = False) -> PairSpec:
    spot = instrument_id(VENUE, InstrumentKind.SPOT, f"{base}USDT")
    perpetual = instrument_id(VENUE, InstrumentKind.PERPETUAL, f"{base}USDT")
    return PairSpec(
        pair_id=PairId(f"{base}@bybit:reverse" if reverse else f"{base}@bybit"),
        coin=Coin(base),
        narrative=Narrative("l1"),
        long_leg=perpetual if reverse else spot,
        short_leg=spot if reverse else perpetual,
        lead_leg=perpetual,
    )


def make_quote(
    instrument: InstrumentId,
    bids: tuple[tuple[str, str], ...],
    asks: tuple[tuple[str, str], ...],
) -> Quote:
    return Quote(
        instrument,
        tuple(Level(D(price), D(quantity)) for price, quantity in bids),
        tuple(Level(D(price), D(quantity)) for price, quantity in asks),
        event_market_ns=0,
        seen_wire_ns=0,
    )


def amounts(low: str = "0", high: str = "1000", places: int = 4) -> st.SearchStrategy[Decimal]:
    return st.decimals(min_value=D(low), max_value=D(high), places=places, allow_nan=False)


lots = st.sampled_from([D("0.001"), D("0.01"), D("0.1"), D(1), D(10)])
