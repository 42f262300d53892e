"""OKX portfolio margin: risk units, one per underlying coin, with their charges MR1..MR9.

A unit holds the coin's perpetuals, whatever stable coin they settle in, and the spot that offsets them.
With index = USD index of the coin, delta = quantity x mark x USD price of the settlement coin:

    MR1 = worst loss over the coin's price moves, at the index
    MR4 = basis rate x sum of |delta|
    MR6 = half of the worse loss of an extreme move up and down, at the index
    MR7 = reduction rate x sum of |delta| x multiplier of its size
    MR9 = rate x value hedged between contracts of different settlement coins
    MR2, MR3 and MR5 price options and are 0
    MMR = max(max(MR1, MR2, MR6) + MR3 + MR4 + MR5, MR7) + MR9
    IMR = 1.3 x MMR

Source: reference sheet 5.2 and 2.8 (OKX help centre, announcements of 2024-12 and 2025-01; docs-v5
`account/position-builder`, whose documented answer these formulas give to its last digit).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.errors import MissingDataError, RefusedError
from portfolio.core.margin.lookups import instrument_of, mark_of, usd_of
from portfolio.core.margin.okx_account import okx_tables
from portfolio.core.margin.okx_orders import Held
from portfolio.core.margin.okx_stress_grid import Scenario, scenarios, worst
from portfolio.core.margin.okx_tables import OkxSizeTier, OkxUnit
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin

#: IMR of a unit over its MMR.
INITIAL_FACTOR = Decimal("1.3")


@dataclass(frozen=True, slots=True)
class Contract:
    """One perpetual of a unit; USD at mark."""

    held: Held
    #: The coin that it settles in.
    settle: Coin
    #: USD value of one base coin at mark.
    price_usd: Decimal
    #: The largest |delta| that open orders can make of it.
    gross: Decimal

    @property
    def delta(self) -> Decimal:
        """Of the position, signed."""
        return self.held.quantity * self.price_usd


@dataclass(frozen=True, slots=True)
class UnitMargin:
    """One risk unit, USD. Charges that only options have are 0 and left out."""

    coin: Coin
    contracts: tuple[Contract, ...]
    #: Coins of spot that offset the positions now, >= 0.
    spot_in_use: Decimal
    #: Of the positions, without spot.
    delta: Decimal
    #: Positions and spot in use, USD at the index, signed; the moves that MR1 tries on them.
    exposure: Decimal
    shocks: tuple[Decimal, ...]
    #: The moves that cost most, open orders filled at their worst.
    mr1_worst: Scenario
    mr6_worst: Scenario
    mr1: Decimal
    mr4: Decimal
    mr6: Decimal
    mr7: Decimal
    mr9: Decimal

    @property
    def mr1_scenarios(self) -> tuple[Scenario, ...]:
        """MR1 of the positions and spot in use, move by move."""
        return scenarios(self.exposure, self.shocks)

    @property
    def maintenance_margin(self) -> Decimal:
        """The unit's `mmr`."""
        return max(max(self.mr1, self.mr6) + self.mr4, self.mr7) + self.mr9

    @property
    def initial_margin(self) -> Decimal:
        """The unit's `imr`."""
        return INITIAL_FACTOR * self.maintenance_margin


def unit_margins(
    state: MarginState,
    held: Iterable[Held],
    equity: Mapping[Coin, Decimal],
    pending: Mapping[Coin, Decimal],
    *,
    extrapolate: bool,
) -> tuple[UnitMargin, ...]:
    """Every unit with a perpetual in it.

    Args:
        state: Prices, tables and instruments.
        held: Perpetuals with what their orders could make of them.
        equity: Coins of each currency, signed.
        pending: Coins that open spot orders would give away: they offset nothing.
        extrapolate: Pass over the largest position that the venue allows.

    Raises:
        MissingDataError: a price or a unit's parameters are absent.
        RefusedError: a position with its orders is beyond the venue's largest and `extrapolate` is False.
    """
    members: dict[Coin, list[Contract]] = {}
    for row in held:
        instrument = instrument_of(state, row.instrument_id)
        price = mark_of(state, row.instrument_id) * usd_of(state, instrument.quote)
        if not extrapolate:
            _require_size(state, row)
        gross = max(abs(row.high), abs(row.low)) * price
        members.setdefault(instrument.base, []).append(Contract(row, instrument.quote, price, gross))
    return tuple(
        _unit(state, coin, tuple(rows), equity.get(coin, ZERO) - pending.get(coin, ZERO))
        for coin, rows in members.items()
    )


