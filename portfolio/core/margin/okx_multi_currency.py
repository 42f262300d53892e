"""OKX multi-currency margin (account level 3), cross: the exact rule. Equity and debt: `okx_account`.

    position IMR = notional / leverage, at no less than its tier's rate        notional at mark, in quote
    position MMR = notional x rate of the tier of the whole size, drawn in contracts; nothing is marginal
    open orders  = as much again at their limit price, those that could open
    mgnRatio     = adjEq / (MMR + liquidation fees)                            liquidation at <= 1

Liquidation fees are notional x the account's taker rate, and liability x (1 + MMR) x its spot taker rate:
three recorded `account/balance` payloads give the first to sixteen digits, the documented position-builder
answer the second. `MarginFigures.maintenance_margin` has them in it, as health and liquidation are measured
by it; the venue's own `mmr` is without (`venue_mmr`).

Source: reference sheet 5.1 (OKX help centre; docs-v5 of 2026), recorded payloads of JKorf/OKX.Net.
"""

from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import MissingDataError, RefusedError
from portfolio.core.margin.checks import require_sound
from portfolio.core.margin.lookups import fees_of, instrument_of, mark_of, usd_of
from portfolio.core.margin.okx_account import ContractTotals, assets, equities, okx_tables
from portfolio.core.margin.okx_orders import Held, held_perpetuals
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.tiers import position_tiers
from portfolio.core.margin.valuation import LegMargin, Valuation
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import PositionTier

#: What the sheet leaves open for both modes and is taken instead. Shown with every what-if.
ACCOUNT_ASSUMPTIONS: tuple[str, ...] = (
    "Maintenance margin includes liquidation fees: what the help centre divides by, not the bare mmr.",
    "Accrued interest that the venue has not booked yet lowers a coin's equity already.",
    (
        "Discounts are one complete list: a coin that it does not name, liquid-staking tokens above all, is "
        "no collateral. Above the last tier the minimum rate holds where one is listed, else 0."
    ),
    (
        "A liquid-staking token is valued at the venue's own USD index of the token, never at that of the "
        "coin it stands for."
    ),
    (
        "A borrow tier's rates hold for the whole debt; initial margin takes the larger of the tier's rate "
        "and one over the coin's leverage. Debt is whatever equity is below zero."
    ),
    (
        "Open spot orders need initial margin for all that they would borrow if every one of them filled, "
        "and each costs the collateral value that its swap loses after all the others."
    ),
    "Every open order costs its taker fee at its limit price in adjusted equity, post-only ones included.",
)

#: The same for this mode alone.
ASSUMPTIONS: tuple[str, ...] = (
    *ACCOUNT_ASSUMPTIONS,
    "The tier's maintenance rate holds for the whole position, as the help centre has it.",
    (
        "Every open perpetual order that is not reduce-only needs its own initial and maintenance margin at "
        "its limit price and counts towards the tier; orders offset neither each other nor a position."
    ),
    "A liquidation pays the account's taker rate on every position's notional at mark.",
)


def value(state: MarginState, *, reference: bool = False, extrapolate: bool = False) -> Valuation:
    """Value the account; see `MarginRule` for arguments and errors.

    Raises:
        InputError: the state is none that an account can have.
    """
    require_sound(state)
    okx_tables(state)
    contracts: dict[Coin, ContractTotals] = {}
    legs = []
    for row in held_perpetuals(state):
        totals = contracts.setdefault(instrument_of(state, row.instrument_id).quote, ContractTotals())
        leg = _add(state, row, totals, reference=reference, extrapolate=extrapolate)
        if leg is not None:
            legs.append(leg)
    found = assets(state, equities(state, contracts), contracts, reference=reference, extrapolate=extrapolate)
    initial, maintenance, fees = found.borrow_im, found.borrow_mm, found.liquidation_fees
    for coin, totals in contracts.items():
        price = usd_of(state, coin)
        initial += (totals.initial_margin + totals.order_im) * price
        maintenance += totals.maintenance_margin * price
        fees += totals.liquidation_fee * price
    return Valuation(
        figures=MarginFigures(found.total_equity, found.adjusted_equity, initial, maintenance),
        margin_balance=found.margin_balance,
        perpetual_pnl=found.perpetual_pnl,
        haircut_loss=found.spot_order_loss,
        order_loss=-found.order_fees,
        coins=found.coins,
        legs=tuple(legs),
        liquidation_fees=fees,
    )


