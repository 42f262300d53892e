"""Lookups in tiered risk tables. Tables are ascending, as their values promise.

Perpetual tiers: reference sheet 5.5 (Bybit help centre, "Maintenance Margin Calculation", and captured
`/v5/market/risk-limit` rows of 2026-09-23). Collateral brackets: 5.2 and 5.11 ("Collateral Value Ratio",
2025-09-18; `/v5/spot-margin-trade/collateral`). Borrow tiers: 5.6 (`/v5/spot-margin-trade/position-tiers`).
"""

from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.errors import MissingDataError, RefusedError
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import BorrowTable, BorrowTier, CollateralTable, PositionTier, RiskTables

_REFRESH = "Fetch the risk tables again."


def position_tiers(tables: RiskTables, instrument_id: InstrumentId) -> tuple[PositionTier, ...]:
    """The tiers of a perpetual, never empty.

    Raises:
        MissingDataError: none are known.
    """
    tiers = tables.positions.get(instrument_id)
    if not tiers:
        raise MissingDataError(
            f"{instrument_id} has no risk tiers.",
            field=f"tables.positions.{instrument_id}",
            next_step=_REFRESH,
        )
    return tiers


def position_tier(
    tiers: tuple[PositionTier, ...], instrument_id: InstrumentId, value: Decimal, *, extrapolate: bool
) -> PositionTier:
    """The tier of a symbol whose mark value (position and open orders) is `value`, in quote.

    Raises:
        RefusedError: `value` lies beyond the last tier and `extrapolate` is False.
    """
    for tier in tiers:
        if value <= tier.notional_to:
            return tier
    if extrapolate:
        return tiers[-1]
    raise RefusedError(
        f"{instrument_id}: {value:.2f} is beyond its last risk tier.",
        field=f"position_tier:{instrument_id}",
        allowed=f"at most {tiers[-1].notional_to}",
        next_step="Use a smaller size.",
    )


def largest_value(tables: RiskTables, instrument_id: InstrumentId, mark: Decimal) -> Decimal:
    """Most that a perpetual's position and opening orders may be worth at `mark`, in quote.

    The end of its last tier. One that the venue draws in coins moves with the mark, unlike its value of when
    the tables were fetched; a largest position that the venue names besides binds as well.

    Raises:
        MissingDataError: no tiers are known.
    """
    last = position_tiers(tables, instrument_id)[-1]
    bound = last.notional_to if last.quantity_to is None else last.quantity_to * mark
    most = None if tables.venue is None else tables.venue.position_max.get(instrument_id)
    return bound if most is None else min(bound, most * mark)


def collateral_table(tables: RiskTables, coin: Coin) -> CollateralTable:
    """The collateral tiers of a coin.

    Raises:
        MissingDataError: none are known.
    """
    table = tables.collateral.get(coin)
    if table is None:
        raise MissingDataError(
            f"{coin} has no collateral table.", field=f"tables.collateral.{coin}", next_step=_REFRESH
        )
    return table


def collateral_coins(table: CollateralTable, quantity: Decimal) -> Decimal:
    """Coins of a `quantity` > 0 that count as margin, bracket by bracket; for a table `in_usd`, USD.

    What lies beyond the last bracket counts 0, and so does a coin that is no collateral.
    """
    if not table.enabled:
        return ZERO
    counted = ZERO
    for tier in table.tiers:
        top = quantity if tier.quantity_to is None or tier.quantity_to > quantity else tier.quantity_to
        if top <= tier.quantity_from:
            break
        counted += (top - tier.quantity_from) * tier.ratio
    return counted


def collateral_value(table: CollateralTable, quantity: Decimal, price: Decimal) -> Decimal:
    """USD of a `quantity` > 0 that count as margin at a USD `price` per coin, whatever bounds the tiers."""
    if table.in_usd:
        return collateral_coins(table, quantity * price)
    return collateral_coins(table, quantity) * price


def borrow_table(tables: RiskTables, coin: Coin) -> BorrowTable:
    """The borrow tiers of a coin.

    Raises:
        MissingDataError: none are known.
    """
    table = tables.borrow.get(coin)
    if table is None or not table.tiers:
        raise MissingDataError(
            f"{coin} has no borrow table.", field=f"tables.borrow.{coin}", next_step=_REFRESH
        )
    return table


def borrow_tier(table: BorrowTable, quantity: Decimal, *, extrapolate: bool) -> BorrowTier:
    """The tier of a debt of `quantity` coins; its rates hold for the whole amount.

    Raises:
        RefusedError: the debt lies beyond the last tier and `extrapolate` is False.
    """
    for tier in table.tiers:
        if tier.quantity_to is None or quantity <= tier.quantity_to:
            return tier
    if extrapolate:
        return table.tiers[-1]
    raise RefusedError(
        f"A debt of {quantity} {table.coin} is beyond the last borrow tier.",
        field=f"borrow_quota:{table.coin}",
        allowed=f"at most {table.tiers[-1].quantity_to}",
        next_step="Use a smaller size.",
    )
