"""OKX's table rows as risk tables."""

import json
from decimal import Decimal
from typing import Any

import pytest

from portfolio.core.decimals import parse
from portfolio.core.errors import MissingDataError
from portfolio.core.margin.okx_rows import DiscountRow, SizeRow, borrow_tiers, contract_tiers, discount_table
from portfolio.core.margin.tiers import collateral_value
from portfolio.core.names import Coin
from tests.portfolio.core.margin.golden import HERE
from tests.portfolio.core.margin.okx_accounts import swap

D = Decimal
BTC = Coin("BTC")
BETH_LADDER = (("0", "2000000", ".95"), ("2000000", "4000000", ".85"), ("4000000", "8000000", ".5"))


def first(name: str) -> Any:
    return json.loads((HERE / "data" / "okx" / f"{name}.json").read_text())["data"][0]


def discount_row(low: str, high: str, rate: str) -> DiscountRow:
    return DiscountRow(D(low), D(high) if high else None, D(rate))


def size(maximum: str) -> SizeRow:
    return SizeRow(D(maximum), D("0.1"), D("0.03"), D(10))


def test_coins_are_discounted_tier_by_tier_and_by_the_minimum_rate_above() -> None:
    rows = (discount_row("0", "20", "0.98"), discount_row("20", "25", "0.9775"))
    table = discount_table(BTC, rows, minimum_rate=D("0.5"))
    assert collateral_value(table, D(30), D(1)) == D("19.6") + D("4.8875") + D("2.5")
    nothing_above = discount_table(BTC, rows, minimum_rate=D(0))
    assert collateral_value(nothing_above, D(30), D(1)) == D("24.4875")
    off = discount_table(BTC, rows, minimum_rate=D(0), enabled=False)
    assert collateral_value(off, D(30), D(1)) == 0


def test_the_recorded_ladder_in_dollars_counts_like_a_tax() -> None:
    payload = first("GetDiscountInfo")
    rows = [
        discount_row(row["minAmt"], row["maxAmt"], row["discountRate"]) for row in payload["discountInfo"]
    ]
    assert [(row.minimum, row.maximum, row.rate) for row in rows[:3]] == [
        (D(low), D(high), D(rate)) for low, high, rate in BETH_LADDER
    ]
    table = discount_table(Coin(payload["ccy"]), rows, minimum_rate=D(0), in_usd=True)
    assert collateral_value(table, D(50000), D(100)) == 1_900_000 + 1_700_000 + 500_000
    assert collateral_value(table, D(500000), D(100)) == 1_900_000 + 1_700_000 + 2_000_000


def test_recorded_size_tiers_become_tiers_in_coins() -> None:
    row = first("GetPositionTiers")
    read = SizeRow(parse(row["maxSz"]), parse(row["imr"]), parse(row["mmr"]), parse(row["maxLever"]))
    (tier,) = contract_tiers(swap("BTC"), (read,), contract_value=D("0.01"), mark=D(60000))
    assert (tier.quantity_to, tier.notional_to, tier.deduction) == (D("0.5"), D(30000), D(0))
    assert (tier.initial_rate, tier.maintenance_rate, tier.leverage_max) == (D("0.1"), D("0.03"), D(10))
    (loan,) = borrow_tiers(BTC, (read,))
    assert (loan.quantity_to, loan.initial_rate, loan.maintenance_rate) == (D(50), D("0.1"), D("0.03"))


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (discount_row("1", "2", "0.9"),),
        (discount_row("0", "2", "0.9"), discount_row("3", "4", "0.8")),
        (discount_row("0", "", "0.9"), discount_row("3", "4", "0.8")),
        (discount_row("0", "0", "0.9"),),
        (discount_row("0", "2", "1.1"),),
        (discount_row("0", "2", "-0.1"),),
    ],
)
def test_torn_discount_tiers_are_missing_data(rows: tuple[DiscountRow, ...]) -> None:
    with pytest.raises(MissingDataError, match="BTC"):
        discount_table(BTC, rows, minimum_rate=D(0))


@pytest.mark.parametrize("rows", [(), (size("5"), size("5")), (size("0"),)])
def test_torn_size_tiers_are_missing_data(rows: tuple[SizeRow, ...]) -> None:
    with pytest.raises(MissingDataError, match="BTC"):
        contract_tiers(swap("BTC"), rows, contract_value=D("0.01"), mark=D(1))
    with pytest.raises(MissingDataError, match="BTC"):
        borrow_tiers(BTC, rows)


def test_the_last_row_may_have_no_end() -> None:
    table = discount_table(BTC, (discount_row("0", "", "0.9"),), minimum_rate=D("0.5"))
    assert collateral_value(table, D(100), D(1)) == 90