def venue_mmr(valuation: Valuation) -> Decimal:
    """The venue's `mmr`, USD: maintenance margin without liquidation fees."""
    return valuation.figures.maintenance_margin - valuation.liquidation_fees


def margin_ratio(valuation: Valuation) -> Decimal | None:
    """The venue's `mgnRatio`, a plain ratio (3 = "300 %"); None where nothing needs margin."""
    figures = valuation.figures
    if figures.maintenance_margin == 0:
        return None
    return figures.adjusted_equity / figures.maintenance_margin


def available_equity(state: MarginState, valuation: Valuation) -> Decimal:
    """USD that may back new orders: adjEq - IMR, without coins over the venue's collateral cap."""
    restricted = okx_tables(state).restricted
    capped = sum(
        (row.collateral_usd for row in valuation.coins if row.coin in restricted and row.collateral_usd > 0),
        start=ZERO,
    )
    return valuation.figures.adjusted_equity - capped - valuation.figures.initial_margin


def _add(
    state: MarginState, row: Held, totals: ContractTotals, *, reference: bool, extrapolate: bool
) -> LegMargin | None:
    """Add a perpetual's position and orders to its settlement coin's totals; the position's row."""
    key = row.instrument_id
    tier = _tier(position_tiers(state.tables, key), key, row.opening, extrapolate=extrapolate)
    wanted = state.policy.perpetual if reference or row.leverage is None else row.leverage
    leverage = _leverage(wanted, tier.leverage_max, key)
    rate = max(ONE / leverage, tier.initial_rate)
    for order in row.orders:
        worth = order.quantity * order.limit_price
        totals.order_im += worth * rate
        totals.maintenance_margin += worth * tier.maintenance_rate
    if row.quantity == 0:
        return None
    mark = mark_of(state, key)
    worth = abs(row.quantity) * mark
    fee = worth * max(ZERO, fees_of(state, key).taker)
    leg = LegMargin(
        instrument_id=key,
        coin=instrument_of(state, key).quote,
        quantity=row.quantity,
        mark_price=mark,
        mark_value=worth,
        leverage=leverage,
        initial_margin=worth * rate,
        maintenance_margin=worth * tier.maintenance_rate + fee,
        unrealised_pnl=row.quantity * (mark - row.entry_price),
    )
    totals.unrealised_pnl += leg.unrealised_pnl
    totals.initial_margin += leg.initial_margin
    totals.maintenance_margin += leg.maintenance_margin
    totals.liquidation_fee += fee
    return leg


def _leverage(wanted: Decimal, tier_max: Decimal, key: InstrumentId) -> Decimal:
    leverage = min(wanted, tier_max)
    if leverage <= 0:
        raise MissingDataError(
            f"{key} has no leverage ({leverage}).",
            field=f"leverage.{key}",
            next_step="Read the account again.",
        )
    return leverage


def _tier(
    tiers: tuple[PositionTier, ...], key: InstrumentId, quantity: Decimal, *, extrapolate: bool
) -> PositionTier:
    """The tier of `quantity` base coins, position and open orders together."""
    for tier in tiers:
        if tier.quantity_to is None:
            raise MissingDataError(
                f"{key} has a risk tier without a size in coins.",
                field=f"tables.positions.{key}",
                next_step="Fetch the risk tables again.",
            )
        if quantity <= tier.quantity_to:
            return tier
    if extrapolate:
        return tiers[-1]
    raise RefusedError(
        f"{key}: {quantity} coins are beyond its last risk tier.",
        field=f"position_tier:{key}",
        allowed=f"at most {tiers[-1].quantity_to}",
        next_step="Use a smaller size.",
    )
