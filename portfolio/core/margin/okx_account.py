"""OKX, multi-currency and portfolio mode alike: equity per coin, what of it counts, debt, open spot orders.

Per coin:   eq = cash balance + unrealised PnL of the contracts settled in it - accrued interest
            liability = |min(0, eq)|                             borrowing is automatic, nothing else is debt
            discounted eq = sum over tiers (coins in tier x rate) x index where eq > 0, else eq x index

Account:    adjEq = sum of discounted eq - loss of open spot orders - estimated fees of open orders
            borrow IMR = (liability + what open orders would borrow) x max(tier's rate, 1 / coin's leverage)
            borrow MMR = liability x tier's rate                the tier of the whole debt, drawn in coins

Source: reference sheet 5.1 and 2.8 (OKX help centre on multi-currency margin; docs-v5 `account/balance`,
`account/position-builder`, `public/discount-rate-interest-free-quota`, `public/position-tiers` of MARGIN).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.account import Balance
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import MissingDataError, SettingsError
from portfolio.core.margin.lookups import fees_of, instrument_of, usd_of
from portfolio.core.margin.okx_orders import SpotOrders, spot_orders
from portfolio.core.margin.okx_tables import OkxTables
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.tiers import borrow_table, borrow_tier, collateral_value
from portfolio.core.margin.valuation import CoinValue
from portfolio.core.names import Coin

_NOTHING_HELD = Balance(Coin(""), ZERO, ZERO, ZERO, ZERO)


class ContractTotals:
    """Totals of the contracts that settle in one coin, in that coin. Grows while an account is valued."""

    __slots__ = ("initial_margin", "liquidation_fee", "maintenance_margin", "order_im", "unrealised_pnl")

    def __init__(self) -> None:
        self.unrealised_pnl = ZERO
        self.initial_margin = ZERO
        #: Liquidation fees in it.
        self.maintenance_margin = ZERO
        self.liquidation_fee = ZERO
        self.order_im = ZERO


@dataclass(frozen=True, slots=True)
class Assets:
    """Everything but the contracts' own margin, USD."""

    coins: tuple[CoinValue, ...]
    total_equity: Decimal
    #: Discounted equity of all coins, before open-order terms.
    margin_balance: Decimal
    #: >= 0: what open spot orders would lose by their price and by swapping into a lower rate.
    spot_order_loss: Decimal
    #: >= 0: taker fees of all open orders.
    order_fees: Decimal
    borrow_im: Decimal
    #: Liquidation fees in it.
    borrow_mm: Decimal
    liquidation_fees: Decimal
    perpetual_pnl: Decimal

    @property
    def adjusted_equity(self) -> Decimal:
        """The venue's adjEq."""
        return self.margin_balance - self.spot_order_loss - self.order_fees


def okx_tables(state: MarginState) -> OkxTables:
    """The account's OKX tables.

    Raises:
        MissingDataError: the state has none.
    """
    found = state.tables.venue
    if not isinstance(found, OkxTables):
        raise MissingDataError(
            "The account has no OKX tables.", field="tables.venue", next_step="Fetch the risk tables again."
        )
    return found


def counted_usd(state: MarginState, coin: Coin, equity: Decimal) -> Decimal:
    """What `equity` coins count as margin, USD: tiers over a positive equity, a negative one in full.

    Discounts are fetched for all coins at once, so a coin that they do not name is no collateral (as the
    sheet has it for liquid-staking tokens): it counts 0.

    Raises:
        MissingDataError: the coin has no price, or no discounts are known at all.
    """
    price = usd_of(state, coin)
    if equity <= 0:
        return equity * price
    if not state.tables.collateral:
        raise MissingDataError(
            "No discount rates are known.",
            field="tables.collateral",
            next_step="Fetch the risk tables again.",
        )
    table = state.tables.collateral.get(coin)
    return ZERO if table is None else collateral_value(table, equity, price)


def equities(state: MarginState, contracts: Mapping[Coin, ContractTotals]) -> dict[Coin, Decimal]:
    """Coins of every coin that is held, owed or settled in; an empty one is left out."""
    found: dict[Coin, Decimal] = {}
    for row in state.balances:
        if row.wallet or row.spot_borrow or row.accrued_interest or row.locked or row.coin in contracts:
            found[row.coin] = row.wallet - row.spot_borrow - row.accrued_interest
    for coin, totals in contracts.items():
        found[coin] = found.get(coin, ZERO) + totals.unrealised_pnl
    return found


