"""Recorded payloads become values; unknown words and missing fields are errors, "" is "does not apply"."""

from decimal import Decimal

import pytest

from exchanges.bybit import parse, parse_account, parse_tables
from exchanges.bybit.parse import Stamp
from exchanges.fields import Row, integer, rows
from portfolio.core.account import Position
from portfolio.core.errors import Effect, VenueError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import Coin, InstrumentId
from portfolio.ports import Credentials
from tests.exchanges.bybit.payloads import first, result

AT = Stamp(market_ns=1, wire_ns=2)
BTC = InstrumentId("bybit:linear:BTCUSDT")


def test_a_spot_pair_has_its_precision_as_lot_and_its_amount_as_minimum() -> None:
    row = first("GetSpotSymbols")
    row["lotSizeFilter"] = {
        "basePrecision": "0.000001",
        "minOrderAmt": "5",
        "maxLimitOrderQty": "83",
        "maxMarketOrderQty": "41.5",
    }
    one = parse.spot_instrument(row)
    assert one is not None
    assert (one.instrument_id, one.kind) == ("bybit:spot:BTCUSDT", InstrumentKind.SPOT)
    assert (one.lot_size, one.quantity_min, one.notional_min) == (
        Decimal("0.000001"),
        Decimal("0.000001"),
        Decimal(5),
    )
    assert (one.quantity_max, one.market_quantity_max) == (Decimal(83), Decimal("41.5"))
    assert one.marginable


def test_an_older_spot_row_without_caps_has_none() -> None:
    one = parse.spot_instrument(first("GetSpotSymbols"))
    assert one is not None
    assert one.quantity_max is None


def test_a_perpetual_has_its_interval_in_minutes() -> None:
    one = parse.linear_instrument(first("GetLinearInverseSymbols"))
    assert one is not None
    assert one.instrument_id == BTC
    assert one.funding_interval_minutes == 480
    assert one.leverage_max == Decimal(100)
    assert one.notional_min == Decimal(5)


@pytest.mark.parametrize(
    ("field", "word"), [("status", "Closed"), ("contractType", "LinearFutures"), ("status", "PreLaunch")]
)
def test_what_does_not_trade_as_a_perpetual_now_is_left_out(field: str, word: str) -> None:
    assert parse.linear_instrument(first("GetLinearInverseSymbols") | {field: word}) is None


@pytest.mark.parametrize(
    ("name", "field", "word"),
    [
        ("GetLinearInverseSymbols", "status", "Sleeping"),
        ("GetSpotSymbols", "marginTrading", "maybe"),
        ("GetSpotSymbols", "priceFilter", None),
        ("GetLinearInverseSymbols", "fundingInterval", ""),
    ],
)
def test_a_word_that_nobody_knows_is_an_error(name: str, field: str, word: object) -> None:
    row = first(name) | {field: word}
    reader = parse.spot_instrument if name == "GetSpotSymbols" else parse.linear_instrument
    with pytest.raises(VenueError) as caught:
        reader(row)
    assert caught.value.effect is Effect.UNKNOWN
    assert field in str(caught.value)


def test_a_linear_ticker_gives_mark_and_quote_but_no_funding_without_its_interval() -> None:
    row = first("GetLinearInverseTickers")
    mark = parse.ticker_mark(BTC, row, AT)
    assert (mark.mark_price, mark.index_price) == (Decimal("16596.00"), Decimal("16598.54"))
    quote = parse.ticker_quote(BTC, row, AT)
    assert (quote.bids[0].price, quote.asks[0].price) == (Decimal("16596.00"), Decimal("16597.50"))
    assert parse.ticker_funding(BTC, row, AT) is None
    known = parse.ticker_funding(BTC, row | {"fundingIntervalHour": "4"}, AT)
    assert known is not None
    assert (known.predicted_rate, known.interval_minutes) == (Decimal("-0.001034"), 240)
    assert known.next_settlement_market_ns == 1672387200000 * 1_000_000


