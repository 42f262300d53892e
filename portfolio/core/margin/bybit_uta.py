"""Bybit Unified Trading Account, cross margin (REGULAR_MARGIN): the exact rule.

Per coin: equity = wallet - spot debt + unrealised PnL of the contracts that settle in it. A positive equity
counts as margin bracket by bracket, a negative one in full. Over the account, in USD:

    ECV = margin balance - haircut loss + order loss        (the denominator of the venue's two rates)
    IM  = positions + open orders + borrowings              MM = positions + borrowings

Perpetuals (s = +1 long, -1 short; q size; E entry; M mark; L leverage; f the account's own taker rate):

    fee to close = q * E * (1 - s / L) * f                  from the bankruptcy price at entry
    IM = q * M / L + fee to close
    MM = q * M * MMR - deduction + fee to close             tier by mark value of position and open orders

Sources, all read 2026-11-20: Bybit help centre "New Margin Calculation" (rules since 2025-09-02), "Glossary
- Unified Trading Account" (2026-03-13), "Borrowing", "Collateral Value Ratio" (2025-09-18), "UTA Trading
Rules"; API pages `account/wallet-balance`, `market/risk-limit`, `spot-margin-trade/collateral` and
`spot-margin-trade/position-tiers`. What they leave open is decided in ASSUMPTIONS, on the safe side.

`Balance.accrued_interest` does not enter: interest that the venue has booked is part of `spot_borrow`
already, and interest not booked yet is no debt in the venue's own equity.
"""

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ONE, ZERO, plain
from portfolio.core.errors import SettingsError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.bybit_perpetual import Settled, perpetuals
from portfolio.core.margin.checks import require_sound
from portfolio.core.margin.exact import exact_sum
from portfolio.core.margin.lookups import instrument_of, usd_of
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.tiers import (
    borrow_table,
    borrow_tier,
    collateral_coins,
    collateral_table,
)
from portfolio.core.margin.valuation import CoinValue, LegMargin, Valuation
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import LeveragePolicy

#: What the venue's pages leave open and what is taken instead. Shown with every what-if.
ASSUMPTIONS: tuple[str, ...] = (
    "Collateral ratios apply to a coin's net equity, not to wallet and debt apart.",
    "What lies beyond the last collateral bracket of a coin counts 0.",
    (
        "Borrow margin is charged on spot debt plus whatever else is negative, locked coins taken out: "
        "holding a coin does not free the margin of owing it until the debt is repaid."
    ),
    (
        "A borrow tier's rates hold for the whole debt; initial margin takes the larger of the tier's rate "
        "and one over the operator's borrow leverage."
    ),
    (
        "Every open perpetual order that is not reduce-only needs its own initial margin at its limit price, "
        "with fees to open and to close; orders offset neither each other nor a position."
    ),
    (
        "Open perpetual orders add no maintenance margin of their own, but choose the tier together with the "
        "position, which then bears its share of the tier's deduction."
    ),
    "An open spot order costs the collateral value that its coins lose by changing places, one by one.",
    "Order loss lowers the margin balance in both rates, but not the available balance.",
)

_RATE_STEP = Decimal("0.0001")
NOTHING = Settled()
#: USD of one coin or of all: equity, margin balance, IM, MM, unrealised PnL, order loss (<= 0).
CoinTerms = tuple[Decimal, ...]
NO_TERMS: CoinTerms = (ZERO,) * 6


def value(state: MarginState, *, reference: bool = False, extrapolate: bool = False) -> Valuation:
    """Value the account; see `MarginRule` for arguments and errors.

    MM never falls when a position grows on its side, as long as no tier's maximum lies below the position's
    leverage (the venue refuses such orders): there the fee to close of a long falls by a hair.

    Raises:
        NumberError: an amount is not finite, or negative where it cannot be.
        InputError: a coin has two balances, or a perpetual two positions.
    """
    require_sound(state)
    legs, settled = perpetuals(state, reference=reference, extrapolate=extrapolate)
    coins = _coins(state, settled, extrapolate=extrapolate)
    terms = [
        coin_terms(row, state.prices.usd[coin], settled.get(coin, NOTHING).order_loss)
        for coin, row in coins.items()
    ]
    totals = tuple(exact_sum(column) for column in zip(*terms, strict=True)) if terms else NO_TERMS
    haircut_loss = _haircut_loss(state, coins)
    return Valuation(
        figures=figures_of(totals, haircut_loss),
        margin_balance=+totals[1],
        perpetual_pnl=+totals[4],
        haircut_loss=haircut_loss,
        order_loss=+totals[5],
        coins=tuple(coins.values()),
        legs=legs,
    )


def coin_terms(row: CoinValue, price: Decimal, order_loss: Decimal) -> CoinTerms:
    """What one coin adds to each total; `order_loss` in the coin."""
    return (
        row.usd,
        row.collateral_usd,
        (row.position_im + row.order_im) * price + row.borrow_im,
        row.position_mm * price + row.borrow_mm,
        row.unrealised_pnl * price,
        order_loss * price,
    )


def figures_of(totals: CoinTerms, haircut_loss: Decimal) -> MarginFigures:
    """The four figures from exact totals; `haircut_loss` in USD, >= 0."""
    equity, balance, initial, maintenance, _, order_loss = totals
    return MarginFigures(+equity, +balance - haircut_loss + order_loss, +initial, +maintenance)


