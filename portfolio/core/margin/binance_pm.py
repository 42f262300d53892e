"""Binance Portfolio Margin (retail, PM_2): the exact rule.

Per coin, over cross margin and futures wallets together (their split does not matter):

    net    = assets - (loan + interest) + unrealised PnL of the USD-M contracts that settle in it
    equity = min(net x index x collateral rate, net x index)      a positive net is cut, a negative one is not

Over the account, in USD:

    ECV = sum of equity - open loss of cross-margin orders         MM = futures + margin loans
    futures: |position x mark| x MMR - cum, by bracket of the position; IM = |position x mark| / leverage
    loans:   MM = loan x MMR x index; IM = loan x index / (leverage - 1)
    uniMMR = ECV / MM                                              see `binance_status`

There is no offset between spot and futures: the legs of a hedge add up, and what joins them is the equity.

Sources, read 2026-11-20 in the reference sheet: Binance FAQs "uniMMR", "Portfolio Margin trading rules",
"Portfolio Margin limits and collateral" and "Portfolio Margin liquidation"; API pages `papi/v1/account`,
`papi/v1/balance`, `papi/v1/um/leverageBracket`, `sapi/v1/portfolio/collateralRate`; announcements on WBETH
and BNSOL of 2025-10-06 and 2025-11-28. What they leave open is decided in ASSUMPTIONS, on the safe side.

How a state is read: `Balance.wallet` = crossMarginFree + crossMarginLocked + umWalletBalance (+ CM), which
may be negative; `spot_borrow` = crossMarginBorrowed + crossMarginInterest; `accrued_interest` is part of it;
`locked` is part of the wallet. `PositionTier.deduction` = cum. `BorrowTier.leverage_max` is the leverage that
the venue grants for a loan of the coin (`sapi/v1/portfolio/margin-asset-leverage`), `maintenance_rate` its
MMR. `prices.usd` are `asset-index-price`.
"""

from collections.abc import Mapping
from decimal import Decimal

from portfolio.core.account import Balance, MarginFigures
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import MissingDataError, SettingsError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.binance_perpetual import Settled, perpetuals
from portfolio.core.margin.checks import require_sound
from portfolio.core.margin.exact import exact_sum
from portfolio.core.margin.lookups import instrument_of, usd_of
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.tiers import borrow_table, borrow_tier, collateral_table, collateral_value
from portfolio.core.margin.valuation import CoinValue, Valuation
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import BorrowTier

#: What the venue's pages leave open and is taken instead. Shown with every what-if.
ASSUMPTIONS: tuple[str, ...] = (
    (
        "Collateral rates apply to a coin's net over all wallets, loans and unrealised PnL; a rate above 1 "
        "counts as 1, and what lies beyond the last tier counts 0."
    ),
    (
        "A coin that the venue's collateral table does not list is an error, not the 10 % that an FAQ of "
        "2022 grants."
    ),
    (
        "A margin loan needs the maintenance rate of its table (10 % by the only published example) on "
        "principal and interest, whatever margin leverage is chosen."
    ),
    (
        "Initial margin of a loan is one over its leverage less one, at the smaller of the operator's and "
        "the venue's leverage, or the table's initial rate where that is more."
    ),
    (
        "A balance below zero without a margin loan (futures losses) counts in full and needs initial margin "
        "like a loan, but no maintenance margin: the published formula charges margin loans only."
    ),
    (
        "Every open futures order that is not reduce-only needs its own initial margin at the larger of its "
        "limit price and the mark; orders offset neither each other nor a position."
    ),
    (
        "Initial margin uses the smaller of the leverage set and the maximum of the bracket that position "
        "and open orders reach together; maintenance margin uses the bracket of the position alone."
    ),
    (
        "The open loss of a cross-margin order is the larger of what its limit price gives away against the "
        "index and what its coins lose as collateral by changing places, one by one."
    ),
    (
        "WBETH and BNSOL count at the venue's index, which follows their conversion ratio and not their "
        "market; the depeg stress takes its share off all the same."
    ),
    (
        "The uniMMR bands 1.5, 1.2, 1.05 and 1.0 of PM Pro hold for Portfolio Margin, and an edge belongs to "
        "the worse band."
    ),
)

_NOTHING = Settled()
#: USD of one coin or of all: equity, margin balance, IM, MM, unrealised PnL.
CoinTerms = tuple[Decimal, ...]
NO_TERMS: CoinTerms = (ZERO,) * 5


def value(state: MarginState, *, reference: bool = False, extrapolate: bool = False) -> Valuation:
    """Value the account; see `MarginRule` for arguments and errors.

    Raises:
        NumberError: an amount is not finite, or negative where it cannot be.
        InputError: a coin has two balances, or a perpetual two positions.
        SettingsError: the policy's borrow leverage is not above 1.
    """
    require_sound(state)
    require_leverage(state)
    legs, settled = perpetuals(state, reference=reference, extrapolate=extrapolate)
    coins = _coins(state, settled, extrapolate=extrapolate)
    terms = [coin_terms(row, state.prices.usd[coin]) for coin, row in coins.items()]
    totals = tuple(exact_sum(column) for column in zip(*terms, strict=True)) if terms else NO_TERMS
    nets = {coin: row.equity for coin, row in coins.items()}
    spot = (row for row in state.orders if _is_spot(state, row))
    losses = +exact_sum(open_loss(state, row, nets) for row in spot)
    return Valuation(
        figures=figures_of(totals, losses),
        margin_balance=+totals[1],
        perpetual_pnl=+totals[4],
        haircut_loss=losses,
        order_loss=ZERO,
        coins=tuple(coins.values()),
        legs=legs,
    )