def test_a_spot_ticker_prices_its_coin_unless_it_is_no_collateral() -> None:
    row = first("GetSpotTickers")
    price = parse.ticker_coin(Coin("BTC"), row, AT)
    assert price is not None
    assert price.usd == Decimal("20784.12009279")
    assert parse.ticker_coin(Coin("BTC"), row | {"usdIndexPrice": ""}, AT) is None


def test_the_price_of_tether_is_the_reference_coins_usd_index_over_its_tether_index() -> None:
    assert parse.quote_coin_price(Decimal(59_970), Decimal(60_000), AT).usd == Decimal("0.9995")


def test_candles_and_rates_meet_at_the_close_of_the_candle_that_ended_there() -> None:
    closes = parse.kline_closes(result("GetKlines"))
    assert closes[1670608800000] == Decimal("17055.5")
    hour = 3_600_000
    settled = [(1670608800000 + hour) * 1_000_000, 1 * 1_000_000]
    assert parse.settlement_closes(settled, closes, hour) == {settled[0]: Decimal("17055.5")}
    assert parse.funding_history(result("GetFundingRateHistory")) == [
        (1672041600000 * 1_000_000, Decimal("0.0001"))
    ]


def test_position_tiers_come_out_ascending_with_an_empty_first_deduction_as_zero() -> None:
    tier = {
        "symbol": "BTCUSDT",
        "riskLimitValue": "2000000",
        "maintenanceMargin": "0.005",
        "initialMargin": "0.01",
        "maxLeverage": "100.00",
        "mmDeduction": "510",
    }
    lowest = tier | {"riskLimitValue": "300000", "maintenanceMargin": "0.0033", "mmDeduction": ""}
    tiers = parse_tables.position_tiers([tier, lowest])[BTC]
    assert [one.notional_to for one in tiers] == [Decimal(300_000), Decimal(2_000_000)]
    assert [one.deduction for one in tiers] == [Decimal(0), Decimal(510)]


RISK_ROW: Row = {
    "symbol": "BTCUSDT",
    "riskLimitValue": "2000000",
    "maintenanceMargin": "0.005",
    "initialMargin": "0.01",
    "maxLeverage": "100.00",
    "mmDeduction": "",
}


@pytest.mark.parametrize(
    ("field", "number"),
    [
        ("riskLimitValue", "0"),
        ("riskLimitValue", "-1"),
        ("maintenanceMargin", "-0.005"),
        ("maintenanceMargin", "1.005"),
        ("initialMargin", "-0.01"),
        ("maxLeverage", "0"),
        ("maxLeverage", "-100"),
        ("maxLeverage", "NaN"),
        ("mmDeduction", "-1"),
        ("mmDeduction", "1"),
    ],
)
def test_a_risk_tier_that_none_can_be_is_refused(field: str, number: str) -> None:
    with pytest.raises(VenueError, match=field):
        parse_tables.position_tiers([{**RISK_ROW, field: number}])


def test_a_deduction_is_at_most_the_margin_where_its_tier_begins_and_no_tier_is_there_twice() -> None:
    second = {**RISK_ROW, "riskLimitValue": "5000000", "maintenanceMargin": "0.01"}
    assert parse_tables.position_tiers([RISK_ROW, {**second, "mmDeduction": "20000"}])
    with pytest.raises(VenueError, match="mmDeduction"):
        parse_tables.position_tiers([RISK_ROW, {**second, "mmDeduction": "20000.01"}])
    with pytest.raises(VenueError, match="riskLimitValue"):
        parse_tables.position_tiers([RISK_ROW, RISK_ROW])


