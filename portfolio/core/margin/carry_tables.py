"""One account's risk tables as arrays over the coins of its carry pairs. See `carry_arrays`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from portfolio.core.errors import MissingDataError
from portfolio.core.margin.batch import Floats
from portfolio.core.margin.tiers import borrow_table, collateral_table, position_tiers
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import CollateralTable, LeveragePolicy, PositionTier, RiskTables

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CarryTables:
    """Tables of n coins and their quote coin; tiers are padded to the longest one, K."""

    #: (n,): 0 .. n - 1, to index rows of tiers with.
    columns: Ints
    #: (n, K - 1): upper ends of all tiers but the last, in quote and in coins (infinite where there is none).
    value_ends: Floats
    quantity_ends: Floats
    #: (n,): end of the last tier, in quote.
    value_max: Floats
    #: (n, K).
    maintenance_rate: Floats
    initial_rate: Floats
    deduction: Floats
    leverage_max: Floats
    #: (n,): leverage in use, at most the instrument's.
    leverage: Floats
    #: (n,): taker rate of the perpetual and of the spot instrument.
    taker: Floats
    spot_fee: Floats
    #: OKX: what buying back a liability costs.
    spot_taker: float
    #: (n, C): collateral tiers; bounds in coins, or in USD where `in_usd` (n,).
    collateral_from: Floats
    collateral_size: Floats
    collateral_ratio: Floats
    in_usd: NDArray[np.bool_]
    quote_from: Floats
    quote_size: Floats
    quote_ratio: Floats
    #: (B - 1,) upper ends and (B,) rates of the quote coin's borrow tiers.
    borrow_ends: Floats
    borrow_initial: Floats
    borrow_maintenance: Floats
    borrow_leverage_max: Floats
    borrow_leverage: float
    #: The most that may be owed, quote coins.
    borrow_max: float

    def of(self, columns: Ints) -> "CarryTables":
        """The tables of some coins, in this order."""
        return replace(
            self,
            columns=np.arange(len(columns)),
            **{name: getattr(self, name)[columns] for name in _PER_COIN},
        )

    def tier_of_value(self, notional: Floats) -> Ints:
        """(S, n): the tier of each position by its value in quote."""
        return _tier(self.value_ends, notional)

    def tier_of_quantity(self, quantity: Floats) -> Ints:
        """(S, n): the tier of each position by its coins."""
        return _tier(self.quantity_ends, quantity)

    def borrow_tier(self, borrowed: Floats) -> Ints:
        """(S,): the tier of each debt; its rates hold for the whole amount."""
        return np.searchsorted(self.borrow_ends, borrowed, side="left")

    def counted(self, quantity: Floats, price: Floats, shift: Floats) -> Floats:
        """(S, n): USD of coins that count as margin."""
        scale = np.where(self.in_usd, price, 1.0)
        size = (quantity * scale)[:, :, None]
        inside = np.clip(size - self.collateral_from, 0.0, self.collateral_size)
        ratio = np.clip(self.collateral_ratio + shift[:, None, None], 0.0, 1.0)
        found: Floats = np.einsum("snc,snc->sn", inside, np.broadcast_to(ratio, inside.shape))
        return found * (price / scale)

    def quote_counted(self, quote: Floats, shift: Floats) -> Floats:
        """(S,): what the quote coin counts; a debt counts in full."""
        inside = np.clip(quote[:, None] - self.quote_from, 0.0, self.quote_size)
        ratio = np.clip(self.quote_ratio + shift[:, None], 0.0, 1.0)
        return np.where(quote > 0, (inside * ratio).sum(axis=1), quote)


#: Fields with one row per coin.
_PER_COIN = (
    "value_ends", "quantity_ends", "value_max", "maintenance_rate", "initial_rate", "deduction",
    "leverage_max", "leverage", "taker", "spot_fee", "collateral_from", "collateral_size",
    "collateral_ratio", "in_usd",
)  # fmt: skip


def carry_tables(
    tables: RiskTables,
    policy: LeveragePolicy,
    coins: Sequence[Coin],
    perpetuals: Sequence[InstrumentId],
    spots: Sequence[InstrumentId],
    quote: Coin,
    leverage_max: Sequence[float],
) -> CarryTables:
    """Compile an account's tables for these coins, their perpetuals and spot instruments, in one order.

    Args:
        tables: As the exact rule reads them.
        policy: Reference leverage.
        coins: Base coins.
        perpetuals: Of each coin.
        spots: Of each coin.
        quote: What everything is quoted and settled in, priced at 1 USD.
        leverage_max: Largest leverage of each perpetual; infinite where the venue names none.

    Raises:
        MissingDataError: a table or a fee is absent.
    """
    tiers = [position_tiers(tables, key) for key in perpetuals]
    fees = {key: _fee(tables, key) for key in (*perpetuals, *spots)}
    collateral = [collateral_table(tables, coin) for coin in coins]
    width = max((len(_sizes(table)) for table in collateral), default=1)
    borrow = borrow_table(tables, quote)
    bounds = (borrow.quantity_max, borrow.tiers[-1].quantity_to)
    ratios = [_padded(_sizes(table), width) for table in collateral]
    own = _sizes(collateral_table(tables, quote))
    venue = tables.venue
    return CarryTables(
        columns=np.arange(len(coins)),
        value_ends=_ends(tiers, [[float(row.notional_to) for row in rows] for rows in tiers]),
        quantity_ends=_ends(tiers, [[_quantity(row) for row in rows] for rows in tiers]),
        value_max=np.array([float(rows[-1].notional_to) for rows in tiers]),
        maintenance_rate=_rates(tiers, [[float(row.maintenance_rate) for row in rows] for rows in tiers]),
        initial_rate=_rates(tiers, [[float(row.initial_rate) for row in rows] for rows in tiers]),
        deduction=_rates(tiers, [[float(row.deduction) for row in rows] for rows in tiers]),
        leverage_max=_rates(tiers, [[float(row.leverage_max) for row in rows] for rows in tiers]),
        leverage=np.minimum(float(policy.perpetual), np.array(leverage_max, dtype=np.float64)),
        taker=np.array([fees[key] for key in perpetuals]),
        spot_fee=np.array([fees[key] for key in spots]),
        spot_taker=0.0 if venue is None else float(venue.spot_taker_fee),
        collateral_from=np.array([[row[0] for row in rows] for rows in ratios]).reshape(len(coins), width),
        collateral_size=np.array([[row[1] for row in rows] for rows in ratios]).reshape(len(coins), width),
        collateral_ratio=np.array([[row[2] for row in rows] for rows in ratios]).reshape(len(coins), width),
        in_usd=np.array([table.in_usd for table in collateral], dtype=np.bool_),
        quote_from=np.array([row[0] for row in own]),
        quote_size=np.array([row[1] for row in own]),
        quote_ratio=np.array([row[2] for row in own]),
        borrow_ends=np.array(
            [np.inf if row.quantity_to is None else float(row.quantity_to) for row in borrow.tiers[:-1]]
        ),
        borrow_initial=np.array([float(row.initial_rate) for row in borrow.tiers]),
        borrow_maintenance=np.array([float(row.maintenance_rate) for row in borrow.tiers]),
        borrow_leverage_max=np.array([float(row.leverage_max) for row in borrow.tiers]),
        borrow_leverage=float(policy.borrow),
        borrow_max=min((float(row) for row in bounds if row is not None), default=np.inf)
        if borrow.borrowable
        else 0.0,
    )


def _tier(ends: Floats, amounts: Floats) -> Ints:
    found: Ints = (amounts[:, :, None] > ends).sum(axis=2)
    return found


def _fee(tables: RiskTables, key: InstrumentId) -> float:
    found = tables.fees.get(key)
    if found is None:
        raise MissingDataError(f"{key} has no fee rate.", field=f"tables.fees.{key}")
    return float(found.taker)


def _quantity(row: PositionTier) -> float:
    return np.inf if row.quantity_to is None else float(row.quantity_to)


def _sizes(table: CollateralTable) -> list[tuple[float, float, float]]:
    """From, size and ratio of each tier."""
    if not table.enabled:
        return [(0.0, np.inf, 0.0)]
    return [
        (
            float(row.quantity_from),
            np.inf if row.quantity_to is None else float(row.quantity_to - row.quantity_from),
            float(row.ratio),
        )
        for row in table.tiers
    ]


def _padded(rows: list[tuple[float, float, float]], width: int) -> list[tuple[float, float, float]]:
    return [*rows, *[(0.0, 0.0, 0.0)] * (width - len(rows))]


def _ends(tiers: Sequence[tuple[PositionTier, ...]], values: list[list[float]]) -> Floats:
    """All but the last end of each row, padded with infinity."""
    width = max((len(rows) for rows in tiers), default=1)
    padded = [row[:-1] + [np.inf] * (width - len(row)) for row in values]
    return np.array(padded, dtype=np.float64).reshape(len(tiers), width - 1)


def _rates(tiers: Sequence[tuple[PositionTier, ...]], values: list[list[float]]) -> Floats:
    """Rows padded with their last value."""
    width = max((len(rows) for rows in tiers), default=1)
    padded = [row + [row[-1]] * (width - len(row)) for row in values]
    return np.array(padded, dtype=np.float64).reshape(len(tiers), width)
