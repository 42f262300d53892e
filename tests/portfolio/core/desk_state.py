"""A small made desk: two pairs, round prices, so that tests of proposals can be worked out by hand."""

from decimal import Decimal

from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.intents import DriftBounds
from portfolio.core.market import FundingOutlook
from portfolio.core.names import Coin, InstrumentId, Narrative, PairId, Venue
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.proposing import DraftInput
from portfolio.core.risk import FeeRates

BYBIT = Venue("bybit")
SOL, BTC = PairId("SOL@bybit"), PairId("BTC@bybit")
PRICES = {"SOL": Decimal(200), "BTC": Decimal(60000)}
LOTS = {"SOL": (Decimal("0.001"), Decimal("0.1")), "BTC": (Decimal("0.000001"), Decimal("0.001"))}


def leg(coin: str, kind: InstrumentKind) -> InstrumentId:
    return instrument_id(BYBIT, kind, f"{coin}USDT")


def instrument(coin: str, kind: InstrumentKind) -> Instrument:
    perpetual = kind is InstrumentKind.PERPETUAL
    return Instrument(
        instrument_id=leg(coin, kind),
        venue=BYBIT,
        kind=kind,
        symbol=f"{coin}USDT",
        base=Coin(coin),
        quote=Coin("USDT"),
        tick_size=Decimal("0.01"),
        lot_size=LOTS[coin][perpetual],
        quantity_min=LOTS[coin][perpetual],
        notional_min=Decimal(5),
        quantity_max=None,
        market_quantity_max=None,
        funding_interval_minutes=480 if perpetual else None,
        leverage_max=Decimal(50) if perpetual else None,
        marginable=not perpetual,
    )


def pair(coin: str, *, reverse: bool = False) -> PairSpec:
    spot, perpetual = leg(coin, InstrumentKind.SPOT), leg(coin, InstrumentKind.PERPETUAL)
    return PairSpec(
        pair_id=PairId(f"{coin}@bybit:reverse" if reverse else f"{coin}@bybit"),
        coin=Coin(coin),
        narrative=Narrative(coin),
        long_leg=perpetual if reverse else spot,
        short_leg=spot if reverse else perpetual,
        lead_leg=perpetual,
    )


def given(*, held: str = "0", reverse: bool = False) -> DraftInput:
    pairs = [pair("SOL", reverse=reverse), pair("BTC")]
    instruments = [instrument(coin, kind) for coin in PRICES for kind in InstrumentKind]
    size = Decimal(held)
    return DraftInput(
        pairs={p.pair_id: p for p in pairs},
        legs={p.pair_id: PairLegs(p.pair_id, size, size) for p in pairs},
        instruments={i.instrument_id: i for i in instruments},
        reference_prices={i.instrument_id: PRICES[i.base] for i in instruments},
        fees={
            i.instrument_id: FeeRates(Decimal("0.0002"), Decimal("0.00055"))
            if i.kind is InstrumentKind.PERPETUAL
            else FeeRates(Decimal("0.001"), Decimal("0.001"))
            for i in instruments
        },
        funding={
            leg(coin, InstrumentKind.PERPETUAL): FundingOutlook(
                leg(coin, InstrumentKind.PERPETUAL), Decimal("0.0001"), 0, 480, 0, 0
            )
            for coin in PRICES
        },
        drift=DriftBounds(),
    )
