"""Risk tables of Bybit v5 as values. Pure. Sources: docs/v5 market/risk-limit, spot-margin-uta pages."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from exchanges.bybit.symbols import to_id
from exchanges.fields import Row, boolean, decimal, decimal_or_none, rows, text
from portfolio.core.decimals import ZERO
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import (
    BorrowTable,
    BorrowTier,
    CollateralTable,
    CollateralTier,
    FeeRates,
    PositionTier,
)


def position_tiers(risk_rows: Iterable[Row]) -> dict[InstrumentId, tuple[PositionTier, ...]]:
    """Rows of risk-limit (in any order) as ascending tiers by instrument."""
    tiers: dict[InstrumentId, list[PositionTier]] = {}
    for row in risk_rows:
        tiers.setdefault(to_id("linear", text(row, "symbol")), []).append(
            PositionTier(
                notional_to=decimal(row, "riskLimitValue"),
                initial_rate=decimal(row, "initialMargin"),
                maintenance_rate=decimal(row, "maintenanceMargin"),
                leverage_max=decimal(row, "maxLeverage"),
                # "" on the first tier, where nothing needs to be deducted.
                deduction=decimal_or_none(row, "mmDeduction") or ZERO,
            )
        )
    return {name: tuple(sorted(found, key=lambda tier: tier.notional_to)) for name, found in tiers.items()}


def collateral_tiers(result: Row) -> dict[Coin, tuple[CollateralTier, ...]]:
    """spot-margin-trade/collateral: ratios by coin quantity, ascending."""
    found: dict[Coin, tuple[CollateralTier, ...]] = {}
    for row in rows(result, "list"):
        tiers = [
            CollateralTier(
                decimal_or_none(tier, "minQty") or ZERO,
                decimal_or_none(tier, "maxQty"),
                decimal(tier, "collateralRatio"),
            )
            for tier in rows(row, "collateralRatioList")
        ]
        found[Coin(text(row, "currency"))] = tuple(sorted(tiers, key=lambda tier: tier.quantity_from))
    return found


def borrow_tiers(result: Row) -> dict[Coin, tuple[BorrowTier, ...]]:
    """spot-margin-trade/position-tiers: margin rates by borrowed quantity, ascending."""
    found: dict[Coin, tuple[BorrowTier, ...]] = {}
    for row in rows(result, "list"):
        tiers = [
            BorrowTier(
                decimal_or_none(tier, "borrowLimit"),
                decimal(tier, "positionIMR"),
                decimal(tier, "positionMMR"),
                decimal(tier, "maxLeverage"),
            )
            for tier in rows(row, "positionTiersRatioList")
        ]
        found[Coin(text(row, "currency"))] = tuple(sorted(tiers, key=_borrow_order))
    return found


def _borrow_order(tier: BorrowTier) -> Decimal:
    return Decimal("Infinity") if tier.quantity_to is None else tier.quantity_to


def coin_tables(
    result: Row,
    collateral: Mapping[Coin, tuple[CollateralTier, ...]],
    borrow: Mapping[Coin, tuple[BorrowTier, ...]],
) -> tuple[dict[Coin, CollateralTable], dict[Coin, BorrowTable]]:
    """Join account/collateral-info (switches, rates, limits) with the two tier lists.

    A coin that the tier lists lack has no table: unknown, not zero. Without both switches it counts nothing.
    """
    collaterals: dict[Coin, CollateralTable] = {}
    borrows: dict[Coin, BorrowTable] = {}
    for row in rows(result, "list"):
        coin = Coin(text(row, "currency"))
        enabled = boolean(row, "marginCollateral") and boolean(row, "collateralSwitch")
        if coin in collateral or not enabled:
            collaterals[coin] = CollateralTable(coin, enabled, collateral.get(coin, ()))
        rate = decimal_or_none(row, "hourlyBorrowRate")
        if coin in borrow and rate is not None:
            borrows[coin] = BorrowTable(
                coin,
                boolean(row, "borrowable"),
                rate,
                decimal_or_none(row, "maxBorrowingAmount"),
                borrow[coin],
            )
    return collaterals, borrows


def fee_rates(category: str, fee_rows: Iterable[Row]) -> dict[InstrumentId, FeeRates]:
    """account/fee-rate of one category."""
    return {
        to_id(category, text(row, "symbol")): FeeRates(
            decimal(row, "makerFeeRate"), decimal(row, "takerFeeRate")
        )
        for row in fee_rows
    }
