from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.paper.commands import (
    Borrow,
    ChangeTables,
    Repay,
    SetCollateralSwitch,
    SetLeverage,
    SetSpotLeverage,
    Transfer,
)
from exchanges.paper.config import HOUR_NS, MINUTE_NS, SECOND_NS
from exchanges.paper.core import VenueCore
from exchanges.paper.rows import ExecutionNotice, ExecutionType, LedgerKind
from exchanges.paper.synthetic import SyntheticCoin
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side, TimeInForce
from portfolio.core.risk import FeeRates
from tests.exchanges.paper.venues import (
    BTC,
    BTC_PERP,
    BTC_SPOT,
    SOL,
    SOL_PERP,
    SOL_SPOT,
    START,
    USDT,
    best,
    debt,
    do,
    order,
    refused,
    run,
    venue,
    wallet,
)


def rows(core: VenueCore, kind: LedgerKind) -> list[tuple[Coin, Decimal, Decimal]]:
    return [(row.coin, row.change, row.debt) for row in core.ledger() if row.kind is kind]


def test_a_spot_buy_pays_its_fee_in_the_coin_bought() -> None:
    core = venue()
    done = do(core, order(BTC_SPOT, Side.BUY, "1"))
    assert wallet(core, BTC) == Decimal("0.999")
    assert wallet(core, USDT) == Decimal(100000) - done.filled_quote
    assert done.fees == ((BTC, Decimal("0.001")),)


def test_a_spot_sale_pays_its_fee_in_the_quote_coin() -> None:
    core = venue(balances={BTC: Decimal(2)})
    done = do(core, order(BTC_SPOT, Side.SELL, "1"))
    assert wallet(core, BTC) == 1
    assert wallet(core, USDT) == done.filled_quote * Decimal("0.999")


def test_perpetual_fees_and_realised_pnl_go_through_usdt() -> None:
    core = venue()
    opened = do(core, order(BTC_PERP, Side.SELL, "1"))
    closed = do(core, order(BTC_PERP, Side.BUY, "1"))
    fees = (opened.filled_quote + closed.filled_quote) * Decimal("0.00055")
    assert wallet(core, USDT) == 100000 + opened.filled_quote - closed.filled_quote - fees


def test_the_accounts_own_fee_rates_apply() -> None:
    core = venue()
    core.handle(ChangeTables(fees={BTC_SPOT: FeeRates(Decimal(0), Decimal("0.0005"))}), core.now_ns)
    do(core, order(BTC_SPOT, Side.BUY, "1"))
    assert wallet(core, BTC) == Decimal("0.9995")


def test_an_open_spot_order_locks_what_it_needs_and_frees_it_when_cancelled() -> None:
    core = venue()
    do(core, order(BTC_SPOT, Side.BUY, "1", "59700"))
    assert core.coins()[0].balance.locked == 59700
    assert refused(core, order(BTC_SPOT, Side.BUY, "1", "59700")).code == "170131"


def test_a_buy_with_leverage_borrows_exactly_what_is_missing() -> None:
    core = venue(usdt="20000")
    done = do(core, order(BTC_SPOT, Side.BUY, "0.5", borrow=True))
    assert wallet(core, USDT) == 0
    assert debt(core, USDT) == done.filled_quote - 20000
    assert rows(core, LedgerKind.BORROW) == [(USDT, debt(core, USDT), debt(core, USDT))]


def test_a_buy_without_leverage_never_borrows() -> None:
    core = venue(usdt="20000")
    assert refused(core, order(BTC_SPOT, Side.BUY, "0.5")).code == "170131"


def test_a_short_sale_with_leverage_borrows_the_base_coin() -> None:
    core = venue()
    done = do(core, order(BTC_SPOT, Side.SELL, "0.5", borrow=True))
    assert debt(core, BTC) == Decimal("0.5")
    assert wallet(core, BTC) == 0
    assert wallet(core, USDT) == 100000 + done.filled_quote * Decimal("0.999")


def test_buying_back_after_a_short_sale_does_not_repay_by_itself() -> None:
    core = venue()
    do(core, order(BTC_SPOT, Side.SELL, "0.5", borrow=True))
    do(core, order(BTC_SPOT, Side.BUY, "0.6"))
    assert debt(core, BTC) == Decimal("0.5")
    reply = core.handle(Repay(BTC), core.now_ns)
    assert reply.quantity == Decimal("0.5")
    assert wallet(core, BTC) == Decimal("0.0994")


