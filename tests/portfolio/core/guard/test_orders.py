from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.guard.orders import CHUNKS_MAX, LegNow, operation_id, orders_for
from portfolio.core.guard.values import ActionKind, PairAction, Rule
from portfolio.core.instrument import InstrumentKind
from portfolio.core.market import Level, Quote
from portfolio.core.names import AccountId, InstrumentId
from portfolio.core.orders import OrderClass, OrderRequest, Side, TimeInForce
from tests.portfolio.core.guard.cases import D, instrument, spec

ACCOUNT = AccountId("bybit:main")
OPERATION = operation_id(ACCOUNT, 3, 17)
SLIPPAGE = D("0.005")


def quote(instrument_id: InstrumentId, *, bids: bool = True, asks: bool = True) -> Quote:
    return Quote(
        instrument_id,
        (Level(D("99.99"), D(1000)),) if bids else (),
        (Level(D("100.01"), D(1000)),) if asks else (),
        0,
        0,
    )


def leg(
    kind: InstrumentKind,
    held: str | int,
    *,
    lot: str = "0.01",
    leaving: str = "0",
    arriving: str = "0",
    maximum: str | None = None,
    price: str | None = "100",
    book: str = "both",
    fee: str = "0.001",
) -> LegNow:
    made = instrument("SOL", kind, lot=lot, maximum=maximum)
    shown = quote(made.instrument_id, bids=book != "no bids", asks=book != "no asks")
    return LegNow(
        instrument=made,
        held=D(held),
        leaving=D(leaving),
        arriving=D(arriving),
        price=None if price is None else D(price),
        quote=None if book == "stale" else shown,
        fee_rate=D(fee) if kind is InstrumentKind.SPOT else D(0),
    )


SPOT, PERPETUAL = InstrumentKind.SPOT, InstrumentKind.PERPETUAL


def orders(
    action: ActionKind, to: str | int, long: LegNow, short: LegNow, *, reverse: bool = False
) -> tuple[OrderRequest, ...]:
    pair = spec("SOL", reverse=reverse)
    wanted = PairAction(pair.pair_id, action, D(to), (Rule.HEALTH,))
    return orders_for(
        [wanted], {pair.pair_id: pair}, {pair.pair_id: (long, short)}, OPERATION, {pair.pair_id: SLIPPAGE}
    )


def sizes(made: tuple[OrderRequest, ...]) -> dict[tuple[str, str], Decimal]:
    return {(row.instrument_id.split(":")[1], row.side.value): row.quantity for row in made}


def test_a_cut_buys_the_perpetual_back_reduce_only_and_sells_owned_spot_without_borrowing() -> None:
    made = orders(ActionKind.REDUCE, 50, leg(SPOT, 100), leg(PERPETUAL, 100))
    perpetual, spot = made
    assert (perpetual.side, perpetual.quantity, perpetual.reduce_only) == (Side.BUY, D(50), True)
    assert (spot.side, spot.quantity, spot.reduce_only, spot.borrow) == (Side.SELL, D(50), False, False)
    assert {row.time_in_force for row in made} == {TimeInForce.IOC}
    assert {row.order_class for row in made} == {OrderClass.REDUCE}
    assert {row.intent_id for row in made} == {OPERATION}


def test_limits_are_capped_half_a_percent_through_the_best_price() -> None:
    perpetual, spot = orders(ActionKind.REDUCE, 50, leg(SPOT, 100), leg(PERPETUAL, 100))
    assert perpetual.limit_price == D("100.51")
    assert spot.limit_price == D("99.50")


@pytest.mark.parametrize("book", ["stale", "no bids"])
def test_without_a_fresh_book_a_cut_goes_out_as_a_market_order(book: str) -> None:
    _, spot = orders(ActionKind.REDUCE, 0, leg(SPOT, 100, book=book), leg(PERPETUAL, 100))
    assert spot.limit_price is None
    perpetual, _ = orders(ActionKind.REDUCE, 0, leg(SPOT, 100), leg(PERPETUAL, 100, book="no asks"))
    assert perpetual.limit_price is None


def test_both_legs_meet_on_the_coarser_lot_and_neither_overshoots() -> None:
    made = orders(ActionKind.REDUCE, "47.33", leg(SPOT, "100.003", lot="0.001"), leg(PERPETUAL, 100, lot="1"))
    assert sizes(made) == {("linear", "buy"): 52, ("spot", "sell"): D("52.003")}
    other = orders(ActionKind.REDUCE, "47.33", leg(SPOT, 100, lot="1"), leg(PERPETUAL, "100.2", lot="0.1"))
    assert sizes(other) == {("linear", "buy"): D("52.2"), ("spot", "sell"): 52}


