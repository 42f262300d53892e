"""A trade costs what the engine's way of executing costs: lead as maker, hedge as taker, through the book."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.market import Level, Quote
from portfolio.core.names import InstrumentId
from portfolio.core.risk import FeeRates
from portfolio.core.trade_cost import ADVERSE_BPS, MAKER_SHARE, slippage_bps, trade_cost_bps

LEAD, HEDGE = FeeRates(Decimal("0.0002"), Decimal("0.0005")), FeeRates(Decimal("0.001"), Decimal("0.001"))


def book(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> Quote:
    def side(rows: list[tuple[str, str]]) -> tuple[Level, ...]:
        return tuple(Level(Decimal(price), Decimal(quantity)) for price, quantity in rows)

    return Quote(InstrumentId("x"), side(bids), side(asks), 0, 0)


def test_the_lead_pays_maker_and_adverse_selection_or_taker_and_slippage_and_the_hedge_is_taken() -> None:
    expected = MAKER_SHARE * (2 + ADVERSE_BPS) + (1 - MAKER_SHARE) * (5 + 3) + 10 + 4
    assert trade_cost_bps(LEAD, HEDGE, 3.0, 4.0) == pytest.approx(expected)


def test_slippage_is_the_average_price_against_the_middle() -> None:
    quote = book([("99", "1"), ("98", "10")], [("101", "1"), ("102", "10")])
    found = slippage_bps(quote, Decimal(101))
    assert found is not None
    assert found[0] == pytest.approx(100)
    deeper = slippage_bps(quote, Decimal(101 + 102))
    assert deeper is not None
    assert deeper[0] == pytest.approx(150)
    assert deeper[1] == pytest.approx((1 - 203 / (1 + (203 - 99) / 98) / 100) * 1e4)


def test_a_side_that_is_missing_or_too_thin_makes_slippage_unknown() -> None:
    full = [("99", "1")]
    for bids, asks in (
        ([], [("101", "1")]),
        (full, []),
        (full, [("101", "0.1")]),
        ([("99", "0.1")], [("101", "1")]),
    ):
        assert slippage_bps(book(bids, asks), Decimal(50)) is None


@given(st.integers(1, 200), st.integers(1, 200))
def test_more_never_slips_less(one: int, other: int) -> None:
    quote = book([("99", "1"), ("98", "2")], [("101", "1"), ("103", "2")])
    small, large = sorted((one, other))
    less, more = slippage_bps(quote, Decimal(small)), slippage_bps(quote, Decimal(large))
    assert less is not None
    assert more is not None
    assert less[0] <= more[0] + 1e-9
    assert less[1] <= more[1] + 1e-9
