"""Made inputs, always the same: a paper venue with as many coins as wanted, and a large account."""

import random
from dataclasses import replace
from decimal import Decimal

from exchanges.paper.bybit_tables import listings, position_tiers, risk_tables
from exchanges.paper.config import HOUR_NS, SECOND_NS, VenueConfig
from exchanges.paper.core import VenueCore
from exchanges.paper.synthetic import DEFAULT_COINS, SyntheticCoin, SyntheticReplay
from portfolio.core.account import Balance, Position
from portfolio.core.decimals import round_down_to_step
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.market import Prices
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side

#: Twenty minutes past an hour: no settlement, no booking of interest, no repayment pause for half an hour.
START_NS = (1_735_689_600 + 1200) * SECOND_NS
HISTORY_HOURS = 46 * 24
UID = "30000001"
USDT = Coin("USDT")
SEED = 11


def coins(count: int) -> dict[Coin, Coin]:
    """So many coins, each with the one whose tables it follows: the seven listed ones, then made ones."""
    listed = list(DEFAULT_COINS)
    found = {coin: coin for coin in listed[:count]}
    for number in range(len(found), count):
        found[Coin(f"MADE{number}")] = listed[1 + number % (len(listed) - 1)]
    return found


def venue(count: int, usdt: Decimal) -> VenueCore:
    """A paper venue that lists spot and perpetual of so many coins."""
    models = coins(count)
    markets: dict[Coin, SyntheticCoin] = {coin: DEFAULT_COINS[model] for coin, model in models.items()}
    replay = SyntheticReplay(
        seed=SEED, start_ns=START_NS - HISTORY_HOURS * HOUR_NS, hours=HISTORY_HOURS + 24, coins=markets
    )
    config = VenueConfig(uid=UID, start_ns=START_NS, balances={USDT: usdt}, models=models)
    return VenueCore(config, replay, seed=SEED)


def large_account(positions: int, count: int) -> MarginState:
    """Perpetual positions over so many coins, every coin held or owed, ten orders resting.

    Sizes run through the risk tiers, both ways; several perpetuals of one coin stand for its expiries.
    """
    draw = random.Random(SEED)
    models = coins(count)
    listed = listings(models, dict.fromkeys(models, 480), models)
    bases = list(models)
    prices = {coin: DEFAULT_COINS[model].price for coin, model in models.items()}
    held: list[Position] = []
    marks: dict[InstrumentId, Decimal] = {}
    for number in range(positions):
        coin = bases[number % count]
        model = listed[InstrumentId(f"bybit:linear:{coin}USDT")]
        symbol = f"{coin}USDT" if number < count else f"{coin}USDT-{number // count}"
        key = InstrumentId(f"bybit:linear:{symbol}")
        listed[key] = replace(model, instrument=replace(model.instrument, instrument_id=key, symbol=symbol))
        mark = marks[key] = prices[coin] * Decimal(draw.randrange(9_900, 10_100)) / 10_000
        most = int(position_tiers(model.model)[-1].notional_to * Decimal("0.6"))
        coins_held = Decimal(draw.randrange(10_000, most)) / mark
        quantity = max(model.instrument.lot_size, round_down_to_step(coins_held, model.instrument.lot_size))
        entry = mark * Decimal(draw.randrange(9_000, 11_000)) / 10_000
        held.append(Position(key, quantity * draw.choice((1, -1)), entry, mark, Decimal(10)))
    return MarginState(
        balances=(
            Balance(USDT, Decimal(80_000_000), Decimal(0), Decimal(0), Decimal(0)),
            *_coins_held(prices),
        ),
        positions=tuple(held),
        orders=tuple(
            RestingOrder(
                row.instrument_id, Side.BUY, abs(row.quantity) / 2, row.mark_price, reduce_only=False
            )
            for row in held[:10]
        ),
        prices=Prices(marks=marks, usd={USDT: Decimal(1), **prices}),
        tables=risk_tables(listed),
        instruments={key: row.instrument for key, row in listed.items()},
    )


def _coins_held(prices: dict[Coin, Decimal]) -> list[Balance]:
    """200 000 USD of each coin, every fifth one owed instead."""
    rows = []
    for number, (coin, price) in enumerate(prices.items()):
        quantity = (Decimal(200_000) / price).quantize(Decimal("0.0001"))
        owed = number % 5 == 4
        nothing = Decimal(0)
        rows.append(
            Balance(coin, nothing if owed else quantity, quantity if owed else nothing, nothing, nothing)
        )
    return rows
