"""Streams may overtake each other; a price never goes back in time."""

from decimal import Decimal

from portfolio.core.instrument import InstrumentKind
from portfolio.core.market import Mark
from portfolio.market_view import MarketView
from tests.portfolio.core.desk_state import given, leg

SOL = leg("SOL", InstrumentKind.PERPETUAL)


def mark(price: str, at: int, seen: int) -> Mark:
    return Mark(SOL, Decimal(price), Decimal(price), at, seen)


def test_an_older_price_that_arrives_late_changes_nothing() -> None:
    view = MarketView(given().instruments)
    view.apply(mark("200", at=10, seen=10))
    view.apply(mark("190", at=9, seen=11))
    assert view.mark(SOL).mark_price == 200
    view.apply(mark("201", at=10, seen=12))
    assert view.mark(SOL).mark_price == 201