def require_leverage(state: MarginState) -> None:
    """Refuse a borrow leverage at which a loan would need no margin or an endless one.

    Raises:
        SettingsError: it is not above 1.
    """
    if state.policy.borrow <= ONE:
        raise SettingsError(
            f"Borrow leverage {state.policy.borrow} must be greater than one.", field="policy.borrow"
        )


def figures_of(totals: CoinTerms, losses: Decimal) -> MarginFigures:
    """The figures from the exact totals of all coins and the open loss of all cross-margin orders."""
    equity, margin_balance, initial, maintenance, _ = totals
    return MarginFigures(+equity, margin_balance - losses, +initial, +maintenance)


def coin_terms(row: CoinValue, price: Decimal) -> CoinTerms:
    """What a coin adds to the account, USD."""
    return (
        row.usd,
        row.collateral_usd,
        (row.position_im + row.order_im) * price + row.borrow_im,
        row.position_mm * price + row.borrow_mm,
        row.unrealised_pnl * price,
    )


def _coins(
    state: MarginState, settled: Mapping[Coin, Settled], *, extrapolate: bool
) -> dict[Coin, CoinValue]:
    """Every coin that is held, owed or settled in; an empty one needs neither price nor table."""
    rows = {row.coin: row for row in state.balances if row.wallet or row.spot_borrow or row.coin in settled}
    rows |= {coin: Balance(coin, ZERO, ZERO, ZERO, ZERO) for coin in settled if coin not in rows}
    return {
        coin: coin_value(state, row, settled.get(coin, _NOTHING), extrapolate=extrapolate)
        for coin, row in rows.items()
    }


def coin_value(state: MarginState, balance: Balance, totals: Settled, *, extrapolate: bool) -> CoinValue:
    """One coin over everything that holds, owes or settles in it; errors as in `MarginRule`."""
    coin, loan = balance.coin, balance.spot_borrow
    price = usd_of(state, coin)
    assets = balance.wallet + totals.unrealised_pnl
    net = assets - loan
    usd = net * price
    counted = _counted_usd(state, coin, net)
    borrowed = loan + max(ZERO, -assets)
    borrow_im = borrow_mm = ZERO
    if borrowed > 0:
        tier = borrow_tier(borrow_table(state.tables, coin), borrowed, extrapolate=extrapolate)
        borrow_im = _loan_im(state, coin, borrowed * price, tier)
        borrow_mm = loan * price * tier.maintenance_rate
    return CoinValue(
        coin=coin,
        equity=net,
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


def _counted_usd(state: MarginState, coin: Coin, net: Decimal) -> Decimal:
    """min(net x index x rate, net x index), USD: a debt counts in full and needs no collateral table."""
    price = usd_of(state, coin)
    if net <= 0:
        return net * price
    return min(net * price, collateral_value(collateral_table(state.tables, coin), net, price))


def _loan_im(state: MarginState, coin: Coin, owed_usd: Decimal, tier: BorrowTier) -> Decimal:
    """Initial margin of what is owed, USD."""
    leverage = min(state.policy.borrow, tier.leverage_max)
    if leverage <= ONE:
        raise MissingDataError(
            f"{coin} has no usable loan leverage ({leverage}).",
            field=f"tables.borrow.{coin}",
            next_step="Fetch the risk tables again.",
        )
    return max(owed_usd * tier.initial_rate, owed_usd / (leverage - ONE))


def _is_spot(state: MarginState, order: RestingOrder) -> bool:
    return instrument_of(state, order.instrument_id).kind is InstrumentKind.SPOT


def open_loss(state: MarginState, order: RestingOrder, nets: Mapping[Coin, Decimal]) -> Decimal:
    """USD, >= 0: what an open cross-margin order would lose, against the nets (coins) held now.

    The larger of what its price gives away and of what its coins lose as collateral by changing places.
    """
    instrument = instrument_of(state, order.instrument_id)
    sign = ONE if order.side is Side.BUY else -ONE
    base, quote = sign * order.quantity, -sign * order.quantity * order.limit_price
    given_away = -base * usd_of(state, instrument.base) - quote * usd_of(state, instrument.quote)
    collateral = _gain(state, nets, instrument.base, base) + _gain(state, nets, instrument.quote, quote)
    return max(ZERO, given_away, -collateral)


def _gain(state: MarginState, nets: Mapping[Coin, Decimal], coin: Coin, change: Decimal) -> Decimal:
    """How much more a coin would count with `change` coins more, USD; negative is less."""
    held = nets.get(coin, ZERO)
    return _counted_usd(state, coin, held + change) - _counted_usd(state, coin, held)
