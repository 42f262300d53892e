from dataclasses import replace

import anyio
import pytest
from anyio.lowlevel import checkpoint

from portfolio.clocks import ManualClocks
from portfolio.core.account import AccountSnapshot, Balance, MarginFigures, Position
from portfolio.core.errors import MissingDataError, UnknownNameError
from portfolio.core.events import (
    BalanceUpdate,
    EndOfData,
    FillUpdate,
    Gap,
    OrderUpdate,
    PositionUpdate,
    Reset,
)
from portfolio.core.limits import SECOND_NS, Freshness
from portfolio.core.market import CoinPrice, FundingOutlook, Mark
from portfolio.core.names import AccountId, ClientOrderId, Coin, InstrumentId, PairId, VenueOrderId
from portfolio.core.orders import Fill, OrderState, OrderStatus, Side
from portfolio.core.risk import CollateralTable, LeveragePolicy, RiskTables
from portfolio.ports import MarketSnapshot
from portfolio.view import AccountView
from tests.portfolio.core.trading import PERPETUAL, SPOT, D, make_pair, make_quote

NOW = 1_700_000_000 * SECOND_NS
PERP, SPOT_ID = PERPETUAL.instrument_id, SPOT.instrument_id
SOL, USDT = Coin("SOL"), Coin("USDT")
LONG, REVERSE = make_pair("SOL"), make_pair("SOL", reverse=True)
FIGURES = MarginFigures(D(1000), D(900), D(100), D(50))


def balance(coin: Coin, wallet: str, borrow: str = "0") -> Balance:
    return Balance(coin, D(wallet), D(borrow), D(0), D(0))


def position(quantity: str) -> Position:
    return Position(PERP, D(quantity), D(100), D(100), D(10))


def order(number: str, filled: str = "0", status: OrderStatus = OrderStatus.WORKING) -> OrderState:
    return OrderState(
        client_order_id=ClientOrderId(f"c{number}"),
        venue_order_id=VenueOrderId(number),
        instrument_id=PERP,
        side=Side.SELL,
        quantity=D(5),
        limit_price=D(101),
        filled=D(filled),
        average_price=None,
        status=status,
        reduce_only=False,
    )


def read_account(*, market_ns: int = 10, seen: int = NOW) -> AccountSnapshot:
    return AccountSnapshot(
        account=AccountId("bybit:main"),
        uid="1",
        margin_mode="REGULAR_MARGIN",
        balances=(balance(USDT, "500"), balance(SOL, "12", "1")),
        positions=(position("-10"),),
        orders=(order("1"),),
        figures=FIGURES,
        event_market_ns=market_ns,
        seen_wire_ns=seen,
    )


def make_view(clocks: ManualClocks | None = None, *, reset: bool = True) -> AccountView:
    view = AccountView(
        account=AccountId("bybit:main"),
        instruments={PERP: PERPETUAL, SPOT_ID: SPOT},
        pairs={LONG.pair_id: LONG, REVERSE.pair_id: REVERSE},
        clocks=clocks or ManualClocks(wire_ns=NOW),
        policy=LeveragePolicy(),
    )
    if reset:
        view.apply(Reset(read_account(), NOW))
    return view


def price_everything(view: AccountView, seen: int = NOW) -> None:
    view.load_market(
        MarketSnapshot(
            quotes=(
                replace(make_quote(PERP, (("99", "1"),), (("101", "1"),)), seen_wire_ns=seen),
                replace(make_quote(SPOT_ID, (("98", "1"),), (("102", "1"),)), seen_wire_ns=seen),
            ),
            marks=(Mark(PERP, D("100.5"), D("100.2"), 0, seen),),
            coins=(CoinPrice(SOL, D(100), 0, seen), CoinPrice(USDT, D(1), 0, seen)),
            funding=(FundingOutlook(PERP, D("0.0001"), 0, 480, 0, seen),),
        )
    )
    collateral = {coin: CollateralTable(coin, True, ()) for coin in (SOL, USDT)}
    view.set_tables(RiskTables(seen, collateral, {}, {}, {}))


def test_nothing_is_known_before_the_first_read() -> None:
    view = make_view(reset=False)
    assert view.snapshot is None
    for ask in (view.account_snapshot, view.margin_state, lambda: view.legs(LONG.pair_id)):
        with pytest.raises(MissingDataError):
            ask()
    assert view.ages().account_ns is None
    assert view.ages().figures_ns is None


def test_an_update_before_the_first_read_does_not_pass_for_an_account() -> None:
    view = make_view(reset=False)
    view.apply(BalanceUpdate((balance(USDT, "1"),), None, 20, NOW))
    assert view.snapshot is None
    assert view.ages().account_ns is None


def test_unknown_names_are_refused() -> None:
    view = make_view()
    with pytest.raises(UnknownNameError):
        view.pair(PairId("X@bybit"))
    with pytest.raises(UnknownNameError):
        view.reference_price(InstrumentId("bybit:spot:X"))


