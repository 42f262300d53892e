"""The parts of a change of equity add up to it, and what the journal knows is not called unexplained."""

from decimal import Decimal

import pytest

from portfolio.core.attribution import attribute
from portfolio.core.entries import CashBooked
from portfolio.core.errors import MissingDataError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import ClientOrderId, Coin, InstrumentId, VenueOrderId
from portfolio.core.orders import Fill, Side
from tests.portfolio.core.desk_state import given, leg

SPOT, PERPETUAL = leg("SOL", InstrumentKind.SPOT), leg("SOL", InstrumentKind.PERPETUAL)
INSTRUMENTS = given().instruments


def fill(instrument_id: InstrumentId, side: Side, quantity: str, price: str, fee: str, coin: str) -> Fill:
    return Fill(
        fill_id=f"{instrument_id}{side}{price}",
        client_order_id=ClientOrderId("c"),
        venue_order_id=VenueOrderId("v"),
        instrument_id=instrument_id,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
        fee_coin=Coin(coin),
        maker=False,
        event_market_ns=0,
    )


def cash(kind: str, amount: str) -> CashBooked:
    return CashBooked(kind, f"{kind}{amount}", None, Coin("USDT"), Decimal(amount), 0)


def test_a_hedged_pair_whose_price_doubles_earns_only_its_basis_and_pays_its_costs() -> None:
    # 10 SOL: bought at 200 with a fee of 0.01 SOL, shorted at 201 with 1.1 USDT; both legs end at 400.
    out = attribute(
        equity_start=Decimal(100000),
        equity_end=Decimal("100010.4"),
        fills=[
            fill(SPOT, Side.BUY, "10", "200", "0.01", "SOL"),
            fill(PERPETUAL, Side.SELL, "10", "201", "1.1", "USDT"),
        ],
        cash=[cash("funding", "6"), cash("interest", "-0.5"), cash("transfer", "0"), cash("bonus", "9")],
        prices={SPOT: Decimal(400), PERPETUAL: Decimal(400)},
        instruments=INSTRUMENTS,
    )
    assert out.basis == Decimal(10)
    assert out.fees == Decimal("-5.1")
    assert out.funding == Decimal(6)
    assert out.borrow == Decimal("-0.5")
    assert out.unexplained == Decimal("0.0")
    assert out.change == out.funding + out.basis + out.fees + out.borrow + out.transfers + out.unexplained


def test_what_the_journal_does_not_know_is_unexplained() -> None:
    out = attribute(
        equity_start=Decimal(100),
        equity_end=Decimal(90),
        fills=[],
        cash=[cash("transfer", "-7")],
        prices={},
        instruments=INSTRUMENTS,
    )
    assert out.transfers == Decimal(-7)
    assert out.unexplained == Decimal(-3)


def test_a_traded_instrument_without_an_end_price_is_an_error() -> None:
    with pytest.raises(MissingDataError):
        attribute(
            equity_start=Decimal(1),
            equity_end=Decimal(1),
            fills=[fill(SPOT, Side.BUY, "1", "200", "0", "SOL")],
            cash=[],
            prices={},
            instruments=INSTRUMENTS,
        )