def test_no_more_is_lent_than_the_table_allows_or_the_margin_rate_permits() -> None:
    rich = venue(usdt="1000000000")
    assert rich.handle(Borrow(BTC, Decimal(31)), rich.now_ns).code == "10001"
    assert refused(rich, order(BTC_SPOT, Side.SELL, "31", borrow=True)).code == "170034"
    poor = venue(usdt="20000")
    poor.handle(SetSpotLeverage(Decimal(2)), poor.now_ns)
    do(poor, order(BTC_SPOT, Side.BUY, "0.5", borrow=True))
    assert poor.figures().margin_usage is not None
    assert refused(poor, order(BTC_SPOT, Side.BUY, "1", borrow=True)).code == "170033"


def test_funding_is_paid_at_each_symbols_own_times() -> None:
    core = venue()
    do(core, order(BTC_PERP, Side.SELL, "1"))
    do(core, order(SOL_PERP, Side.BUY, "100"))
    before = wallet(core, USDT)
    notices = run(core, hours=8)
    paid = [
        notice.execution
        for notice in notices
        if isinstance(notice, ExecutionNotice) and notice.execution.kind is ExecutionType.FUNDING
    ]
    times = {key: [row.at_ns for row in paid if row.instrument_id == key] for key in (BTC_PERP, SOL_PERP)}
    assert times[SOL_PERP] == [START + hour * HOUR_NS for hour in range(1, 9)]
    assert times[BTC_PERP] == [START + 8 * HOUR_NS]
    received = Decimal(60000) * Decimal("0.0001") - 8 * 100 * Decimal(150) * Decimal("0.0002")
    assert wallet(core, USDT) - before == received
    assert sum(row.funding for row in core.ledger()) == received
    assert sum(row.fee for row in paid) == -received


def test_a_position_opened_at_the_settlement_instant_takes_no_part_in_it() -> None:
    core = venue()
    core.handle(order(SOL_PERP, Side.BUY, "100"), START + HOUR_NS)
    assert rows(core, LedgerKind.SETTLEMENT) == []


def test_interest_is_added_to_the_debt_at_five_past_every_hour() -> None:
    core = venue(usdt="20000")
    do(core, order(BTC_SPOT, Side.BUY, "0.5", borrow=True))
    owed = debt(core, USDT)
    core.advance(START + 5 * MINUTE_NS - 1)
    assert debt(core, USDT) == owed
    core.advance(START + 5 * MINUTE_NS)
    interest = (owed * Decimal("0.000006")).quantize(Decimal("1e-10"))
    assert debt(core, USDT) == owed + interest
    row = next(row for row in core.coins() if row.balance.coin == USDT)
    assert row.balance.accrued_interest == interest
    core.advance(START + 65 * MINUTE_NS)
    assert len(rows(core, LedgerKind.INTEREST)) == 2


def test_losses_below_zero_pay_interest_from_the_wallet() -> None:
    core = venue(balances={BTC: Decimal(1)})
    do(core, order(BTC_PERP, Side.BUY, "1"))
    negative = wallet(core, USDT)
    assert negative < 0
    run(core, hours=1)
    assert wallet(core, USDT) < negative
    assert debt(core, USDT) == 0


def test_incoming_usdt_nets_a_negative_balance_by_itself() -> None:
    core = venue(balances={BTC: Decimal(1)})
    do(core, order(BTC_PERP, Side.BUY, "0.1"))
    owed = -wallet(core, USDT)
    core.handle(Transfer(USDT, Decimal(100)), core.now_ns)
    assert wallet(core, USDT) == 100 - owed


def test_repayment_is_refused_around_the_booking_of_interest() -> None:
    core = venue(usdt="20000")
    do(core, order(BTC_SPOT, Side.BUY, "0.5", borrow=True))
    core.handle(Transfer(USDT, Decimal(50000)), core.now_ns)
    repay = Repay(USDT, Decimal(1000))
    assert core.handle(repay, START + 4 * MINUTE_NS - 1).ok
    assert core.handle(repay, START + 4 * MINUTE_NS).code == "34022035"
    assert core.handle(repay, START + 5 * MINUTE_NS + 30 * SECOND_NS - 1).code == "34022035"
    assert core.handle(repay, START + 5 * MINUTE_NS + 30 * SECOND_NS).ok
    assert core.handle(repay, START + HOUR_NS + 4 * MINUTE_NS).code == "34022035"


def test_repayment_uses_own_free_coins_only_and_interest_first() -> None:
    core = venue(usdt="20000")
    assert core.handle(Repay(USDT), core.now_ns).code == "176016"
    do(core, order(BTC_SPOT, Side.BUY, "0.5", borrow=True))
    assert core.handle(Repay(USDT), core.now_ns).code == "176015"
    run(core, hours=1)
    owed = debt(core, USDT)
    core.handle(Transfer(USDT, Decimal(5000)), core.now_ns)
    assert core.handle(Repay(USDT, owed + 1), core.now_ns).code == "34022041"
    assert core.handle(Repay(USDT), core.now_ns).quantity == 5000
    row = next(row for row in core.coins() if row.balance.coin == USDT)
    assert row.balance.spot_borrow == owed - 5000
    assert row.balance.accrued_interest == 0


