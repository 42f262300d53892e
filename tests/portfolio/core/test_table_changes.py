"""Changes of risk tables in words."""

from dataclasses import replace
from decimal import Decimal

from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import BorrowTable, FeeRates, RiskTables
from portfolio.core.table_changes import table_changes

BTC = InstrumentId("bybit:spot:BTCUSDT")


def borrow(coin: str, rate: str = "0.00001") -> BorrowTable:
    return BorrowTable(Coin(coin), borrowable=True, hourly_rate=Decimal(rate), quantity_max=None, tiers=())


TABLES = RiskTables(
    seen_wire_ns=1,
    collateral={},
    borrow={Coin(f"C{number}"): borrow(f"C{number}") for number in range(12)},
    positions={},
    fees={BTC: FeeRates(Decimal("0.001"), Decimal("0.001"))},
)


def test_tables_that_only_grew_younger_did_not_change() -> None:
    assert table_changes(TABLES, replace(TABLES, seen_wire_ns=2)) is None


def test_changed_new_and_missing_rows_are_named_by_kind() -> None:
    after = replace(
        TABLES,
        borrow={Coin("C0"): borrow("C0", "0.00003"), Coin("NEW"): borrow("NEW")}
        | {coin: table for coin, table in TABLES.borrow.items() if coin not in ("C0", "C1")},
        fees={BTC: FeeRates(Decimal("0.0008"), Decimal("0.001"))},
    )
    assert table_changes(TABLES, after) == "borrow of C0, C1, NEW; fees of bybit:spot:BTCUSDT"


def test_many_changes_are_counted_after_the_first_few() -> None:
    changes = table_changes(TABLES, replace(TABLES, borrow={}))
    assert changes is not None
    assert changes.endswith(" and 4 more")