def test_legs_leave_out_the_treasury_and_what_is_owed() -> None:
    view = make_view()
    view.set_treasury({SOL: D("0.5")})
    legs = view.legs(LONG.pair_id)
    assert (legs.long_quantity, legs.short_quantity) == (D("10.5"), D(10))
    assert view.treasury == {SOL: D("0.5")}


def test_a_leg_on_the_wrong_side_counts_as_nothing() -> None:
    view = make_view()
    legs = view.legs(REVERSE.pair_id)
    assert (legs.long_quantity, legs.short_quantity) == (D(0), D(0))


def test_a_reverse_pair_is_short_the_coins_it_owes() -> None:
    view = make_view()
    view.apply(BalanceUpdate((balance(SOL, "1", "8"),), None, 20, NOW))
    view.apply(PositionUpdate(PERP, position("7"), 20, NOW))
    legs = view.legs(REVERSE.pair_id)
    assert (legs.long_quantity, legs.short_quantity) == (D(7), D(7))
    assert view.debt(SOL) == 8
    assert view.debt(Coin("BTC")) == 0


def test_balance_rows_replace_their_coin_and_leave_the_others() -> None:
    view = make_view()
    view.apply(BalanceUpdate((balance(SOL, "3"),), None, 20, NOW + 5))
    snapshot = view.account_snapshot()
    assert snapshot.balances == (balance(USDT, "500"), balance(SOL, "3"))
    assert snapshot.event_market_ns == 20
    assert snapshot.seen_wire_ns == NOW + 5


def test_an_older_update_does_not_turn_time_back() -> None:
    view = make_view()
    view.apply(BalanceUpdate((balance(SOL, "3"), balance(Coin("BTC"), "1")), None, 9, NOW))
    view.apply(PositionUpdate(PERP, None, 9, NOW))
    assert view.account_snapshot().balances == read_account().balances
    assert view.account_snapshot().positions == read_account().positions


def test_totals_that_were_not_sent_grow_old_beside_fresh_balances() -> None:
    clocks = ManualClocks(wire_ns=NOW)
    view = make_view(clocks)
    clocks.advance(4 * SECOND_NS)
    view.apply(BalanceUpdate((balance(SOL, "3"),), None, 20, clocks.wire_ns()))
    assert view.ages().account_ns == 0
    assert view.ages().figures_ns == 4 * SECOND_NS
    newer = replace(FIGURES, initial_margin=D(200))
    view.apply(BalanceUpdate((), newer, 21, clocks.wire_ns()))
    assert view.ages().figures_ns == 0
    assert view.account_snapshot().figures == newer
    view.apply(BalanceUpdate((), FIGURES, 19, clocks.wire_ns()))
    assert view.account_snapshot().figures == newer


def test_a_flat_position_disappears() -> None:
    view = make_view()
    view.apply(PositionUpdate(PERP, None, 20, NOW))
    assert view.account_snapshot().positions == ()
    assert view.signed_holding(PERP) == 0


def test_open_orders_follow_their_updates() -> None:
    view = make_view()
    view.apply(OrderUpdate(order("2"), NOW))
    view.apply(OrderUpdate(order("2", "3"), NOW))
    view.apply(OrderUpdate(order("2", "1"), NOW))
    view.apply(OrderUpdate(order("1", "5", OrderStatus.FILLED), NOW))
    assert view.account_snapshot().orders == (order("2", "3"),)


def test_a_closed_order_is_not_brought_back_by_a_late_report_but_by_a_full_read() -> None:
    view = make_view()
    view.apply(OrderUpdate(order("1", "0", OrderStatus.CANCELLED), NOW))
    view.apply(OrderUpdate(order("1", "2"), NOW))
    assert view.account_snapshot().orders == ()
    view.apply(Reset(read_account(market_ns=30), NOW))
    view.apply(OrderUpdate(order("1", "2"), NOW))
    assert view.account_snapshot().orders == (order("1", "2"),)


def test_closed_orders_are_forgotten_at_last() -> None:
    view = make_view()
    for number in range(2001):
        view.apply(OrderUpdate(order(f"x{number}", "5", OrderStatus.FILLED), NOW))
    view.apply(OrderUpdate(order("x0"), NOW))
    assert order("x0") in view.account_snapshot().orders


def test_after_a_private_gap_the_account_has_no_age_until_it_is_read_again() -> None:
    view = make_view()
    price_everything(view)
    view.apply(Gap("private", "disconnected", NOW))
    view.apply(BalanceUpdate((balance(SOL, "3"),), FIGURES, 20, NOW))
    assert view.ages().account_ns is None
    assert view.stale(Freshness()) == ("account",)
    view.apply(Reset(read_account(market_ns=30), NOW))
    assert view.stale(Freshness()) == ()


def test_after_a_public_gap_prices_have_no_age_until_newer_ones_come() -> None:
    view = make_view()
    price_everything(view)
    view.apply(Gap("public.linear", "disconnected", NOW))
    assert view.ages().price_ns is None
    assert view.ages().account_ns == 0
    assert view.quote(PERP).bids
    price_everything(view, NOW + 1)
    assert view.ages().price_ns == 0