def test_an_order_that_needs_more_margin_than_there_is_is_refused_and_a_closing_one_is_not() -> None:
    core = venue(usdt="10000")
    do(core, order(BTC_PERP, Side.SELL, "1.5"))
    assert refused(core, order(BTC_PERP, Side.SELL, "0.5")).code == "110007"
    core.handle(Transfer(USDT, Decimal(-8500)), core.now_ns)
    assert refused(core, order(BTC_PERP, Side.SELL, "0.001")).code == "110007"
    assert do(core, order(BTC_PERP, Side.BUY, "0.5")).filled == Decimal("0.5")


def test_a_position_beyond_the_last_tier_is_refused() -> None:
    core = venue(usdt="1000000000")
    do(core, order(SOL_PERP, Side.BUY, "13000"))
    assert refused(core, order(SOL_PERP, Side.BUY, "1000")).code == "110090"


def test_settings_are_checked_and_take_effect() -> None:
    core = venue()
    do(core, order(BTC_PERP, Side.BUY, "1"))
    before = core.position(BTC_PERP).initial_margin
    assert core.handle(SetLeverage(BTC_PERP, Decimal(151)), core.now_ns).code == "110013"
    assert core.handle(SetLeverage(BTC_PERP, Decimal(10)), core.now_ns).code == "110043"
    assert core.handle(SetLeverage(BTC_PERP, Decimal(5)), core.now_ns).ok
    assert core.position(BTC_PERP).initial_margin > before * Decimal("1.9")
    assert core.handle(SetCollateralSwitch(USDT, enabled=False), core.now_ns).code == "10001"
    core.handle(Transfer(BTC, Decimal(1)), core.now_ns)
    counted = core.figures().adjusted_equity
    assert core.handle(SetCollateralSwitch(BTC, enabled=False), core.now_ns).ok
    assert core.figures().adjusted_equity < counted - 50000


KEYS = st.sampled_from([BTC_PERP, BTC_SPOT, SOL_PERP, SOL_SPOT])
STEPS = st.lists(
    st.tuples(
        KEYS,
        st.sampled_from(list(Side)),
        st.integers(1, 40),
        st.sampled_from(["market", "touch", "ioc", "cross"]),
        st.booleans(),
        st.integers(0, 7200),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 1000))
def test_every_change_of_every_coin_is_a_row_and_positions_keep_their_cost_exactly(
    steps: list[tuple[object, Side, int, str, bool, int]], seed: int
) -> None:
    core = moving(seed)
    for key, side, size, how, borrow, seconds in steps:
        trade(core, str(key), side, size, how, borrow)
        if not core.now_ns % 3:
            core.handle(Repay(USDT), core.now_ns)
        run(core, seconds=seconds)
    for coin in (USDT, BTC, SOL):
        booked = [row for row in core.ledger() if row.coin == coin]
        assert wallet(core, coin) == sum(row.change for row in booked)
        assert debt(core, coin) == sum(row.debt for row in booked)
        assert all(row.change == row.cash_flow + row.funding - row.fee for row in booked)
    explained = sum(
        -row.side.sign * row.quantity * row.price - row.fee
        for row in core.executions()
        if row.instrument_id in (BTC_PERP, SOL_PERP) and row.kind is not ExecutionType.FUNDING
    )
    funding = sum((row.funding for row in core.ledger()), Decimal(0))
    costs = sum((core._state.holding(key).cost for key in (BTC_PERP, SOL_PERP)), Decimal(0))
    realised = core._state.ledger.realised.get(USDT, Decimal(0))
    assert realised - costs == explained + funding


def moving(seed: int) -> VenueCore:
    """Prices that move a lot, so that orders rest, pass, lose and win."""
    coins = {
        BTC: SyntheticCoin(Decimal(60000), Decimal("0.1")),
        SOL: SyntheticCoin(Decimal(150), Decimal("0.1"), interval_minutes=60),
    }
    return venue(coins=coins, seed=seed)


def trade(core: VenueCore, key: str, side: Side, size: int, how: str, borrow: bool) -> None:
    name = InstrumentId(key)
    lots = core.listing(name).instrument.lot_size
    value = Decimal(size) * 500
    price = None if how == "market" else best(core, name, side if how == "touch" else side.opposite)
    if how == "ioc":
        price = core.book(name).asks[3].price if side is Side.BUY else core.book(name).bids[3].price
    reference = best(core, name, side)
    quantity = value / reference // lots * lots
    tif = TimeInForce.IOC if how == "ioc" else TimeInForce.GTC
    core.handle(
        order(name, side, str(quantity), price, tif=tif, borrow=borrow and "spot" in key), core.now_ns
    )
