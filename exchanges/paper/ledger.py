"""The account's coins and debts: every change goes through `post`, so that the rows explain every balance.

For each coin: wallet - debt = opening balance + sum of (change - debt) over its rows, exactly. Amounts that a
division or a rate makes are rounded to `CASH_STEP` before they are posted, never after.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

from exchanges.paper.rows import LedgerKind, LedgerRow
from portfolio.core.account import Balance
from portfolio.core.decimals import ZERO
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side

#: Ten digits after the point: finer than any venue shows, coarse enough that sums stay exact.
CASH_STEP = Decimal("1e-10")
#: Rows kept; older ones are history that no query of ours reads back.
ROWS_MAX = 100_000


def cash(amount: Decimal) -> Decimal:
    """`amount` rounded to the nearest cash step, ties to even."""
    return amount.quantize(CASH_STEP, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a row belongs to."""

    instrument_id: InstrumentId | None = None
    side: Side | None = None
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    size_after: Decimal = ZERO
    fee_rate: Decimal = ZERO
    order_id: str = ""
    order_link_id: str = ""
    execution_id: str = ""


NO_ORIGIN = Origin()


@dataclass(frozen=True, slots=True)
class Entry:
    """A change to post. change = cash_flow + funding - fee; `debt` moves the spot borrow."""

    kind: LedgerKind
    coin: Coin
    cash_flow: Decimal = ZERO
    funding: Decimal = ZERO
    fee: Decimal = ZERO
    debt: Decimal = ZERO
    #: Part of `debt` that is interest: shown apart until repaid.
    interest: Decimal = ZERO

    @property
    def change(self) -> Decimal:
        """What the wallet gains."""
        return self.cash_flow + self.funding - self.fee


def _empty(coin: Coin) -> Balance:
    return Balance(coin, wallet=ZERO, spot_borrow=ZERO, accrued_interest=ZERO, locked=ZERO)


class Ledger:
    """Balances by coin (without locks, which belong to the orders) and the rows that made them."""

    def __init__(self) -> None:
        self.balances: dict[Coin, Balance] = {}
        self.rows: list[LedgerRow] = []
        #: Realised PnL, funding and fees of perpetuals, all time, by settlement coin.
        self.realised: dict[Coin, Decimal] = {}
        #: Coins that changed since the last notice.
        self.touched: set[Coin] = set()
        self.posted = 0

    def balance(self, coin: Coin) -> Balance:
        """The coin's row; zeros when it was never held."""
        return self.balances.get(coin) or _empty(coin)

    def wallet(self, coin: Coin) -> Decimal:
        """Coins held, borrowed ones included; may be negative."""
        return self.balance(coin).wallet

    def debt(self, coin: Coin) -> Decimal:
        """Coins owed from spot margin trading."""
        return self.balance(coin).spot_borrow

    def post(self, entry: Entry, at_ns: int, origin: Origin = NO_ORIGIN) -> LedgerRow:
        """Apply one change and keep its row."""
        old = self.balance(entry.coin)
        interest = max(ZERO, old.accrued_interest + entry.interest)
        new = replace(
            old,
            wallet=old.wallet + entry.change,
            spot_borrow=old.spot_borrow + entry.debt,
            accrued_interest=interest,
        )
        assert new.spot_borrow >= 0, "a repayment is bounded by the debt"
        self.balances[entry.coin] = new
        self.touched.add(entry.coin)
        self.posted += 1
        row = LedgerRow(
            row_id=f"L{self.posted:09d}",
            kind=entry.kind,
            coin=entry.coin,
            change=entry.change,
            debt=entry.debt,
            cash_flow=entry.cash_flow,
            funding=entry.funding,
            fee=entry.fee,
            wallet_after=new.wallet,
            instrument_id=origin.instrument_id,
            side=origin.side,
            quantity=origin.quantity,
            price=origin.price,
            size_after=origin.size_after,
            fee_rate=origin.fee_rate,
            order_id=origin.order_id,
            order_link_id=origin.order_link_id,
            execution_id=origin.execution_id,
            at_ns=at_ns,
        )
        self.rows.append(row)
        if len(self.rows) > ROWS_MAX:
            del self.rows[: ROWS_MAX // 10]
        return row

    def borrow(self, coin: Coin, quantity: Decimal, at_ns: int, origin: Origin = NO_ORIGIN) -> None:
        """Coins come in and are owed."""
        self.post(Entry(LedgerKind.BORROW, coin, cash_flow=quantity, debt=quantity), at_ns, origin)

    def repay(self, coin: Coin, quantity: Decimal, at_ns: int) -> None:
        """Coins go out and are owed no more; interest is paid first."""
        interest = min(quantity, self.balance(coin).accrued_interest)
        entry = Entry(LedgerKind.REPAY, coin, cash_flow=-quantity, debt=-quantity, interest=-interest)
        self.post(entry, at_ns)

    def realise(self, coin: Coin, amount: Decimal) -> None:
        """Count PnL, funding or fees of a perpetual."""
        self.realised[coin] = self.realised.get(coin, ZERO) + amount
