from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.increments import (
    Increments,
    LegOrder,
    LegProgress,
    gross_for_net,
    leg_progress,
    naked_tolerance,
)
from portfolio.core.orders import Side
from tests.portfolio.core.trading import PERPETUAL, SPOT, D, amounts, make_instrument

sides = st.sampled_from(Side)


@st.composite
def leg_orders(draw: st.DrawFn) -> LegOrder:
    quantity = draw(amounts("0.1"))
    filled = draw(amounts("0", str(quantity)))
    return LegOrder(draw(sides), quantity, filled, draw(amounts("0", "0.1")), draw(st.booleans()))


def done(value: str | Decimal) -> LegProgress:
    return LegProgress(D(value), D(0), D(0))


def test_a_buy_that_pays_its_fee_in_the_coin_has_done_less_than_it_filled() -> None:
    order = LegOrder(Side.BUY, D(10), D(10), D("0.01"), open=False)
    assert leg_progress([order], Side.BUY) == LegProgress(D("9.99"), D(0), D(0))


def test_a_sale_that_pays_its_fee_in_the_coin_has_done_more_than_it_filled() -> None:
    order = LegOrder(Side.SELL, D(10), D(10), D("0.01"), open=False)
    assert leg_progress([order], Side.SELL).done == D("10.01")


def test_an_order_against_the_operation_takes_back_what_it_filled() -> None:
    lead = LegOrder(Side.SELL, D(10), D(8), D(0), open=False)
    back = LegOrder(Side.BUY, D(5), D(3), D(0), open=True)
    assert leg_progress([lead, back], Side.SELL) == LegProgress(D(5), D(0), D(2))


@given(orders=st.lists(leg_orders(), max_size=6), forward=sides)
def test_progress_lies_between_the_least_and_the_most_that_open_orders_allow(
    orders: list[LegOrder], forward: Side
) -> None:
    progress = leg_progress(orders, forward)
    assert progress.least <= progress.done <= progress.most
    assert progress.in_flight == any(order.open and order.filled < order.quantity for order in orders)


@given(planned=amounts(), lead=amounts(), hedge=amounts(), reserved=amounts(), back=amounts())
def test_no_room_is_given_that_could_break_the_invariant(
    planned: Decimal, lead: Decimal, hedge: Decimal, reserved: Decimal, back: Decimal
) -> None:
    increments = Increments(planned, LegProgress(lead, reserved, back), LegProgress(hedge, reserved, D(0)))
    if increments.lead_room > 0:
        assert increments.lead.most + increments.lead_room <= planned
    if increments.hedge_room > 0:
        assert increments.hedge.most + increments.hedge_room <= increments.lead.least
    assert increments.unhedged == lead - hedge


@pytest.mark.parametrize(
    ("planned", "lead", "hedge", "broken"),
    [
        ("10", "5", "5", None),
        ("10", "10", "0", None),
        ("10", "5", "-1", "below zero"),
        ("10", "5", "6", "beyond lead"),
        ("10", "11", "6", "beyond planned"),
    ],
)
def test_a_broken_invariant_is_named(planned: str, lead: str, hedge: str, broken: str | None) -> None:
    violation = Increments(D(planned), done(lead), done(hedge)).violation()
    assert violation is None if broken is None else broken in (violation or "")


@given(net=amounts("0.0001"), rate=amounts("0", "0.01"))
def test_buying_the_gross_quantity_brings_the_net_one(net: Decimal, rate: Decimal) -> None:
    assert abs(gross_for_net(net, rate) * (1 - rate) - net) < D("1e-20")


def test_a_rebate_never_shrinks_a_buy() -> None:
    assert gross_for_net(D(5), D("-0.001")) == 5


def test_the_naked_tolerance_is_the_coarsest_of_lots_minimums_and_fee_dust() -> None:
    coarse = make_instrument(lot="1", quantity_min="0.1")
    assert naked_tolerance(coarse, SPOT, D(1000)) == 1
    assert naked_tolerance(PERPETUAL, SPOT, D(10)) == D("0.5")
    assert naked_tolerance(PERPETUAL, SPOT, D(10), fee_dust=D(3)) == 3
