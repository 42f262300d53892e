"""Hypothetical trades: an account after some legs were traded at mark (perpetuals) and index (spot) prices.

The borrowing model is the venue's (reference sheet 5.6: Bybit help centre "Borrowing", read 2026-11-20): a
spot order that may borrow is lent what the wallet lacks; proceeds stay in the wallet, and the debt stays
until it is repaid; a perpetual's losses and fees push its settlement coin below zero without a loan.

All spot sales come first, then perpetuals, then spot purchases, so that a swap does not borrow on the way.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from portfolio.core.account import Balance, Position
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.margin.lookups import fees_of, instrument_of, mark_of, usd_of
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin, InstrumentId

#: Selling all that is held may differ from it in the last digits of 28: no loan is taken for those.
_ROUNDING = Decimal("1e-18")


class Fee(StrEnum):
    """Which of the account's own rates a hypothetical trade pays."""

    TAKER = "taker"
    MAKER = "maker"
    NONE = "none"


def trade(
    state: MarginState,
    deltas: Mapping[InstrumentId, Decimal],
    *,
    fee: Fee = Fee.TAKER,
    repay: bool = False,
) -> MarginState:
    """The account after trading every leg of `deltas`; open orders stay as they are.

    Args:
        state: The account before.
        deltas: Base coins to buy (+) or sell (-) per instrument; a spot purchase receives its fee less.
        fee: Rates to pay: the base coin of a spot purchase, else the quote coin.
        repay: Repay debt of every coin that spot trades touched from what its wallet has, and sell coins
            that open orders reserve, as an exit does.

    Raises:
        MissingDataError: an instrument, a price or a fee that is needed is absent.
    """
    book = _Book(state, fee)
    ordered = sorted(deltas.items(), key=lambda item: _turn(instrument_of(state, item[0]), item[1]))
    for instrument_id, delta in ordered:
        if delta == 0:
            continue
        instrument = instrument_of(state, instrument_id)
        if instrument.kind is InstrumentKind.PERPETUAL:
            book.trade_perpetual(instrument, delta)
        else:
            book.trade_spot(instrument, delta, repay=repay)
    return book.state()


def _turn(instrument: Instrument, delta: Decimal) -> int:
    if instrument.kind is InstrumentKind.PERPETUAL:
        return 1
    return 2 if delta > 0 else 0


def spot_price(state: MarginState, instrument: Instrument) -> Decimal:
    """Quote per base of a spot instrument by the USD index prices of its coins.

    Raises:
        MissingDataError: a coin has no price.
    """
    return usd_of(state, instrument.base) / usd_of(state, instrument.quote)


class _Wallet:
    """One coin while it trades."""

    __slots__ = ("debt", "held", "locked")

    def __init__(self, row: Balance) -> None:
        self.held = row.wallet
        self.debt = row.spot_borrow
        self.locked = row.locked

    @property
    def free(self) -> Decimal:
        """What a spot order can spend."""
        return max(ZERO, self.held - self.locked)

    def pay(self, amount: Decimal) -> None:
        """Take coins out; what is not free is lent first, unless only rounding is missing."""
        lent = amount - self.free
        if lent <= amount * _ROUNDING:
            self.held -= min(amount, self.free)
            return
        self.held += lent - amount
        self.debt += lent

    def unlock(self, amount: Decimal) -> None:
        """Free up to `amount` coins for a sale that closes: the order that reserved them is cancelled."""
        self.locked = max(ZERO, min(self.locked, self.held - amount))

    def repay(self) -> None:
        """Give back what is free."""
        paid = min(self.free, self.debt)
        self.held -= paid
        self.debt -= paid


class _Book:
    """The account while it trades."""

    __slots__ = ("_fee", "_positions", "_state", "_touched", "_wallets")

    def __init__(self, state: MarginState, fee: Fee) -> None:
        self._state = state
        self._fee = fee
        self._wallets: dict[Coin, _Wallet] = {}
        self._touched: set[Coin] = set()
        self._positions = {row.instrument_id: row for row in state.positions}

    def _rate(self, instrument_id: InstrumentId) -> Decimal:
        if self._fee is Fee.NONE:
            return ZERO
        rates = fees_of(self._state, instrument_id)
        return rates.taker if self._fee is Fee.TAKER else rates.maker

    def _wallet(self, coin: Coin) -> _Wallet:
        found = self._wallets.get(coin)
        if found is None:
            found = self._wallets[coin] = _Wallet(_balance(self._state, coin))
        return found

    def trade_spot(self, instrument: Instrument, delta: Decimal, *, repay: bool) -> None:
        """Swap base and quote at the index price, borrowing what the wallet lacks."""
        price = spot_price(self._state, instrument)
        kept = ONE - self._rate(instrument.instrument_id)
        base, quote = self._wallet(instrument.base), self._wallet(instrument.quote)
        if delta > 0:
            quote.pay(delta * price)
            base.held += delta * kept
        else:
            if repay:
                base.unlock(-delta)
            base.pay(-delta)
            quote.held -= delta * price * kept
        if repay:
            self._touched |= {instrument.base, instrument.quote}

    def trade_perpetual(self, instrument: Instrument, delta: Decimal) -> None:
        """Trade at the mark: opening averages the entry, closing books PnL, both pay the fee."""
        instrument_id = instrument.instrument_id
        mark = mark_of(self._state, instrument_id)
        settle = self._wallet(instrument.quote)
        settle.held -= abs(delta) * mark * self._rate(instrument_id)
        position = self._positions.pop(instrument_id, None)
        if position is None:
            leverage = self._leverage(instrument)
            self._positions[instrument_id] = Position(instrument_id, delta, mark, mark, leverage)
            return
        held, entry = position.quantity, position.entry_price
        after = held + delta
        if held * delta > 0:
            entry = (held * entry + delta * mark) / after
        else:
            closed = -delta if abs(delta) <= abs(held) else held
            settle.held += closed * (mark - entry)
            if held * after < 0:
                entry = mark
        if after != 0:
            self._positions[instrument_id] = Position(instrument_id, after, entry, mark, position.leverage)

    def _leverage(self, instrument: Instrument) -> Decimal:
        """Of a position that does not exist yet: the policy's, at most the instrument's."""
        wanted = self._state.policy.perpetual
        return wanted if instrument.leverage_max is None else min(wanted, instrument.leverage_max)

    def state(self) -> MarginState:
        """The account as it is now, debts of touched coins repaid."""
        for coin in self._touched:
            self._wallets[coin].repay()
        before = self._state
        rows = {row.coin: row for row in before.balances}
        for coin, wallet in self._wallets.items():
            row = rows.get(coin)
            accrued = ZERO if row is None else row.accrued_interest
            rows[coin] = Balance(coin, wallet.held, wallet.debt, accrued, wallet.locked)
        return MarginState(
            balances=tuple(rows.values()),
            positions=tuple(self._positions.values()),
            orders=before.orders,
            prices=before.prices,
            tables=before.tables,
            instruments=before.instruments,
            policy=before.policy,
        )


def _balance(state: MarginState, coin: Coin) -> Balance:
    for row in state.balances:
        if row.coin == coin:
            return row
    return Balance(coin, ZERO, ZERO, ZERO, ZERO)
