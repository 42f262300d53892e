"""Risk tables of Bybit v5 as values. Pure. Sources: docs/v5 market/risk-limit, spot-margin-uta pages.

The margin rules trust tables, so a number that no table of the venue's can have is refused here: a rate that
is no fraction, a leverage or a limit of nothing, tiers that overlap (coins in two of them would count twice),
a deduction that would turn maintenance margin negative. The tables from before stay, and grow old.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from exchanges.bybit.symbols import to_id
from exchanges.errors import unreadable
from exchanges.fields import Row, boolean, decimal, decimal_or_none, rows, text
from portfolio.core.decimals import ONE, ZERO
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
                notional_to=_positive(row, "riskLimitValue"),
                initial_rate=_fraction(row, "initialMargin"),
                maintenance_rate=_fraction(row, "maintenanceMargin"),
                leverage_max=_positive(row, "maxLeverage"),
                # "" on the first tier, where nothing needs to be deducted.
                deduction=decimal_or_none(row, "mmDeduction") or ZERO,
            )
        )
    return {name: _ladder(name, found) for name, found in tiers.items()}


def _ladder(name: InstrumentId, tiers: Iterable[PositionTier]) -> tuple[PositionTier, ...]:
    """The tiers in order; where one begins, its margin is not below zero."""
    ladder = tuple(sorted(tiers, key=lambda tier: tier.notional_to))
    reached = ZERO
    for tier in ladder:
        if tier.notional_to == reached:
            raise unreadable(f"risk-limit of {name}", "riskLimitValue", f"{reached} twice")
        if not ZERO <= tier.deduction <= reached * tier.maintenance_rate:
            raise unreadable(f"risk-limit of {name}", "mmDeduction", str(tier.deduction))
        reached = tier.notional_to
    return ladder


def collateral_tiers(result: Row) -> dict[Coin, tuple[CollateralTier, ...]]:
    """spot-margin-trade/collateral: ratios by coin quantity, ascending."""
    found: dict[Coin, tuple[CollateralTier, ...]] = {}
    for row in rows(result, "list"):
        tiers = [
            CollateralTier(
                decimal_or_none(tier, "minQty") or ZERO,
                decimal_or_none(tier, "maxQty"),
                _fraction(tier, "collateralRatio"),
            )
            for tier in rows(row, "collateralRatioList")
        ]
        coin = Coin(text(row, "currency"))
        found[coin] = tuple(sorted(tiers, key=lambda tier: tier.quantity_from))
        _require_apart(coin, found[coin])
    return found


def _require_apart(coin: Coin, tiers: Iterable[CollateralTier]) -> None:
    """Refuse tiers in which a coin could lie twice."""
    reached: Decimal | None = ZERO
    for tier in tiers:
        if reached is None or tier.quantity_from < reached:
            raise unreadable(f"collateral of {coin}", "minQty", str(tier.quantity_from))
        if tier.quantity_to is not None and tier.quantity_to <= tier.quantity_from:
            raise unreadable(f"collateral of {coin}", "maxQty", str(tier.quantity_to))
        reached = tier.quantity_to


def borrow_tiers(result: Row) -> dict[Coin, tuple[BorrowTier, ...]]:
    """spot-margin-trade/position-tiers: margin rates by borrowed quantity, ascending."""
    found: dict[Coin, tuple[BorrowTier, ...]] = {}
    for row in rows(result, "list"):
        tiers = [
            BorrowTier(
                decimal_or_none(tier, "borrowLimit"),
                _fraction(tier, "positionIMR"),
                _fraction(tier, "positionMMR"),
                _positive(tier, "maxLeverage"),
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
        if rate is not None and rate < 0:
            raise unreadable(f"collateral-info of {coin}", "hourlyBorrowRate", str(rate))
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
            _fraction(row, "makerFeeRate", low=-ONE), _fraction(row, "takerFeeRate", low=-ONE)
        )
        for row in fee_rows
    }


def _fraction(row: Row, field: str, *, low: Decimal = ZERO) -> Decimal:
    """A rate from `low` to 1."""
    value = decimal(row, field)
    if not low <= value <= ONE:
        raise unreadable("risk tables", field, str(value))
    return value


def _positive(row: Row, field: str) -> Decimal:
    """More than nothing."""
    value = decimal(row, field)
    if value <= 0:
        raise unreadable("risk tables", field, str(value))
    return value
