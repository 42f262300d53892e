"""OKX portfolio margin (account level 4): the exact rule. See `okx_account` for equity and debt.

    MMR = sum of unit MMRs + borrow MMR (MR8)          IMR = 1.3 x sum of unit MMRs + borrow IMR
    mgnRatio = adjEq / (MMR + liquidation fees)        fees on liabilities only: contracts pay theirs in MR7

A unit's margin belongs to all its contracts together. `LegMargin` rows carry shares of it by the size that
position and orders could reach, so that they add up; the venue repeats the unit's totals on every position
instead. A leg's `leverage` is mark value over its share: the mode knows no leverage of a position.

Source: reference sheet 5.2 and 2.8.
"""

from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.margin.checks import require_sound
from portfolio.core.margin.lookups import instrument_of, mark_of, usd_of
from portfolio.core.margin.okx_account import ContractTotals, assets, equities, okx_tables
from portfolio.core.margin.okx_multi_currency import ACCOUNT_ASSUMPTIONS
from portfolio.core.margin.okx_orders import Held, held_perpetuals, spot_orders
from portfolio.core.margin.okx_risk_units import Contract, UnitMargin, unit_margins
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.valuation import LegMargin, Valuation
from portfolio.core.names import Coin

#: What the sheet leaves open for this mode and is taken instead. Shown with every what-if.
ASSUMPTIONS: tuple[str, ...] = (
    *ACCOUNT_ASSUMPTIONS,
    (
        "Only a positive equity offsets short contracts, less what open spot orders would give away; a debt "
        "offsets no long contract, and spot in use is discounted in equity like all other."
    ),
    "Spot offsets at the coin's own USD index; a liquid-staking token is a unit of its own, not its coin's.",
    (
        "MR4 and MR7 are charged on every perpetual's own size: nothing nets between contracts, and spot in "
        "use is neither charged nor spares a contract its charge."
    ),
    (
        "MR4's share of a perpetual's delta (0.2 % BTC, 0.8 % LTC in the documented answer) follows the "
        "announced yearly class: 5 % gives 0.2 %, 15 % gives 0.8 %, 30 % gives 1.6 %."
    ),
    (
        "MR7 takes 0.45 % of delta for BTC, 0.70 % for other coins of announced classes and 1.40 % beyond "
        "them; its multipliers go by the unit's whole delta in USD and hold for all of it."
    ),
    (
        "MR6 tries twice the largest move of MR1 and charges half; coins without an announced class, SOL "
        "among them, move 25 % and 50 %."
    ),
    (
        "MR9 is added to its unit for value hedged between contracts of different settlement coins, one rate "
        "for all of it; without its tiers such a unit is refused rather than valued."
    ),
    (
        "Open perpetual orders count as if all buys or all sells of a unit had filled, whichever costs more, "
        "each perpetual's own size at its largest; an order to reduce counts nothing."
    ),
    "Contracts add no liquidation fee: the documented answer divides by MMR and fees of liabilities alone.",
)


def value(state: MarginState, *, reference: bool = False, extrapolate: bool = False) -> Valuation:
    """Value the account; see `MarginRule` for arguments and errors. `reference` changes only borrowing.

    Raises:
        InputError: the state is none that an account can have.
    """
    contracts, equity, units = _units(state, extrapolate=extrapolate)
    legs = []
    initial = maintenance = ZERO
    for unit in units:
        legs += _shares(state, unit, contracts)
        initial += unit.initial_margin
        maintenance += unit.maintenance_margin
    found = assets(state, equity, contracts, reference=reference, extrapolate=extrapolate)
    return Valuation(
        figures=MarginFigures(
            found.total_equity,
            found.adjusted_equity,
            initial + found.borrow_im,
            maintenance + found.borrow_mm,
        ),
        margin_balance=found.margin_balance,
        perpetual_pnl=found.perpetual_pnl,
        haircut_loss=found.spot_order_loss,
        order_loss=-found.order_fees,
        coins=found.coins,
        legs=tuple(legs),
        liquidation_fees=found.liquidation_fees,
    )


def risk_units(state: MarginState, *, extrapolate: bool = False) -> tuple[UnitMargin, ...]:
    """The units behind `value`, charge by charge; the same errors."""
    return _units(state, extrapolate=extrapolate)[2]


def _units(
    state: MarginState, *, extrapolate: bool
) -> tuple[dict[Coin, ContractTotals], dict[Coin, Decimal], tuple[UnitMargin, ...]]:
    """Totals per settlement coin with PnL alone, equity per coin, and the units."""
    require_sound(state)
    okx_tables(state)
    held = held_perpetuals(state)
    contracts: dict[Coin, ContractTotals] = {}
    for row in held:
        totals = contracts.setdefault(instrument_of(state, row.instrument_id).quote, ContractTotals())
        totals.unrealised_pnl += _unrealised(state, row)
    equity = equities(state, contracts)
    pending = dict(spot_orders(state).given)
    for balance in state.balances:
        pending[balance.coin] = max(pending.get(balance.coin, ZERO), balance.locked)
    return contracts, equity, unit_margins(state, held, equity, pending, extrapolate=extrapolate)


def _unrealised(state: MarginState, row: Held) -> Decimal:
    return row.quantity * (mark_of(state, row.instrument_id) - row.entry_price)


def _shares(state: MarginState, unit: UnitMargin, contracts: dict[Coin, ContractTotals]) -> list[LegMargin]:
    """Deal the unit's margin out to its contracts, into their settlement coins' totals and rows."""
    whole = sum((row.gross for row in unit.contracts), start=ZERO)
    legs = []
    initial_left, maintenance_left = unit.initial_margin, unit.maintenance_margin
    for place, row in enumerate(unit.contracts, start=1):
        initial, maintenance = initial_left, maintenance_left
        if place < len(unit.contracts):
            initial = unit.initial_margin * row.gross / whole
            maintenance = unit.maintenance_margin * row.gross / whole
        initial_left -= initial
        maintenance_left -= maintenance
        price = usd_of(state, row.settle)
        totals = contracts[row.settle]
        totals.maintenance_margin += maintenance / price
        if row.held.quantity == 0:
            totals.order_im += initial / price
        else:
            totals.initial_margin += initial / price
            legs.append(_leg(state, row, initial / price, maintenance / price))
    return legs


def _leg(state: MarginState, row: Contract, initial: Decimal, maintenance: Decimal) -> LegMargin:
    mark = mark_of(state, row.held.instrument_id)
    worth = abs(row.held.quantity) * mark
    return LegMargin(
        instrument_id=row.held.instrument_id,
        coin=row.settle,
        quantity=row.held.quantity,
        mark_price=mark,
        mark_value=worth,
        leverage=worth / initial if initial else row.held.leverage or ONE,
        initial_margin=initial,
        maintenance_margin=maintenance,
        unrealised_pnl=_unrealised(state, row.held),
    )
