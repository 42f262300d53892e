"""Changes of risk tables in words."""

from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import (
    BorrowTable,
    BorrowTier,
    CollateralTable,
    CollateralTier,
    FeeRates,
    PositionTier,
    RiskTables,
)
from portfolio.core.table_changes import table_changes

BTC = InstrumentId("bybit:spot:BTCUSDT")
PERPETUAL = InstrumentId("bybit:linear:SOLUSDT")
SOL = Coin("SOL")
D = Decimal


def borrow(coin: str, rate: str = "0.00001", **other: object) -> BorrowTable:
    values: dict[str, object] = {"quantity_max": None, "tiers": (), "borrowable": True}
    return BorrowTable(Coin(coin), hourly_rate=D(rate), **{**values, **other})  # type: ignore[arg-type]


def collateral(*ratios: str, enabled: bool = True, in_usd: bool = False) -> CollateralTable:
    tiers = tuple(
        CollateralTier(D(10 * n), D(10 * n + 10) if n + 1 < len(ratios) else None, D(ratio))
        for n, ratio in enumerate(ratios)
    )
    return CollateralTable(SOL, enabled, tiers, in_usd=in_usd)


def tier(to: str, mmr: str, quantity_to: str | None = None) -> PositionTier:
    border = None if quantity_to is None else D(quantity_to)
    return PositionTier(D(to), D("0.02"), D(mmr), D(50), D(0), border)


TABLES = RiskTables(
    seen_wire_ns=1,
    collateral={SOL: collateral("0.9", "0.8")},
    borrow={Coin(f"C{number}"): borrow(f"C{number}") for number in range(12)},
    positions={PERPETUAL: (tier("50000", "0.005"), tier("100000", "0.01"))},
    fees={BTC: FeeRates(D("0.001"), D("0.001"))},
)


def test_tables_that_only_grew_younger_did_not_change() -> None:
    assert table_changes(TABLES, replace(TABLES, seen_wire_ns=2)) is None


def test_a_cut_ratio_is_told_with_its_coin_from_old_to_new() -> None:
    cut = replace(TABLES, collateral={SOL: collateral("0.85", "0.75")})
    assert table_changes(TABLES, cut) == "collateral of SOL: ratio 0.9 to 10, 0.8 -> 0.85 to 10, 0.75"
    off = replace(TABLES, collateral={SOL: collateral("0.9", "0.8", enabled=False)})
    assert table_changes(TABLES, off) == "collateral of SOL: switch none -> off"
    usd = replace(TABLES, collateral={SOL: collateral("0.9", "0.8", in_usd=True)})
    assert table_changes(TABLES, usd) == "collateral of SOL: ratio 0.9 to 10, 0.8 -> 0.9 to 10 USD, 0.8 USD"
    none = replace(TABLES, collateral={SOL: collateral()})
    assert table_changes(TABLES, none) == "collateral of SOL: ratio 0.9 to 10, 0.8 -> none"


def test_changed_tiers_are_told_one_by_one() -> None:
    after = replace(TABLES, positions={PERPETUAL: (tier("50000", "0.006"),)})
    assert table_changes(TABLES, after) == (
        "positions of bybit:linear:SOLUSDT: "
        "tier 1 IM 0.02 MM 0.005 50x to 50000 less 0 -> IM 0.02 MM 0.006 50x to 50000 less 0 / "
        "tier 2 IM 0.02 MM 0.01 50x to 100000 less 0 -> none"
    )
    many = {PERPETUAL: tuple(tier(str(n), "0.005") for n in range(1, 7))}
    grown = table_changes(TABLES, replace(TABLES, positions=many))
    assert grown is not None
    assert grown.endswith("(and 3 more)")


def test_a_tier_drawn_in_coins_does_not_change_with_the_price() -> None:
    drawn = replace(TABLES, positions={PERPETUAL: (tier("50000", "0.005", "100"),)})
    dearer = replace(TABLES, positions={PERPETUAL: (tier("60000", "0.005", "100"),)})
    assert table_changes(drawn, dearer) is None
    wider = replace(TABLES, positions={PERPETUAL: (tier("60000", "0.005", "120"),)})
    assert "to 100 coins -> IM 0.02 MM 0.005 50x to 120 coins" in (table_changes(drawn, wider) or "")


def test_changed_new_and_missing_rows_are_named_by_kind() -> None:
    lent = BorrowTier(D(390), D("0.2"), D("0.04"), D(5))
    after = replace(
        TABLES,
        borrow={
            Coin("C0"): borrow("C0", "0.00003"),
            Coin("C2"): borrow("C2", borrowable=False, quantity_max=D(7), tiers=(lent,)),
            Coin("NEW"): borrow("NEW"),
        }
        | {coin: table for coin, table in TABLES.borrow.items() if coin not in ("C0", "C1", "C2")},
        fees={BTC: FeeRates(D("0.0008"), D("0.001"))},
    )
    assert table_changes(TABLES, after) == (
        "borrow of C0: hourly rate 0.00001 -> 0.00003, C1: gone, "
        "C2: lent yes -> no / quota none -> 7 / tier 1 none -> IM 0.2 MM 0.04 5x to 390, "
        "NEW: new, lent yes / hourly rate 0.00001 / quota none; "
        "fees of bybit:spot:BTCUSDT: maker 0.001 -> 0.0008"
    )


@pytest.mark.parametrize(
    ("rate", "told"), [("0.0000149", False), ("0.000015", True), ("0.0000068", False), ("0.0000066", True)]
)
def test_a_floating_borrow_rate_is_told_when_it_moved_by_half(rate: str, told: bool) -> None:
    after = replace(TABLES, borrow={**TABLES.borrow, Coin("C3"): borrow("C3", rate)})
    assert (table_changes(TABLES, after) is not None) is told
    free = replace(TABLES, borrow={**TABLES.borrow, Coin("C3"): borrow("C3", "0")})
    assert table_changes(free, after) is not None


def test_many_changes_are_counted_after_the_first_few() -> None:
    changes = table_changes(TABLES, replace(TABLES, borrow={}))
    assert changes is not None
    assert changes.endswith(" and 4 more")