@pytest.mark.parametrize(
    ("tiers", "field"),
    [
        ((("0", "", "1.01"),), "collateralRatio"),
        ((("0", "", "-0.1"),), "collateralRatio"),
        ((("0", "10", "0.9"), ("0", "10", "0.9")), "minQty"),
        ((("0", "10", "0.9"), ("9", "", "0.9")), "minQty"),
        ((("0", "", "0.9"), ("10", "", "0.5")), "minQty"),
        ((("-1", "", "0.9"),), "minQty"),
        ((("0", "0", "0.9"),), "maxQty"),
    ],
)
def test_collateral_that_would_count_twice_or_more_than_it_is_worth_is_refused(
    tiers: tuple[tuple[str, str, str], ...], field: str
) -> None:
    ratios = [{"minQty": low, "maxQty": high, "collateralRatio": ratio} for low, high, ratio in tiers]
    with pytest.raises(VenueError, match=field):
        parse_tables.collateral_tiers({"list": [{"currency": "BTC", "collateralRatioList": ratios}]})


@pytest.mark.parametrize(
    ("field", "number"), [("positionIMR", "-0.2"), ("positionMMR", "1.2"), ("maxLeverage", "0")]
)
def test_a_borrow_tier_that_none_can_be_is_refused(field: str, number: str) -> None:
    tier = {"borrowLimit": "", "positionIMR": "0.2", "positionMMR": "0.04", "maxLeverage": "5"}
    sound = {"list": [{"currency": "BTC", "positionTiersRatioList": [tier]}]}
    assert parse_tables.borrow_tiers(sound)[Coin("BTC")][0].quantity_to is None
    broken = {"list": [{"currency": "BTC", "positionTiersRatioList": [{**tier, field: number}]}]}
    with pytest.raises(VenueError, match=field):
        parse_tables.borrow_tiers(broken)


def test_a_negative_borrow_rate_and_a_fee_of_more_than_all_are_refused() -> None:
    info = result("GetCollateralInfo")
    paid = {"list": [{**rows(info, "list")[0], "hourlyBorrowRate": "-0.001"}]}
    with pytest.raises(VenueError, match="hourlyBorrowRate"):
        parse_tables.coin_tables(paid, {}, {})
    rebate = {"symbol": "BTCUSDT", "makerFeeRate": "-0.0001", "takerFeeRate": "0.00055"}
    assert parse_tables.fee_rates("linear", [rebate])[BTC].maker == Decimal("-0.0001")
    with pytest.raises(VenueError, match="takerFeeRate"):
        parse_tables.fee_rates("linear", [{**rebate, "takerFeeRate": "5"}])


def test_a_coin_has_tables_only_where_every_part_is_known() -> None:
    info = result("GetCollateralInfo")
    ratios = parse_tables.collateral_tiers(
        {
            "list": [
                {
                    "currency": "BTC",
                    "collateralRatioList": [
                        {"minQty": "10", "maxQty": "", "collateralRatio": "0.9"},
                        {"minQty": "0", "maxQty": "10", "collateralRatio": "0.98"},
                    ],
                }
            ]
        }
    )
    collateral, borrow = parse_tables.coin_tables(info, ratios, {})
    assert collateral[Coin("BTC")].enabled
    assert [tier.ratio for tier in collateral[Coin("BTC")].tiers] == [Decimal("0.98"), Decimal("0.9")]
    assert collateral[Coin("BTC")].tiers[1].quantity_to is None
    assert borrow == {}
    off = {"list": [dict(rows(info, "list")[0]) | {"collateralSwitch": False}]}
    assert not parse_tables.coin_tables(off, ratios, {})[0][Coin("BTC")].enabled
    assert parse_tables.coin_tables(info, {}, {})[0] == {}


def test_a_wallet_has_the_venues_four_totals() -> None:
    balances, figures = parse_account.wallet(first("GetBalances"))
    assert [row.coin for row in balances] == ["BTC"]
    assert figures.total_equity == Decimal("3.31216591")
    assert figures.adjusted_equity == Decimal("3.00326056")


def test_a_wallet_in_isolated_mode_is_refused_because_it_has_no_totals() -> None:
    with pytest.raises(VenueError, match="totalEquity"):
        parse_account.wallet(first("GetBalances") | {"totalEquity": ""})


