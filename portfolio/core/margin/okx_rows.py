"""OKX's own table rows turned into risk tables: numbers in, values out, gaps and disorder refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.errors import MissingDataError
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import BorrowTier, CollateralTable, CollateralTier, PositionTier


@dataclass(frozen=True, slots=True)
class DiscountRow:
    """`details[]` of `public/discount-rate-interest-free-quota`; `maximum` None is its empty text."""

    minimum: Decimal
    maximum: Decimal | None
    rate: Decimal


@dataclass(frozen=True, slots=True)
class SizeRow:
    """One row of `public/position-tiers`: contracts of a derivative, or coins of a loan."""

    maximum: Decimal
    initial_rate: Decimal
    maintenance_rate: Decimal
    leverage_max: Decimal


def discount_table(
    coin: Coin,
    rows: Sequence[DiscountRow],
    *,
    minimum_rate: Decimal,
    enabled: bool = True,
    in_usd: bool = False,
) -> CollateralTable:
    """The collateral table of a coin; `minimum_rate` holds above the last row.

    Args:
        coin: The coin.
        rows: Ascending tiers without gaps, from 0; coins, or USD where `in_usd`.
        minimum_rate: `minDiscountRate`, a fraction.
        enabled: The account lets the coin be collateral (`collateralEnabled`).
        in_usd: The rows are the retired `discountInfo`, bounded in USD.

    Raises:
        MissingDataError: no rows, a gap, an open row that is not the last, or a rate outside 0..1.
    """
    field = f"tables.collateral.{coin}"
    reached: Decimal | None = ZERO
    tiers = []
    for row in rows:
        if reached is None or row.minimum != reached or not ZERO <= row.rate <= 1:
            raise _torn(f"{coin}: discount tiers have a gap or a rate that is none.", field)
        if row.maximum is not None and row.maximum <= row.minimum:
            raise _torn(f"{coin}: a discount tier ends before it begins.", field)
        tiers.append(CollateralTier(row.minimum, row.maximum, row.rate))
        reached = row.maximum
    if not tiers:
        raise _torn(f"{coin}: no discount tiers.", field)
    if reached is not None and minimum_rate > 0:
        tiers.append(CollateralTier(reached, None, minimum_rate))
    return CollateralTable(coin, enabled, tuple(tiers), in_usd)


def contract_tiers(
    key: InstrumentId, rows: Sequence[SizeRow], *, contract_value: Decimal, mark: Decimal
) -> tuple[PositionTier, ...]:
    """Tiers of a perpetual.

    Args:
        key: The perpetual.
        rows: Ascending, in contracts.
        contract_value: Base coins per contract (ctVal x ctMult), > 0.
        mark: Mark price now, in quote: the value of a tier's border for whoever does not count in coins.

    Raises:
        MissingDataError: no rows, or not ascending.
    """
    _require_ascending(str(key), f"tables.positions.{key}", rows)
    return tuple(
        PositionTier(
            notional_to=row.maximum * contract_value * mark,
            initial_rate=row.initial_rate,
            maintenance_rate=row.maintenance_rate,
            leverage_max=row.leverage_max,
            deduction=ZERO,
            quantity_to=row.maximum * contract_value,
        )
        for row in rows
    )


def borrow_tiers(coin: Coin, rows: Sequence[SizeRow]) -> tuple[BorrowTier, ...]:
    """Borrow tiers of a coin (`position-tiers` of MARGIN with `ccy`), in coins; the last one ends.

    Raises:
        MissingDataError: no rows, or not ascending.
    """
    _require_ascending(coin, f"tables.borrow.{coin}", rows)
    return tuple(
        BorrowTier(row.maximum, row.initial_rate, row.maintenance_rate, row.leverage_max) for row in rows
    )


def _require_ascending(name: str, field: str, rows: Sequence[SizeRow]) -> None:
    reached = ZERO
    for row in rows:
        if row.maximum <= reached:
            raise _torn(f"{name}: size tiers do not ascend.", field)
        reached = row.maximum
    if not rows:
        raise _torn(f"{name}: no size tiers.", field)


def _torn(message: str, field: str) -> MissingDataError:
    return MissingDataError(message, field=field, next_step="Fetch the risk tables again.")
