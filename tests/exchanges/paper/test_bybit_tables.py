from decimal import Decimal
from itertools import pairwise

import pytest

from exchanges.paper.bybit_tables import BYBIT, collateral_table, listings, position_tiers, risk_tables
from portfolio.core.errors import UnknownNameError
from portfolio.core.instrument import InstrumentKind, instrument_id
from portfolio.core.names import Coin

COINS = [Coin(name) for name in ("BTC", "ETH", "SOL", "XRP", "DOGE", "BNB", "AVAX")]


def test_the_first_bitcoin_tiers_are_the_captured_ones() -> None:
    first = position_tiers(Coin("BTC"))[:3]
    assert [
        (t.notional_to, t.initial_rate, t.maintenance_rate, t.leverage_max, t.deduction) for t in first
    ] == [
        (Decimal(300000), Decimal("0.0066"), Decimal("0.0033"), Decimal(150), Decimal(0)),
        (Decimal(2000000), Decimal("0.01"), Decimal("0.005"), Decimal(100), Decimal(510)),
        (Decimal(2600000), Decimal("0.0111"), Decimal("0.0056"), Decimal(90), Decimal(1710)),
    ]


def test_every_later_bitcoin_deduction_is_the_older_tables_plus_510() -> None:
    older = [3020, 4300, 5820, 8460, 15460, 20500, 46000, 66000]
    older += [80000, 160000, 300000, 452000, 502000, 777000, 837000, 967000, 1107000, 1482000]
    assert [tier.deduction for tier in position_tiers(Coin("BTC"))[3:]] == [value + 510 for value in older]


@pytest.mark.parametrize("coin", COINS)
def test_maintenance_margin_has_no_jump_between_tiers(coin: Coin) -> None:
    tiers = position_tiers(coin)
    for below, above in pairwise(tiers):
        at = below.notional_to
        assert at * below.maintenance_rate - below.deduction == at * above.maintenance_rate - above.deduction
        assert above.notional_to > below.notional_to
        assert above.maintenance_rate > below.maintenance_rate
        assert above.leverage_max <= below.leverage_max


@pytest.mark.parametrize("coin", [*COINS, Coin("USDT")])
def test_collateral_ratios_fall_with_quantity_and_leave_no_hole(coin: Coin) -> None:
    tiers = collateral_table(coin).tiers
    assert tiers[0].quantity_from == 0
    assert tiers[-1].quantity_to is None
    for below, above in pairwise(tiers):
        assert below.quantity_to == above.quantity_from
        assert above.ratio < below.ratio


def test_known_first_tiers_of_other_coins_stand_as_captured() -> None:
    assert position_tiers(Coin("ETH"))[0].notional_to == 900_000
    assert position_tiers(Coin("SOL"))[0].notional_to == 50_000


def test_every_listed_instrument_has_its_tables() -> None:
    listed = listings(COINS, dict.fromkeys(COINS, 480))
    tables = risk_tables(listed)
    for key, listing in listed.items():
        assert key in tables.fees
        assert listing.instrument.base in tables.collateral
        assert listing.instrument.base in tables.borrow
        assert (key in tables.positions) == (listing.instrument.kind is InstrumentKind.PERPETUAL)


def test_an_unlisted_coin_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="PEPE"):
        listings([Coin("PEPE")], {})


def test_a_made_coin_is_listed_by_the_tables_of_its_model() -> None:
    made, model = Coin("MADE1"), Coin("SOL")
    listed = listings([made, model], {made: 480, model: 480}, {made: model})
    tables = risk_tables(listed)
    for kind in InstrumentKind:
        own, like = (listed[instrument_id(BYBIT, kind, f"{coin}USDT")] for coin in (made, model))
        assert (own.instrument.base, own.instrument.lot_size) == (made, like.instrument.lot_size)
        assert own.price_limit_x == like.price_limit_x
    perpetual = instrument_id(BYBIT, InstrumentKind.PERPETUAL, "MADE1USDT")
    assert tables.positions[perpetual] == position_tiers(model)
    assert tables.collateral[made].coin == made
    assert tables.collateral[made].tiers == collateral_table(model).tiers
    assert tables.borrow[made].tiers == tables.borrow[model].tiers