def _unit(state: MarginState, coin: Coin, contracts: tuple[Contract, ...], spot: Decimal) -> UnitMargin:
    tables = okx_tables(state)
    parameters = _parameters(tables.units, coin)
    index = usd_of(state, coin)
    eligible = max(ZERO, min(spot, tables.spot_in_use_max.get(coin, spot)))
    quantity = sum((row.held.quantity for row in contracts), start=ZERO)
    ends = [quantity]
    if any(row.held.orders for row in contracts):
        ends.append(sum((row.held.low for row in contracts), start=ZERO))
        ends.append(sum((row.held.high for row in contracts), start=ZERO))
    exposures = [(end + spot_in_use(end, eligible)) * index for end in ends]
    extremes = (-parameters.extreme, parameters.extreme)
    mr1_worst = min((worst(one, parameters.shocks) for one in exposures), key=lambda row: row.pnl)
    mr6_worst = min((worst(one, extremes) for one in exposures), key=lambda row: row.pnl)
    gross = sum((row.gross for row in contracts), start=ZERO)
    hedged = hedged_value(contracts)
    return UnitMargin(
        coin=coin,
        contracts=contracts,
        spot_in_use=spot_in_use(quantity, eligible),
        delta=sum((row.delta for row in contracts), start=ZERO),
        exposure=exposures[0],
        shocks=parameters.shocks,
        mr1_worst=mr1_worst,
        mr6_worst=mr6_worst,
        mr1=mr1_worst.loss,
        mr4=parameters.basis_rate * gross,
        mr6=parameters.extreme_share * mr6_worst.loss,
        mr7=parameters.reduction_rate * gross * size_factor(parameters.reduction_tiers, gross),
        mr9=hedged * size_factor(tables.hedge_tiers, hedged) if hedged else ZERO,
    )


def spot_in_use(quantity: Decimal, eligible: Decimal) -> Decimal:
    """Coins of `eligible` spot (>= 0) that offset a net `quantity` of contracts; a long has none."""
    return min(eligible, max(ZERO, -quantity))


def hedged_value(contracts: Sequence[Contract]) -> Decimal:
    """USD that contracts of different settlement coins hedge between them, open orders at their worst.

    Every way to take the coins for the long and the short side is tried; a venue has a handful of them.
    """
    if len(contracts) == 1:
        return ZERO
    longs: dict[Coin, Decimal] = {}
    shorts: dict[Coin, Decimal] = {}
    for row in contracts:
        longs[row.settle] = longs.get(row.settle, ZERO) + row.held.high * row.price_usd
        shorts[row.settle] = shorts.get(row.settle, ZERO) - row.held.low * row.price_usd
    coins = tuple(longs)
    most = ZERO
    for choice in range(2 ** len(coins)):
        sides = (ZERO, ZERO)
        for index, coin in enumerate(coins):
            if choice >> index & 1:
                sides = (sides[0] + max(ZERO, longs[coin]), sides[1])
            else:
                sides = (sides[0], sides[1] + max(ZERO, shorts[coin]))
        most = max(most, min(sides))
    return most


def size_factor(tiers: Sequence[OkxSizeTier], usd: Decimal) -> Decimal:
    """The factor for a size; beyond the last tier its factor holds on.

    Raises:
        MissingDataError: there are no tiers.
    """
    for tier in tiers:
        if tier.usd_to is None or usd <= tier.usd_to:
            return tier.factor
    if not tiers:
        raise MissingDataError(
            "The portfolio mode's size tiers are not known.",
            field="tables.venue",
            next_step="Add them to the account's OKX tables.",
        )
    return tiers[-1].factor


def _parameters(units: Mapping[Coin, OkxUnit], coin: Coin) -> OkxUnit:
    found = units.get(coin)
    if found is None:
        raise MissingDataError(
            f"{coin} has no portfolio-margin parameters.",
            field=f"tables.venue.units.{coin}",
            next_step="Add them to the account's OKX tables.",
        )
    return found


def _require_size(state: MarginState, row: Held) -> None:
    most = okx_tables(state).position_max.get(row.instrument_id)
    if most is not None and row.opening > most:
        raise RefusedError(
            f"{row.instrument_id}: {row.opening} coins are beyond the venue's largest position.",
            field=f"position_tier:{row.instrument_id}",
            allowed=f"at most {most}",
            next_step="Use a smaller size.",
        )
