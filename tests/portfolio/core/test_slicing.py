from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.increments import Increments, LegOrder, LegProgress, leg_progress
from portfolio.core.instrument import InstrumentKind
from portfolio.core.orders import Side
from portfolio.core.slicing import (
    LeadLimits,
    last_lead,
    next_hedge,
    next_lead,
    next_unwind,
    smallest_order,
    tradable,
)
from tests.portfolio.core.trading import PERPETUAL, SPOT, D, amounts, lots, make_instrument

NOTHING = LegProgress(D(0), D(0), D(0))
WIDE = LeadLimits(notional_max=D(10**9))


def planned(quantity: str | Decimal, lead: str = "0", hedge: str = "0") -> Increments:
    return Increments(D(quantity), LegProgress(D(lead), D(0), D(0)), LegProgress(D(hedge), D(0), D(0)))


@given(
    quantity=amounts("-5"),
    lot=lots,
    quantity_min=amounts("0.001", "5"),
    notional_min=amounts("0", "50"),
    price=amounts("0.01"),
)
def test_a_tradable_quantity_is_a_lot_multiple_inside_the_limits_or_zero(
    quantity: Decimal, lot: Decimal, quantity_min: Decimal, notional_min: Decimal, price: Decimal
) -> None:
    instrument = make_instrument(
        lot=str(lot), quantity_min=str(quantity_min), notional_min=str(notional_min), quantity_max="500"
    )
    order = tradable(quantity, instrument, price)
    assert order == 0 or (
        order % lot == 0
        and order <= min(quantity, D(500))
        and order >= quantity_min
        and order * price >= notional_min
    )


def test_a_slice_is_cut_at_its_largest_notional() -> None:
    assert next_lead(planned("100"), PERPETUAL, SPOT, D(100), LeadLimits(D(2500))) == 25


def test_a_rest_too_small_for_its_own_order_joins_the_slice() -> None:
    assert next_lead(planned("25.04"), PERPETUAL, SPOT, D(100), LeadLimits(D(2500))) == 25
    tight = replace(PERPETUAL, notional_min=D(50))
    assert next_lead(planned("25.4"), tight, SPOT, D(100), LeadLimits(D(2500))) == D("25.4")


def test_a_slice_is_at_least_the_smallest_order() -> None:
    assert next_lead(planned("100"), PERPETUAL, SPOT, D(100), LeadLimits(D(1))) == D("0.1")
    assert smallest_order(PERPETUAL, SPOT, D(10)) == D("0.5")


def test_depth_and_allowance_bound_a_slice() -> None:
    assert next_lead(planned("100"), PERPETUAL, SPOT, D(100), replace(WIDE, depth=D("3.07"))) == D("3.0")
    half = replace(WIDE, allowance=D(50))
    assert next_lead(planned("100", lead="20"), PERPETUAL, SPOT, D(100), half) == 30
    assert next_lead(planned("100", lead="50"), PERPETUAL, SPOT, D(100), half) == 0


def test_an_entry_slice_is_a_multiple_of_the_coarser_lot_but_a_closing_one_is_not() -> None:
    coarse_spot = make_instrument(InstrumentKind.SPOT, lot="1", quantity_min="1")
    assert next_lead(planned("7.6"), PERPETUAL, coarse_spot, D(100), WIDE) == 7
    assert last_lead(planned("7.6"), PERPETUAL, D(100), WIDE) == D("7.6")


@given(room=amounts(), price=amounts("0.01"), lead_lot=lots, hedge_lot=lots, notional=amounts("0", "5000"))
def test_a_lead_slice_never_passes_its_room_and_can_always_be_hedged(
    room: Decimal, price: Decimal, lead_lot: Decimal, hedge_lot: Decimal, notional: Decimal
) -> None:
    lead = make_instrument(lot=str(lead_lot), quantity_min=str(lead_lot))
    hedge = make_instrument(InstrumentKind.SPOT, lot=str(hedge_lot), quantity_min=str(hedge_lot))
    order = next_lead(planned(room), lead, hedge, price, LeadLimits(notional))
    assert order <= room
    assert order == 0 or tradable(order, hedge, price) == order


def test_a_spot_buy_is_grossed_up_for_the_fee_it_pays_in_the_coin() -> None:
    order = next_hedge(planned("100", lead="10"), SPOT, D(100), fee_rate=D("0.001"), held=None)
    assert order == D("10.010")


def test_a_hedge_waits_until_what_the_lead_filled_can_be_traded() -> None:
    assert next_hedge(planned("100", lead="0.01"), SPOT, D(100), fee_rate=D(0), held=None) == 0


def test_a_spot_sale_never_sells_more_than_the_pair_owns() -> None:
    owned = next_hedge(planned("100", lead="10"), SPOT, D(100), fee_rate=D(0), held=D("9.9905"))
    assert owned == D("9.990")


def test_open_hedges_are_counted_as_if_they_filled() -> None:
    increments = Increments(D(100), LegProgress(D(10), D(0), D(0)), LegProgress(D(2), D(5), D(0)))
    assert next_hedge(increments, SPOT, D(100), fee_rate=D(0), held=None) == 3


def test_what_is_taken_back_is_what_no_hedge_covers() -> None:
    assert next_unwind(planned("100", lead="10", hedge="7.55"), PERPETUAL, D(100)) == D("2.4")
    assert next_unwind(planned("100", lead="10", hedge="10"), PERPETUAL, D(100)) == 0


@given(data=st.data(), plan=amounts("1"), price=amounts("1"), fee=amounts("0", "0.005"))
def test_no_sequence_of_partial_fills_breaks_the_invariant(
    data: st.DataObject, plan: Decimal, price: Decimal, fee: Decimal
) -> None:
    lead_orders: list[LegOrder] = []
    hedge_orders: list[LegOrder] = []
    for _ in range(data.draw(st.integers(1, 8))):
        increments = Increments(
            plan, leg_progress(lead_orders, Side.SELL), leg_progress(hedge_orders, Side.BUY)
        )
        assert increments.violation() is None
        step = data.draw(st.sampled_from(["lead", "hedge", "unwind"]))
        if step == "lead":
            order, side, book = (
                next_lead(increments, PERPETUAL, SPOT, price, LeadLimits(D(2000))),
                Side.SELL,
                lead_orders,
            )
        elif step == "hedge":
            order, side, book = (
                next_hedge(increments, SPOT, price, fee_rate=fee, held=None),
                Side.BUY,
                hedge_orders,
            )
        else:
            order, side, book = next_unwind(increments, PERPETUAL, price), Side.BUY, lead_orders
        filled = order * data.draw(st.sampled_from([D(0), D("0.5"), D(1)]))
        kept = filled * fee if step == "hedge" else D(0)
        if order > 0:
            book.append(LegOrder(side, order, filled, kept, open=data.draw(st.booleans())))
