"""A live account follows its changes exactly."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.account import MarginFigures, Position
from portfolio.core.errors import CarrydeskError, InputError, MissingDataError, NumberError, RefusedError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.apply import trade
from portfolio.core.margin.bybit_live import BybitLive
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.exact import exact_change, exact_sum, half_even
from portfolio.core.margin.incremental import LiveMargin
from portfolio.core.margin.state import MarginState
from portfolio.core.names import InstrumentId
from portfolio.core.orders import Side
from tests.portfolio.core.margin.accounts import account, balance, order, perp, position, spot
from tests.portfolio.core.margin.strategies import (
    COINS,
    INSTRUMENTS,
    PERPETUALS,
    accounts,
    borrow_tables,
    collateral_tables,
    decimals,
    resting_orders,
)

D = Decimal
BTC = perp("BTC")


def live(state: MarginState, *, reference: bool = False, extrapolate: bool = True) -> LiveMargin:
    return LiveMargin(state, BybitLive(reference=reference, extrapolate=extrapolate))


def outcome(call: Callable[[], MarginFigures]) -> MarginFigures | None:
    """The figures; None for an error of ours."""
    try:
        return call()
    except CarrydeskError:
        return None


def fill(account: LiveMargin, deltas: dict[InstrumentId, Decimal]) -> None:
    """What a venue would report after these trades; none happen while a price that makes them is broken."""
    before = account.state()
    try:
        after = trade(before, deltas)
    except MissingDataError:
        return
    for row in after.balances:
        if row not in before.balances:
            account.set_balance(row)
    for instrument_id in deltas:
        if INSTRUMENTS[instrument_id].kind is InstrumentKind.PERPETUAL:
            held = next((row for row in after.positions if row.instrument_id == instrument_id), None)
            account.set_position(instrument_id, held)


def change(account: LiveMargin, data: st.DataObject) -> None:
    """One thing that happens to an account."""
    coin, perpetual = data.draw(st.sampled_from(COINS)), data.draw(st.sampled_from(PERPETUALS))
    traded = data.draw(st.sampled_from(sorted(INSTRUMENTS)))
    match data.draw(st.sampled_from(["mark", "usd", "fill", "transfer", "close", "orders", "other"])):
        case "mark":
            account.set_mark(perpetual, data.draw(decimals("0.5", "900", 6)))
        case "usd":
            account.set_coin_price(coin, data.draw(decimals("0.5", "900", 6)))
        case "fill":
            fill(account, {traded: data.draw(decimals("-300", "300", 3))})
        case "transfer":
            row = next((row for row in account.state().balances if row.coin == coin), balance(coin, "0"))
            moved = data.draw(st.one_of(st.just(-row.wallet), decimals("-500", "500", 4)))
            account.set_balance(replace(row, wallet=row.wallet + moved))
        case "close":
            account.set_position(perpetual, None)
        case "orders":
            rows = data.draw(resting_orders())
            account.set_orders(traded, [row for row in rows if row.instrument_id == traded])
        case _:
            change_more(account, data)


def change_more(account: LiveMargin, data: st.DataObject) -> None:
    """What happens less often."""
    state = account.state()
    match data.draw(st.sampled_from(["leverage", "listing", "tables"])):
        case "leverage":
            for held in state.positions[:1]:
                leverage = data.draw(decimals("1", "20", 0))
                account.set_position(held.instrument_id, replace(held, leverage=leverage))
        case "listing":
            account.set_instruments(dict(INSTRUMENTS))
        case _:
            collateral = {name: data.draw(collateral_tables(name)) for name in COINS}
            borrow = {name: data.draw(borrow_tables(name)) for name in COINS}
            account.set_tables(replace(state.tables, collateral=collateral, borrow=borrow))


@settings(max_examples=150, deadline=None)
@given(accounts(), st.booleans(), st.data())
def test_after_any_changes_the_figures_equal_a_full_valuation_decimal_for_decimal(
    state: MarginState, reference: bool, data: st.DataObject
) -> None:
    account = live(state, reference=reference)
    assert account.figures() == value(state, reference=reference, extrapolate=True).figures
    for _ in range(data.draw(st.integers(1, 8))):
        for _ in range(data.draw(st.integers(1, 4))):
            change(account, data)
        full = value(account.state(), reference=reference, extrapolate=True).figures
        assert account.figures() == full
        assert account.figures() == full
    fresh = live(account.state(), reference=reference)
    assert fresh.figures() == full


@settings(max_examples=60, deadline=None)
@given(accounts(), st.data())
def test_where_a_full_valuation_raises_the_live_one_raises_until_it_is_mended(
    state: MarginState, data: st.DataObject
) -> None:
    account = live(state, extrapolate=False)
    for _ in range(4):
        if data.draw(st.booleans()):
            account.set_mark(
                data.draw(st.sampled_from(PERPETUALS)), D(data.draw(st.sampled_from(["0", "1e11", "7"])))
            )
        elif data.draw(st.booleans()):
            account.set_coin_price(
                data.draw(st.sampled_from(COINS)), D(data.draw(st.sampled_from(["-1", "2"])))
            )
        else:
            change(account, data)
        assert outcome(account.figures) == outcome(lambda: value(account.state()).figures)
    for key in PERPETUALS:
        account.set_mark(key, D(7))
    for coin in COINS:
        account.set_coin_price(coin, D(2))
    account.set_tables(state.tables)
    assert outcome(account.figures) == outcome(lambda: value(account.state()).figures)


def test_an_empty_account_has_zeros_and_comes_to_life() -> None:
    account_now = live(account(usd={"BTC": "60000", "USDT": "1"}))
    assert account_now.figures() == MarginFigures(D(0), D(0), D(0), D(0))
    account_now.set_balance(balance("USDT", "1000"))
    assert account_now.figures().total_equity == 1000
    account_now.set_position(BTC, position(BTC, "0.1", "60000"))
    assert account_now.figures().initial_margin > 0
    account_now.set_position(BTC, None)
    account_now.set_balance(balance("USDT", "0"))
    assert account_now.figures() == MarginFigures(D(0), D(0), D(0), D(0))


def test_a_position_beyond_its_tiers_is_refused_until_the_price_falls_again() -> None:
    start = account(
        balances=(balance("USDT", "1000000"),),
        positions=(position(BTC, "100", "60000"),),
        usd={"BTC": "60000", "USDT": "1"},
    )
    account_now = live(start, extrapolate=False)
    before = account_now.figures()
    account_now.set_mark(BTC, D(1_000_000))
    for _ in range(2):
        with pytest.raises(RefusedError):
            account_now.figures()
    account_now.set_mark(BTC, D(60000))
    assert account_now.figures() == before


def test_a_price_that_is_missing_is_an_error_that_its_first_tick_mends() -> None:
    start = account(
        balances=(balance("BTC", "1"),), orders=(order(spot("BTC"), Side.SELL, "1", "1"),), usd={"USDT": "1"}
    )
    account_now = live(start)
    with pytest.raises(MissingDataError):
        account_now.figures()
    account_now.set_coin_price(start.balances[0].coin, D(60000))
    assert account_now.figures() == value(account_now.state()).figures


def test_rows_that_name_another_instrument_or_come_twice_are_refused_and_change_nothing() -> None:
    usd = {"BTC": "60000", "USDT": "1"}
    account_now = live(account(balances=(balance("USDT", "5"),), usd=usd))
    with pytest.raises(InputError):
        account_now.set_position(BTC, position(perp("ETH"), "1", "1"))
    with pytest.raises(InputError):
        account_now.set_orders(BTC, [order(spot("BTC"), Side.BUY, "1", "1")])
    with pytest.raises(MissingDataError):
        account_now.set_orders(perp("NEW"), ())
    with pytest.raises(InputError):
        live(account(balances=(balance("USDT", "5"), balance("USDT", "6")), usd=usd))
    with pytest.raises(InputError):
        live(account(positions=(position(BTC, "1", "1"), position(BTC, "2", "1")), usd=usd))
    assert account_now.figures().total_equity == 5


def test_a_listing_without_the_instrument_of_an_open_order_is_refused_and_changes_nothing() -> None:
    start = account(orders=(order(BTC, Side.BUY, "1", "60000"),), usd={"BTC": "60000", "USDT": "1"})
    account_now = live(start)
    before = account_now.figures()
    with pytest.raises(MissingDataError):
        account_now.set_instruments({})
    assert account_now.figures() == before


def test_dust_and_huge_amounts_leave_no_trace_when_they_are_gone_again() -> None:
    start = account(
        balances=(balance("USDT", "1000.01"),),
        positions=(position(BTC, "0.123", "59999.9"),),
        usd={"BTC": "60000.7", "USDT": "0.9997"},
    )
    account_now = live(start)
    before = account_now.figures()
    for amount in ("1e18", "1e-18", "-1e12", "1e-300"):
        account_now.set_position(BTC, Position(BTC, D(amount), D("3e-9"), D(1), D(3)))
        account_now.set_balance(balance("BTC", amount))
        assert account_now.figures() == value(account_now.state(), extrapolate=True).figures
    account_now.set_position(BTC, start.positions[0])
    account_now.set_balance(balance("BTC", "0"))
    assert account_now.figures() == before


def test_amounts_too_far_apart_or_not_finite_are_an_error_not_a_rounding() -> None:
    assert str(exact_sum([D("1e30"), D("1e-5")])) == "1" + "0" * 30 + ".00001"
    with pytest.raises(NumberError):
        exact_sum([D("1e600"), D("1e-600")])
    with pytest.raises(NumberError):
        exact_change((D("1e600"),), (D(0),), (D("1e-600"),))
    with pytest.raises(NumberError):
        exact_sum([D("Infinity"), D("-Infinity")])
    with pytest.raises(NumberError):
        exact_change((D("Infinity"),), (D("Infinity"),), (D(0),))
    with pytest.raises(NumberError):
        half_even(D("1e999"), D("1e-8"))
    assert [str(half_even(D(text), D("0.1"))) for text in ("0.25", "-0.35", "1e30")] == [
        "0.2",
        "-0.4",
        "1" + "0" * 30 + ".0",
    ]


@settings(max_examples=100)
@given(st.lists(decimals("-1e12", "1e12", 18), max_size=8))
def test_exact_sums_do_not_depend_on_order_and_parts_can_be_replaced(parts: list[Decimal]) -> None:
    assert exact_sum(parts) == exact_sum(reversed(parts)) == exact_sum(sorted(parts))
    for part in parts:
        others = exact_sum([*parts, part.copy_negate(), D("1e-18")])
        assert exact_change((exact_sum(parts),), (part,), (D("1e-18"),)) == (others,)
