from decimal import Decimal

import pytest

from exchanges.paper import bybit_tables
from exchanges.paper.history_tables import BINANCE, BYBIT, OKX, VENUES, account_tables
from portfolio.core.account import Balance, Position
from portfolio.core.errors import InputError
from portfolio.core.margin.modes import BINANCE_PM, BYBIT_UTA, OKX_MULTI_CURRENCY
from portfolio.core.margin.state import MarginState
from portfolio.core.market import Prices
from portfolio.core.names import Coin, InstrumentId, Venue

COINS = tuple(Coin(name) for name in ("BTC", "SOL", "POL"))
MODES = {BINANCE: BINANCE_PM, BYBIT: BYBIT_UTA, OKX: OKX_MULTI_CURRENCY}


@pytest.mark.parametrize("venue", VENUES)
def test_an_account_of_any_coins_can_be_valued_on_every_venue(venue: Venue) -> None:
    found = account_tables(venue, COINS)
    nothing = Decimal(0)
    state = MarginState(
        balances=(
            Balance(Coin("USDT"), nothing, Decimal(5_000), nothing, nothing),
            *(Balance(coin, Decimal(10), nothing, nothing, nothing) for coin in COINS),
        ),
        positions=tuple(
            Position(
                InstrumentId(f"{venue}:linear:{coin}USDT"),
                Decimal(-10),
                Decimal(90),
                Decimal(100),
                Decimal(10),
            )
            for coin in COINS
        ),
        orders=(),
        prices=Prices(
            {InstrumentId(f"{venue}:linear:{coin}USDT"): Decimal(100) for coin in COINS},
            {Coin("USDT"): Decimal(1), **dict.fromkeys(COINS, Decimal(100))},
        ),
        tables=found.tables,
        instruments=found.instruments,
    )
    figures = MODES[venue].rule(state).figures
    assert figures.total_equity == 3_000 - 5_000 - 300
    assert 0 < figures.maintenance_margin < figures.initial_margin


def test_brackets_are_continuous_as_the_venue_prints_them() -> None:
    btc = account_tables(BINANCE, COINS).tables.positions[InstrumentId("binance:linear:BTCUSDT")]
    assert [int(row.deduction) for row in btc] == [
        0, 300, 1_500, 12_000, 132_000, 482_000, 2_982_000, 14_482_000, 26_482_000
    ]  # fmt: skip
    sol = account_tables(BINANCE, COINS).tables.positions[InstrumentId("binance:linear:SOLUSDT")]
    assert [int(row.deduction) for row in sol[:4]] == [0, 75, 1_475, 11_475]


def test_bybit_is_the_paper_venues_own_and_unlisted_coins_follow_avax() -> None:
    tables = account_tables(BYBIT, COINS).tables
    assert tables.positions[InstrumentId("bybit:linear:SOLUSDT")] == bybit_tables.position_tiers(Coin("SOL"))
    assert tables.positions[InstrumentId("bybit:linear:POLUSDT")] == bybit_tables.position_tiers(Coin("AVAX"))
    assert tables.collateral[Coin("POL")].coin == "POL"


def test_a_venue_without_a_margin_rule_is_refused() -> None:
    with pytest.raises(InputError, match="no margin rule"):
        account_tables(Venue("kraken"), COINS)
