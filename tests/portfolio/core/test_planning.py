from portfolio.core.intents import LegBound, Target
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.orders import OrderClass
from portfolio.core.planning import bound_of, plan_moves
from tests.portfolio.core.trading import D, make_pair

PAIRS = {
    pair.pair_id: pair
    for pair in (make_pair("SOL"), make_pair("SOL", reverse=True), make_pair("BTC"), make_pair("ETH"))
}


def target(pair: str, start: str, end: str) -> Target:
    return Target(PairId(pair), D(start), D(end), ())


def test_exits_come_first_the_largest_cut_leading() -> None:
    moves = plan_moves(
        [
            target("BTC@bybit", "0", "1"),
            target("ETH@bybit", "10", "9"),
            target("SOL@bybit", "10", "0"),
        ],
        PAIRS,
    )
    assert [move.pair_id for move in moves] == ["SOL@bybit", "ETH@bybit", "BTC@bybit"]
    assert [move.order_class for move in moves] == [
        OrderClass.REDUCE,
        OrderClass.REDUCE,
        OrderClass.ENTRY,
    ]
    assert all(move.after == () for move in moves)


def test_a_target_that_changes_nothing_is_no_move() -> None:
    assert plan_moves([target("SOL@bybit", "5", "5")], PAIRS) == ()


def test_a_pair_on_the_same_instruments_waits_for_the_one_before_it() -> None:
    moves = plan_moves([target("SOL@bybit:reverse", "0", "3"), target("SOL@bybit", "3", "0")], PAIRS)
    assert [(move.pair_id, move.after) for move in moves] == [
        ("SOL@bybit", ()),
        ("SOL@bybit:reverse", ("SOL@bybit",)),
    ]


def test_the_bound_of_an_instrument_is_found_by_its_id() -> None:
    sol = InstrumentId("bybit:linear:SOLUSDT")
    assert bound_of([LegBound(sol, D(100), D(99))], sol) == 99
    assert bound_of([], sol) is None
