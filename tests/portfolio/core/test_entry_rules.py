"""What an approved intent covers, and what cannot overshoot."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.entry_rules import entry_side, outside_intent, takes_off_only
from portfolio.core.instrument import InstrumentKind
from portfolio.core.intents import DriftBounds, Intent, LegBound, Target
from portfolio.core.names import (
    AccountId,
    ClientOrderId,
    Coin,
    InstrumentId,
    IntentId,
    Narrative,
    PairId,
)
from portfolio.core.orders import OrderClass, OrderRequest, Side, TimeInForce
from portfolio.core.pairs import PairSpec

SPOT = InstrumentId("bybit:spot:SOLUSDT")
PERPETUAL = InstrumentId("bybit:linear:SOLUSDT")
PAIR = PairSpec(PairId("SOL@bybit"), Coin("SOL"), Narrative("sol"), SPOT, PERPETUAL, PERPETUAL)
TARGET = Target(
    PAIR.pair_id,
    Decimal(5),
    Decimal(15),
    (
        LegBound(SPOT, Decimal(150), Decimal(152)),
        LegBound(PERPETUAL, Decimal(150), Decimal(148)),
    ),
)
INTENT = Intent(
    IntentId("i1"),
    "paper",
    AccountId("bybit:main"),
    "changes",
    (TARGET,),
    reduce_only=False,
    proposed_by="agent",
    reason="",
    request_id=None,
    health_after=Decimal("0.9"),
    fingerprint="",
    drift=DriftBounds(),
    text="",
    digest="",
    created_wire_ns=0,
    expires_wire_ns=1,
)
LEAD = OrderRequest(
    ClientOrderId("a"),
    PERPETUAL,
    Side.SELL,
    Decimal(10),
    Decimal(148),
    TimeInForce.IOC,
    reduce_only=False,
    borrow=False,
    order_class=OrderClass.ENTRY,
    pair_id=PAIR.pair_id,
    intent_id=IntentId("i1"),
)


@given(st.decimals("0.001", "20", places=3), st.decimals("0", "20", places=3))
def test_entries_of_an_intent_never_add_up_to_more_than_it_grows_the_pair(
    quantity: Decimal, committed: Decimal
) -> None:
    refused = outside_intent(replace(LEAD, quantity=quantity), INTENT, PAIR, committed)
    assert (refused is None) == (quantity + committed <= 10)


@given(st.decimals("100", "200", places=2), st.sampled_from(Side))
def test_an_entry_trades_at_the_approved_price_or_better(price: Decimal, side: Side) -> None:
    leg, bound = (SPOT, Decimal(152)) if side is Side.BUY else (PERPETUAL, Decimal(148))
    order = replace(LEAD, instrument_id=leg, side=side, limit_price=price)
    better = price <= bound if side is Side.BUY else price >= bound
    assert (outside_intent(order, INTENT, PAIR, Decimal(0)) is None) == better


@pytest.mark.parametrize(
    ("order", "intent", "reason"),
    [
        (LEAD, replace(INTENT, reduce_only=True), "reduce-only"),
        (LEAD, replace(INTENT, targets=()), "is not in the intent"),
        (replace(LEAD, instrument_id=InstrumentId("bybit:linear:BTCUSDT")), INTENT, "is no leg"),
        (replace(LEAD, side=Side.BUY), INTENT, "never means to buy"),
        (replace(LEAD, instrument_id=SPOT), INTENT, "never means to sell"),
        (replace(LEAD, limit_price=None), INTENT, "no price to compare"),
        (LEAD, replace(INTENT, targets=(replace(TARGET, bounds=()),)), "names no price"),
        (LEAD, replace(INTENT, targets=(replace(TARGET, to_quantity=Decimal(2)),)), "more than the 0"),
    ],
)
def test_what_the_operator_did_not_approve_is_named(order: OrderRequest, intent: Intent, reason: str) -> None:
    refused = outside_intent(order, intent, PAIR, Decimal(0))
    assert refused is not None
    assert reason in refused


def test_the_long_leg_is_entered_by_buying_and_the_short_leg_by_selling() -> None:
    assert entry_side(PAIR, SPOT) is Side.BUY
    assert entry_side(PAIR, PERPETUAL) is Side.SELL
    assert entry_side(PAIR, InstrumentId("other")) is None


@given(
    st.sampled_from(Side),
    st.decimals("0.001", "20", places=3),
    st.decimals("-20", "20", places=3),
)
def test_a_spot_order_takes_off_only_what_is_held(side: Side, quantity: Decimal, holding: Decimal) -> None:
    order = replace(LEAD, instrument_id=SPOT, side=side, quantity=quantity, order_class=OrderClass.REDUCE)
    after = holding + side.sign * quantity
    shrinks = abs(after) <= abs(holding) and after * holding >= 0
    assert takes_off_only(order, InstrumentKind.SPOT, venue_reduces=False, holding=holding) == shrinks
    borrowing = replace(order, borrow=True)
    assert not takes_off_only(borrowing, InstrumentKind.SPOT, venue_reduces=False, holding=holding)


@pytest.mark.parametrize("reduce_only", [True, False])
@pytest.mark.parametrize("venue_reduces", [True, False])
def test_a_perpetual_order_takes_off_only_when_the_venue_sees_to_it(
    reduce_only: bool, venue_reduces: bool
) -> None:
    order = replace(LEAD, reduce_only=reduce_only, order_class=OrderClass.REDUCE)
    safe = takes_off_only(order, InstrumentKind.PERPETUAL, venue_reduces, Decimal(-100))
    assert safe == (reduce_only and venue_reduces)
    entry = replace(order, order_class=OrderClass.ENTRY)
    assert not takes_off_only(entry, InstrumentKind.PERPETUAL, venue_reduces, Decimal(-100))