def position_row(**changes: object) -> Row:
    row = first("GetPositions") | {"symbol": "BTCUSDT", "positionIdx": 0}
    return row | changes


def test_a_short_position_is_negative_and_a_flat_one_is_none() -> None:
    name, held = parse_account.position(position_row(), "avgPrice")
    assert name == BTC
    assert isinstance(held, Position)
    assert held.quantity == Decimal(-300)
    assert held.entry_price == Decimal("27464.50441675")
    assert parse_account.position(position_row(side="", size="0"), "avgPrice") == (BTC, None)


@pytest.mark.parametrize("change", [{"positionIdx": 2}, {"side": "Long"}, {"side": ""}, {"leverage": ""}])
def test_a_position_that_cannot_be_held_here_is_an_error(change: dict[str, object]) -> None:
    with pytest.raises(VenueError):
        parse_account.position(position_row(**change), "avgPrice")


def test_the_ledger_keeps_cash_with_our_sign_and_leaves_trades_to_executions() -> None:
    entries = [parse_account.cash(row) for row in rows(result("GetTransactionHistory"), "list")]
    funding = entries[0]
    assert funding is not None
    assert (funding.kind, funding.coin, funding.amount) == ("funding", "USDT", Decimal("-0.003676"))
    assert funding.instrument_id == "bybit:linear:XRPUSDT"
    assert entries[1:] == [None] * len(entries[1:])


def test_a_ledger_row_of_an_unknown_type_is_booked_as_such_and_named_by_the_venues_word() -> None:
    row = dict(rows(result("GetTransactionHistory"), "list")[0])
    known, entry = parse_account.cash(row), parse_account.cash(row | {"type": "MAGIC"})
    assert known is not None
    assert entry is not None
    assert (entry.kind, entry.reference) == ("unknown", f"MAGIC:{known.reference}")
    assert (entry.coin, entry.amount, entry.instrument_id) == ("USDT", Decimal("-0.003676"), None)


def account(**changes: object) -> Row:
    return {"unifiedMarginStatus": 6, "marginMode": "REGULAR_MARGIN"} | changes


def test_a_key_says_what_it_may_do() -> None:
    key = result("GetApiKeyInfo")
    assert parse_account.credentials(key, account()) == Credentials("24617703", True, False, False)
    permissions = dict(key["permissions"]) if isinstance(key["permissions"], dict) else {}
    withdrawing = dict(key) | {"permissions": permissions | {"Wallet": ["Withdraw"]}}
    assert parse_account.credentials(withdrawing, account()).can_withdraw
    reading = parse_account.credentials(dict(key) | {"readOnly": 1}, account())
    assert (reading.can_trade, reading.read_only) == (False, True)


@pytest.mark.parametrize("change", [{"unifiedMarginStatus": 4}, {"marginMode": "PORTFOLIO_MARGIN"}])
def test_an_account_that_the_margin_rule_does_not_describe_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(VenueError) as caught:
        parse_account.credentials(result("GetApiKeyInfo"), account(**change))
    assert caught.value.effect is Effect.REJECTED
    assert caught.value.next_step


@pytest.mark.parametrize(
    "candle",
    [
        ["1", "1", "1", "1", "NaN"],
        ["1", "1", "1", "1", "1e-999999999"],
        ["\u00b2", "1", "1", "1", "1"],
        ["1"],
    ],
)
def test_a_candle_that_has_no_finite_close_or_no_time_is_an_error(candle: list[str]) -> None:
    with pytest.raises(VenueError, match="kline"):
        parse.kline_closes({"list": [candle]})


@pytest.mark.parametrize("number", ["\u00b2", "--1", "9" * 5000, "1.0", 10**30, True])
def test_a_whole_number_of_the_venue_is_digits_of_at_most_64_bits(number: object) -> None:
    with pytest.raises(VenueError, match="payload: field at"):
        integer({"at": number}, "at")
    assert integer({"at": "-12"}, "at") == -12
