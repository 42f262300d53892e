from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.names import InstrumentId
from portfolio.core.orders import Side
from portfolio.core.pricing import depth_within, maker_price, outside_bound, taker_price, to_tick, within
from tests.portfolio.core.trading import D, amounts, make_quote

SOL = InstrumentId("bybit:linear:SOLUSDT")
BOOK = make_quote(SOL, (("99.9", "1"), ("99.8", "2")), (("100.1", "3"), ("100.2", "4")))
EMPTY = make_quote(SOL, (), (("100.1", "3"),))
sides = st.sampled_from(Side)


@given(price=amounts("0.01"), side=sides, tick=st.sampled_from([D("0.01"), D("0.5"), D(1)]))
def test_rounding_to_the_tick_never_loosens_a_limit(price: Decimal, side: Side, tick: Decimal) -> None:
    rounded = to_tick(price, tick, side)
    assert rounded % tick == 0
    assert (price - rounded) * side.sign >= 0


@given(reference=amounts("1"), side=sides, slippage=amounts("0", "0.05"), bound=st.none() | amounts("1"))
def test_a_taker_price_passes_neither_the_slippage_nor_the_bound(
    reference: Decimal, side: Side, slippage: Decimal, bound: Decimal | None
) -> None:
    price = taker_price(reference, side, slippage, D("0.01"), bound)
    assert (reference * (1 + slippage * side.sign) - price) * side.sign >= 0
    assert bound is None or (bound - price) * side.sign >= 0


def test_a_resting_order_joins_the_best_level_of_its_own_side() -> None:
    assert maker_price(BOOK, Side.SELL, D("0.1"), None) == D("100.1")
    assert maker_price(BOOK, Side.BUY, D("0.1"), None) == D("99.9")


def test_a_resting_order_stays_inside_its_bound() -> None:
    assert maker_price(BOOK, Side.SELL, D("0.1"), D("101.05")) == D("101.1")
    assert maker_price(BOOK, Side.BUY, D("0.1"), D("98.05")) == D("98.0")


def test_a_one_sided_book_gives_no_resting_price() -> None:
    assert maker_price(EMPTY, Side.BUY, D("0.1"), None) is None
    assert maker_price(EMPTY, Side.SELL, D("0.1"), None) is None


def test_no_bound_leaves_a_price_as_it_is() -> None:
    assert within(D(5), None, Side.BUY) == 5


def test_depth_counts_only_levels_at_the_limit_or_better() -> None:
    assert depth_within(BOOK, Side.BUY, D("100.1")) == 3
    assert depth_within(BOOK, Side.BUY, D("100.2")) == 7
    assert depth_within(BOOK, Side.SELL, D("99.85")) == 1
    assert depth_within(EMPTY, Side.SELL, D(1)) == 0


def test_a_book_is_outside_a_bound_when_its_best_level_is_worse() -> None:
    assert outside_bound(BOOK, Side.BUY, D(100))
    assert not outside_bound(BOOK, Side.BUY, D("100.1"))
    assert outside_bound(BOOK, Side.SELL, D(100))
    assert not outside_bound(BOOK, Side.SELL, None)
    assert outside_bound(EMPTY, Side.SELL, None)