def rate_text(margin: Decimal, adjusted_equity: Decimal) -> str:
    """A rate as the venue prints it: truncated to four places, zeros stripped; empty while ECV <= 0."""
    if adjusted_equity <= 0:
        return ""
    return plain((margin / adjusted_equity).quantize(_RATE_STEP, rounding=ROUND_DOWN))


def liquidation_estimate(valuation: Valuation, leg: LegMargin) -> Decimal:
    """The venue's own estimate of a position's liquidation price, in quote: mark - (ECV - MM) / quantity.

    Source: "UTA Trading Rules"; the form matches a captured account of one SOLUSDT position. It ignores
    every other leg: decide nothing by it, use `stress.liquidation_prices`.
    """
    figures = valuation.figures
    return leg.mark_price - (figures.adjusted_equity - figures.maintenance_margin) / leg.quantity


def _coins(state: MarginState, settled: dict[Coin, Settled], *, extrapolate: bool) -> dict[Coin, CoinValue]:
    """Every coin that is held, owed or settled in; an empty one needs neither price nor table."""
    require_borrow_leverage(state.policy)
    found: dict[Coin, CoinValue] = {}
    for row in state.balances:
        totals = settled.get(row.coin)
        if row.wallet or row.spot_borrow or totals is not None:
            found[row.coin] = coin_value(
                state, row.coin, row.wallet, row.spot_borrow, row.locked, totals or NOTHING, extrapolate
            )
    for coin, totals in settled.items():
        if coin not in found:
            found[coin] = coin_value(state, coin, ZERO, ZERO, ZERO, totals, extrapolate)
    return found


def require_borrow_leverage(policy: LeveragePolicy) -> None:
    """Refuse a policy that borrow margin cannot be computed at.

    Raises:
        SettingsError: its borrow leverage is not greater than zero.
    """
    if policy.borrow <= 0:
        raise SettingsError(
            f"Borrow leverage {policy.borrow} must be greater than zero.", field="policy.borrow"
        )


def borrow_line(policy: LeveragePolicy) -> Decimal:
    """IM rate from which on the venue lends no more: (L - 1) / L (help centre, "Borrowing")."""
    return ONE - ONE / policy.borrow


def coin_value(
    state: MarginState,
    coin: Coin,
    wallet: Decimal,
    spot_borrow: Decimal,
    locked: Decimal,
    totals: Settled,
    extrapolate: bool,
) -> CoinValue:
    """One coin by its balance and what settles in it; errors as in `MarginRule`."""
    price = usd_of(state, coin)
    assets = wallet + totals.unrealised_pnl
    equity = assets - spot_borrow
    usd = counted = equity * price
    if equity > 0:
        counted = collateral_coins(collateral_table(state.tables, coin), equity) * price
    borrowed = spot_borrow + max(ZERO, locked - assets)
    borrow_im = borrow_mm = ZERO
    if borrowed > 0:
        tier = borrow_tier(borrow_table(state.tables, coin), borrowed, extrapolate=extrapolate)
        owed = borrowed * price
        borrow_im = owed * max(tier.initial_rate, ONE / state.policy.borrow)
        borrow_mm = owed * tier.maintenance_rate
    return CoinValue(
        coin=coin,
        equity=equity,
        usd=usd,
        collateral_usd=counted,
        haircut_usd=usd - counted,
        borrowed=borrowed,
        borrow_im=borrow_im,
        borrow_mm=borrow_mm,
        unrealised_pnl=totals.unrealised_pnl,
        position_im=totals.initial_margin,
        position_mm=totals.maintenance_margin,
        order_im=totals.order_im,
    )


def _haircut_loss(state: MarginState, coins: dict[Coin, CoinValue]) -> Decimal:
    """USD, >= 0: collateral value that open spot orders would lose, each against what is held now."""
    equities = {coin: row.equity for coin, row in coins.items()}
    losses = [
        swap_loss(state, order, equities)
        for order in state.orders
        if instrument_of(state, order.instrument_id).kind is InstrumentKind.SPOT
    ]
    return +exact_sum(losses)


def swap_loss(state: MarginState, order: RestingOrder, equities: Mapping[Coin, Decimal]) -> Decimal:
    """max(0, collateral given up - collateral received) of one open spot order, USD.

    `equities` are coins held net of debt; one that is absent is 0.
    """
    instrument = instrument_of(state, order.instrument_id)
    base, quote = order.quantity, order.quantity * order.limit_price
    if order.side is Side.BUY:
        given, taken = (instrument.quote, quote), (instrument.base, base)
    else:
        given, taken = (instrument.base, base), (instrument.quote, quote)
    lost = _counted(state, equities, given[0], ZERO) - _counted(state, equities, given[0], -given[1])
    won = _counted(state, equities, taken[0], taken[1]) - _counted(state, equities, taken[0], ZERO)
    return max(ZERO, lost - won)


def _counted(state: MarginState, equities: Mapping[Coin, Decimal], coin: Coin, change: Decimal) -> Decimal:
    """What a coin would count as margin with `change` coins more, USD."""
    quantity = equities.get(coin, ZERO) + change
    if quantity > 0:
        quantity = collateral_coins(collateral_table(state.tables, coin), quantity)
    return quantity * usd_of(state, coin)