def test_closing_leaves_only_dust_of_each_leg() -> None:
    made = orders(ActionKind.REDUCE, 0, leg(SPOT, "9.9957"), leg(PERPETUAL, 10))
    assert sizes(made) == {("linear", "buy"): 10, ("spot", "sell"): D("9.99")}


def test_unwinding_trades_the_larger_leg_only() -> None:
    made = orders(ActionKind.REDUCE, 40, leg(SPOT, 40), leg(PERPETUAL, 100))
    assert sizes(made) == {("linear", "buy"): 60}
    assert sizes(orders(ActionKind.REDUCE, 40, leg(SPOT, 100), leg(PERPETUAL, 40))) == {("spot", "sell"): 60}


def test_what_is_in_flight_is_not_ordered_again() -> None:
    made = orders(ActionKind.REDUCE, 50, leg(SPOT, 100, leaving="20"), leg(PERPETUAL, 100, leaving="50"))
    assert sizes(made) == {("spot", "sell"): 30}
    hedged = orders(ActionKind.HEDGE, 100, leg(SPOT, 100), leg(PERPETUAL, 60, arriving="15"))
    assert sizes(hedged) == {("linear", "sell"): 25}


def test_a_lead_that_is_being_taken_back_is_not_hedged() -> None:
    gone = orders(ActionKind.HEDGE, 100, leg(SPOT, 0), leg(PERPETUAL, 100, leaving="100"))
    assert gone == ()
    part = orders(ActionKind.HEDGE, 100, leg(SPOT, 100, leaving="30"), leg(PERPETUAL, 60))
    assert sizes(part) == {("linear", "sell"): 10}


def test_a_hedge_sells_the_missing_perpetual_or_buys_the_missing_spot_gross_of_its_fee() -> None:
    (short,) = orders(ActionKind.HEDGE, 100, leg(SPOT, 100), leg(PERPETUAL, 60))
    assert (short.side, short.quantity, short.reduce_only) == (Side.SELL, D(40), False)
    assert (short.order_class, short.borrow) == (OrderClass.HEDGE, False)
    (long,) = orders(ActionKind.HEDGE, 100, leg(SPOT, 60), leg(PERPETUAL, 100))
    assert (long.side, long.quantity, long.borrow) == (Side.BUY, D("40.04"), True)
    assert long.quantity * D("0.999") <= 40


def test_a_reverse_pair_buys_its_borrowed_coins_back() -> None:
    made = orders(ActionKind.REDUCE, 0, leg(PERPETUAL, 10), leg(SPOT, 10, fee="0"), reverse=True)
    assert sizes(made) == {("linear", "sell"): 10, ("spot", "buy"): 10}
    spot = made[1]
    assert (spot.borrow, spot.reduce_only, made[0].reduce_only) == (True, False, True)
    (hedge,) = orders(ActionKind.HEDGE, 10, leg(PERPETUAL, 10), leg(SPOT, 4), reverse=True)
    assert (hedge.side, hedge.quantity, hedge.borrow) == (Side.SELL, D(6), True)


def test_what_the_venue_would_refuse_as_too_small_is_left_as_dust() -> None:
    assert orders(ActionKind.REDUCE, 0, leg(SPOT, "0.04"), leg(PERPETUAL, "0.04")) == ()
    unpriced = orders(ActionKind.REDUCE, 0, leg(SPOT, "0.04", price=None), leg(PERPETUAL, "0.009"))
    assert sizes(unpriced) == {("spot", "sell"): D("0.04")}


def test_large_cuts_are_split_at_the_largest_order_with_an_id_each() -> None:
    made = orders(ActionKind.REDUCE, 0, leg(SPOT, 100, maximum="40"), leg(PERPETUAL, 0))
    assert [row.quantity for row in made] == [40, 40, 20]
    assert len({row.client_order_id for row in made}) == 3
    many = orders(ActionKind.REDUCE, 0, leg(SPOT, 100, maximum="1"), leg(PERPETUAL, 0))
    assert len(many) == CHUNKS_MAX


def test_a_largest_order_below_the_minimum_orders_nothing() -> None:
    assert orders(ActionKind.REDUCE, 0, leg(SPOT, 100, lot="1", maximum="0.5"), leg(PERPETUAL, 0)) == ()