def assets(
    state: MarginState,
    equity: Mapping[Coin, Decimal],
    contracts: Mapping[Coin, ContractTotals],
    *,
    reference: bool,
    extrapolate: bool,
) -> Assets:
    """Value every coin; see `MarginRule` for arguments and errors."""
    orders = spot_orders(state)
    balances = {row.coin: row for row in state.balances}
    rows = []
    total = margin_balance = borrow_im = borrow_mm = fees = pnl = ZERO
    for coin in [*equity, *(coin for coin in orders.given if coin not in equity)]:
        pending = max(orders.given.get(coin, ZERO), balances.get(coin, _NOTHING_HELD).locked)
        row, fee = _coin(
            state,
            coin,
            equity.get(coin, ZERO),
            pending,
            contracts.get(coin) or ContractTotals(),
            reference=reference,
            extrapolate=extrapolate,
        )
        rows.append(row)
        total += row.usd
        margin_balance += row.collateral_usd
        borrow_im += row.borrow_im
        borrow_mm += row.borrow_mm
        fees += fee
        pnl += row.unrealised_pnl * usd_of(state, coin)
    return Assets(
        coins=tuple(rows),
        total_equity=total,
        margin_balance=margin_balance,
        spot_order_loss=_spot_order_loss(state, equity, orders),
        order_fees=_order_fees(state),
        borrow_im=borrow_im,
        borrow_mm=borrow_mm,
        liquidation_fees=fees,
        perpetual_pnl=pnl,
    )


def _coin(
    state: MarginState,
    coin: Coin,
    equity: Decimal,
    pending: Decimal,
    totals: ContractTotals,
    *,
    reference: bool,
    extrapolate: bool,
) -> tuple[CoinValue, Decimal]:
    """The coin's row, and the liquidation fee of its liability in USD."""
    price = usd_of(state, coin)
    usd = equity * price
    counted = counted_usd(state, coin, equity)
    borrow_im = borrow_mm = fee = ZERO
    liability = max(ZERO, -equity)
    potential = max(ZERO, pending - equity)
    if potential > 0:
        table = borrow_table(state.tables, coin)
        tier = borrow_tier(table, potential, extrapolate=extrapolate)
        leverage = min(_borrow_leverage(state, coin, reference=reference), tier.leverage_max)
        if leverage <= 0:
            raise MissingDataError(
                f"{coin} has no usable loan leverage ({leverage}).",
                field=f"tables.borrow.{coin}",
                next_step="Fetch the risk tables again.",
            )
        borrow_im = potential * price * max(tier.initial_rate, ONE / leverage)
        if liability > 0:
            rate = borrow_tier(table, liability, extrapolate=extrapolate).maintenance_rate
            fee = liability * price * (ONE + rate) * okx_tables(state).spot_taker_fee
            borrow_mm = liability * price * rate + fee
    row = CoinValue(
        coin=coin,
        equity=equity,
        usd=usd,
        collateral_usd=counted,
        haircut_usd=usd - counted,
        borrowed=liability,
        borrow_im=borrow_im,
        borrow_mm=borrow_mm,
        unrealised_pnl=totals.unrealised_pnl,
        position_im=totals.initial_margin,
        position_mm=totals.maintenance_margin,
        order_im=totals.order_im,
    )
    return row, fee


def _borrow_leverage(state: MarginState, coin: Coin, *, reference: bool) -> Decimal:
    """Leverage of borrowing a coin: the account's own setting, or the policy's."""
    own = None if reference else okx_tables(state).borrow_leverage.get(coin)
    leverage = state.policy.borrow if own is None else own
    if not leverage.is_finite() or leverage <= 0:
        raise SettingsError(
            f"Borrow leverage {leverage} of {coin} must be greater than zero.", field="policy.borrow"
        )
    return leverage


def _spot_order_loss(state: MarginState, equity: Mapping[Coin, Decimal], orders: SpotOrders) -> Decimal:
    """USD, >= 0. Each order swaps coins at its worst place: after all others gave and took theirs."""
    loss = ZERO
    for row in orders.swaps:
        low = equity.get(row.given_coin, ZERO) - orders.given[row.given_coin]
        high = equity.get(row.taken_coin, ZERO) + orders.taken[row.taken_coin]
        lost = counted_usd(state, row.given_coin, low + row.given) - counted_usd(state, row.given_coin, low)
        won = counted_usd(state, row.taken_coin, high) - counted_usd(state, row.taken_coin, high - row.taken)
        loss += max(ZERO, lost - won)
    return loss


def _order_fees(state: MarginState) -> Decimal:
    """USD, >= 0: every open order's taker fee at its limit price; a rebate counts nothing."""
    fees = ZERO
    for order in state.orders:
        instrument = instrument_of(state, order.instrument_id)
        rate = max(ZERO, fees_of(state, order.instrument_id).taker)
        fees += order.quantity * order.limit_price * rate * usd_of(state, instrument.quote)
    return fees
