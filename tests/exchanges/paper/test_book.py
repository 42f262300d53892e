from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.paper.book import Book
from exchanges.paper.bybit_tables import Listing, listings
from exchanges.paper.config import SECOND_NS
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from tests.exchanges.paper.venues import BTC_PERP, START

LISTING = listings([Coin("BTC")], {})[BTC_PERP]


def book(listing: Listing = LISTING, *, liquidity: str = "1") -> Book:
    return Book(listing, seed=1, liquidity=Decimal(liquidity), grid_ns=5 * SECOND_NS, refill_ns=SECOND_NS)


@settings(max_examples=50, deadline=None)
@given(st.decimals(20_000, 150_000, places=4), st.integers(0, 10**6))
def test_sides_never_cross_and_levels_get_worse_on_tick_and_lot(middle: Decimal, second: int) -> None:
    at = START + second * SECOND_NS
    instrument = LISTING.instrument
    bids = list(book().levels(Side.BUY, middle, at))[:20]
    asks = list(book().levels(Side.SELL, middle, at))[:20]
    assert bids[0].price < asks[0].price
    assert all(one.price > two.price for one, two in pairwise(bids))
    assert all(one.price < two.price for one, two in pairwise(asks))
    for level in (*bids, *asks):
        assert level.price % instrument.tick_size == 0
        assert level.quantity % instrument.lot_size == 0
        assert level.quantity > 0


def test_what_a_taker_took_is_missing_from_the_best_and_back_after_a_second() -> None:
    made, middle = book(), Decimal(60000)
    whole = list(made.levels(Side.SELL, middle, START))
    made.take(Side.SELL, whole[0].quantity + whole[1].quantity / 2, START)
    left = list(made.levels(Side.SELL, middle, START))
    assert left[0].price == whole[1].price
    assert left[0].quantity < whole[1].quantity
    half_back = next(made.levels(Side.SELL, middle, START + SECOND_NS // 2))
    assert half_back.price == whole[0].price
    assert next(made.levels(Side.SELL, middle, START + SECOND_NS)).quantity == whole[0].quantity


def test_the_other_side_does_not_feel_a_taker() -> None:
    made, middle = book(), Decimal(60000)
    before = list(made.levels(Side.BUY, middle, START))
    made.take(Side.SELL, Decimal(5), START)
    assert list(made.levels(Side.BUY, middle, START)) == before


def test_liquidity_scales_depth() -> None:
    def depth(liquidity: str) -> Decimal:
        levels = list(book(liquidity=liquidity).levels(Side.SELL, Decimal(60000), START))[:10]
        return sum((level.quantity for level in levels), Decimal(0))

    assert depth("0.1") < depth("1") / 9