def test_two_pairs_on_one_instrument_get_different_ids() -> None:
    pair, mirrored = spec("SOL"), spec("SOL", reverse=True)
    actions = [PairAction(row.pair_id, ActionKind.REDUCE, D(0), (Rule.FLATTEN,)) for row in (pair, mirrored)]
    made = orders_for(
        actions,
        {pair.pair_id: pair, mirrored.pair_id: mirrored},
        {
            pair.pair_id: (leg(SPOT, 10), leg(PERPETUAL, 10)),
            mirrored.pair_id: (leg(PERPETUAL, 10), leg(SPOT, 10)),
        },
        OPERATION,
        {pair.pair_id: SLIPPAGE, mirrored.pair_id: SLIPPAGE},
    )
    assert len({row.client_order_id for row in made}) == 4


def test_a_leg_that_was_refused_goes_in_smaller_orders_that_add_up() -> None:
    long = leg(PERPETUAL, 0)
    whole = orders(ActionKind.REDUCE, 0, long, leg(SPOT, 10), reverse=True)
    pieces = orders(ActionKind.REDUCE, 0, long, replace(leg(SPOT, 10), parts=4), reverse=True)
    assert (len(whole), len(pieces)) == (1, 4)
    assert sum(row.quantity for row in pieces) == whole[0].quantity
    assert len({row.client_order_id for row in pieces}) == 4


def test_no_part_is_too_small_for_the_venue_so_that_what_is_left_of_a_refused_leg_still_goes() -> None:
    def parts(quantity: str, many: int) -> list[Decimal]:
        refused = replace(leg(PERPETUAL, quantity, lot="0.1"), parts=many, price=D(30))
        return [row.quantity for row in orders(ActionKind.REDUCE, 0, leg(SPOT, 0), refused)]

    assert parts("0.2", 8) == [D("0.2")]
    assert parts("0.5", 8) == [D("0.3"), D("0.2")]
    assert parts("0.1", 8) == [], "3 USD"
    unpriced = replace(leg(PERPETUAL, "0.2", lot="0.1"), parts=8, price=None)
    assert [row.quantity for row in orders(ActionKind.REDUCE, 0, leg(SPOT, 0), unpriced)] == [D("0.1")] * 2


def test_each_pair_has_its_own_distance_from_the_best_price() -> None:
    pair = spec("SOL")
    wanted = PairAction(pair.pair_id, ActionKind.REDUCE, D(0), (Rule.HEALTH,))
    legs = {pair.pair_id: (leg(SPOT, 10), leg(PERPETUAL, 10))}
    made = orders_for([wanted], {pair.pair_id: pair}, legs, OPERATION, {pair.pair_id: D("0.04")})
    assert [row.limit_price for row in made] == [D("104.01"), D("96.00")]
    made = orders_for([wanted], {pair.pair_id: pair}, legs, OPERATION, {pair.pair_id: None})
    assert [row.limit_price for row in made] == [None, None], "at market"


def test_ids_are_functions_of_the_operation_and_differ_between_journals() -> None:
    first = orders(ActionKind.REDUCE, 0, leg(SPOT, 10), leg(PERPETUAL, 10))
    assert first == orders(ActionKind.REDUCE, 0, leg(SPOT, 10), leg(PERPETUAL, 10))
    assert operation_id(ACCOUNT, 3, 17) != operation_id(ACCOUNT, 3, 18)
    assert operation_id(ACCOUNT, 3, 17).startswith("g3x")


held = st.decimals(min_value=0, max_value=1000, places=3)


@given(held, held, held, st.sampled_from(["0.001", "0.01", "1"]), st.sampled_from(["0.001", "0.1", "1"]))
def test_no_cut_takes_a_leg_below_its_target_or_grows_one(
    long: Decimal, short: Decimal, target: Decimal, long_lot: str, short_lot: str
) -> None:
    made = orders(
        ActionKind.REDUCE,
        str(target),
        leg(SPOT, str(long), lot=long_lot),
        leg(PERPETUAL, str(short), lot=short_lot),
    )
    for row in made:
        before, sign = (long, Side.SELL) if ":spot:" in row.instrument_id else (short, Side.BUY)
        assert row.side is sign
        assert before - row.quantity >= min(before, target)


@given(held, st.sampled_from(["0.001", "0.01", "1"]), st.sampled_from(["0.001", "0.1", "1"]))
def test_a_cut_of_a_hedged_pair_leaves_no_net_delta_beyond_lots_and_minimum_orders(
    target: Decimal, long_lot: str, short_lot: str
) -> None:
    made = sizes(
        orders(
            ActionKind.REDUCE,
            str(target),
            leg(SPOT, 1000, lot=long_lot),
            leg(PERPETUAL, 1000, lot=short_lot),
        )
    )
    delta = made.get(("spot", "sell"), D(0)) - made.get(("linear", "buy"), D(0))
    assert abs(delta) <= max(D(long_lot), D(short_lot), D("0.05"))