def test_only_what_is_held_or_about_to_be_traded_can_be_too_old() -> None:
    clocks = ManualClocks(wire_ns=NOW)
    view = make_view(clocks, reset=False)
    view.apply(Reset(replace(read_account(), balances=(balance(SOL, "0"),), positions=()), NOW))
    view.set_tables(RiskTables(NOW, {}, {}, {}, {}))
    assert view.stale(Freshness()) == ()
    assert view.stale(Freshness(), [PERP]) == ("prices", "funding")
    price_everything(view)
    assert view.stale(Freshness(), [PERP, SPOT_ID]) == ()
    clocks.advance(3 * SECOND_NS)
    assert view.stale(Freshness()) == ()
    assert view.stale(Freshness(), [PERP, SPOT_ID]) == ("prices",)


def test_the_end_of_the_data_makes_everything_stale() -> None:
    view = make_view()
    price_everything(view)
    view.apply(EndOfData(0, NOW))
    assert view.stale(Freshness()) == ("end_of_data",)


def test_reference_prices_are_the_mark_and_the_index() -> None:
    view = make_view()
    view.apply(make_quote(SPOT_ID, (("98", "1"),), (("103", "1"),)))
    assert view.reference_price(SPOT_ID) == D("100.5")
    price_everything(view)
    assert view.reference_price(PERP) == D("100.5")
    assert view.reference_price(SPOT_ID) == D("100.2")
    assert view.coin_price(SOL).usd == 100
    assert view.funding(PERP).interval_minutes == 480


def test_a_one_sided_book_without_an_index_is_no_price() -> None:
    view = make_view()
    with pytest.raises(MissingDataError):
        view.reference_price(SPOT_ID)
    view.apply(make_quote(SPOT_ID, (), (("103", "1"),)))
    with pytest.raises(MissingDataError):
        view.reference_price(SPOT_ID)
    with pytest.raises(MissingDataError):
        view.funding(PERP)


def test_the_margin_state_holds_what_is_left_of_open_orders_at_todays_prices() -> None:
    view = make_view()
    price_everything(view)
    view.apply(OrderUpdate(replace(order("1", "2"), limit_price=None), NOW))
    view.apply(OrderUpdate(order("2", "5"), NOW))
    state = view.margin_state()
    assert [(row.quantity, row.limit_price) for row in state.orders] == [(D(3), D("100.5"))]
    assert state.positions[0].mark_price == D("100.5")
    assert state.prices.usd[SOL] == 100


def test_the_margin_state_needs_tables_and_the_price_of_everything_held() -> None:
    view = make_view()
    with pytest.raises(MissingDataError, match="risk tables"):
        view.margin_state()
    view.set_tables(RiskTables(NOW, {}, {}, {}, {}))
    with pytest.raises(MissingDataError, match="mark"):
        view.margin_state()
    view.apply(Mark(PERP, D(100), D(100), 0, NOW))
    with pytest.raises(MissingDataError, match="coin_price"):
        view.margin_state()


def test_a_fill_changes_nothing_by_itself_but_wakes_readers() -> None:
    view = make_view()
    before, version = view.account_snapshot(), view.version
    fill = Fill(
        "f1", ClientOrderId("c1"), VenueOrderId("1"), PERP, Side.SELL, D(1), D(1), D(0), USDT, True, 0
    )
    view.apply(FillUpdate(fill, NOW))
    assert view.account_snapshot() == before
    assert view.version == version + 1


@pytest.mark.anyio
async def test_waiting_ends_with_the_next_event_and_at_once_when_it_already_came() -> None:
    view = make_view()
    version = view.version
    woken: list[str] = []

    async def wait() -> None:
        await view.changed(version)
        woken.append("woken")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await checkpoint()
        assert woken == []
        price_everything(view)
    assert len(woken) == 2
    await view.changed(version)


def test_an_unknown_coin_that_somebody_sent_does_not_make_the_account_uncomputable() -> None:
    view = make_view()
    price_everything(view)
    dust = replace(
        read_account(),
        balances=(balance(USDT, "500"), balance(SOL, "12", "1"), balance(Coin("DUST"), "1e9")),
    )
    view.apply(Reset(dust, NOW))
    assert view.uncounted() == (Coin("DUST"),)
    assert [row.coin for row in view.margin_state().balances] == [USDT, SOL]
    assert "prices" not in view.stale(Freshness())
    owed = replace(dust, balances=(balance(USDT, "500"), balance(Coin("DUST"), "0", "1")))
    view.apply(Reset(owed, NOW))
    assert view.uncounted() == ()
    with pytest.raises(MissingDataError, match="DUST"):
        view.margin_state()


def test_nothing_is_left_out_before_account_and_tables_are_read() -> None:
    assert make_view(reset=False).uncounted() == ()
    assert make_view().uncounted() == ()
