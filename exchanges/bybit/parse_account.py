"""Account payloads of Bybit v5 as values: wallet, positions, cash ledger, key. Pure."""

from exchanges.bybit.symbols import to_id
from exchanges.errors import unreadable
from exchanges.fields import Row, decimal, decimal_or_none, integer, mapping, rows, text, texts
from portfolio.core.account import Balance, MarginFigures, Position
from portfolio.core.decimals import ZERO
from portfolio.core.entries import UNKNOWN_CASH, CashBooked
from portfolio.core.errors import Effect, VenueError
from portfolio.core.names import Coin, InstrumentId
from portfolio.ports import Credentials

MS_NS = 1_000_000
CROSS = "REGULAR_MARGIN"
#: `unifiedMarginStatus` of UTA 2.0 and UTA 2.0 Pro.
_UTA2 = (5, 6)

#: Rows of the transaction log that move cash without a trade, as we name them.
_CASH_KINDS = {
    "SETTLEMENT": "funding",
    "INTEREST": "interest",
    "TRANSFER_IN": "transfer",
    "TRANSFER_OUT": "transfer",
    "FEE_REFUND": "other",
    "BONUS": "other",
    "BONUS_RECOLLECT": "other",
    "AIRDROP": "other",
    "CONVERT": "other",
    "CURRENCY_BUY": "other",
    "CURRENCY_SELL": "other",
    "SPOT_REPAYMENT_BUY": "other",
    "SPOT_REPAYMENT_SELL": "other",
    "TOKENS_SUBSCRIPTION": "other",
    "TOKENS_REDEMPTION": "other",
}
#: Rows that executions already tell (TRADE...) or that move coins and debt alike (BORROW, REPAY).
_NOT_CASH = frozenset({"TRADE", "LIQUIDATION", "ADL", "DELIVERY", "BORROW", "REPAY", "MOVE_POSITION"})


def wallet(row: Row) -> tuple[tuple[Balance, ...], MarginFigures]:
    """One account of wallet-balance, or one row of the wallet topic.

    Raises:
        VenueError: also when the account-level figures are empty, as they are in isolated margin mode.
    """
    figures = MarginFigures(
        total_equity=decimal(row, "totalEquity"),
        adjusted_equity=decimal(row, "totalMarginBalance"),
        initial_margin=decimal(row, "totalInitialMargin"),
        maintenance_margin=decimal(row, "totalMaintenanceMargin"),
    )
    return tuple(balance(coin) for coin in rows(row, "coin")), figures


def balance(row: Row) -> Balance:
    """One coin. `walletBalance` includes what was borrowed (since August 2025)."""
    return Balance(
        coin=Coin(text(row, "coin")),
        wallet=decimal(row, "walletBalance"),
        spot_borrow=decimal_or_none(row, "spotBorrow") or ZERO,
        accrued_interest=decimal_or_none(row, "accruedInterest") or ZERO,
        locked=decimal_or_none(row, "locked") or ZERO,
    )


def position(row: Row, entry_field: str) -> tuple[InstrumentId, Position | None]:
    """One linear position; `entry_field` is avgPrice in REST, entryPrice on the stream. None: flat.

    Raises:
        VenueError: also for a hedge-mode row, which this project does not hold.
    """
    name = to_id("linear", text(row, "symbol"))
    if integer(row, "positionIdx") != 0:
        raise unreadable("position", "positionIdx", row.get("positionIdx"))
    size = decimal(row, "size")
    side = text(row, "side")
    if side not in ("Buy", "Sell", ""):
        raise unreadable("position", "side", side)
    if size == 0:
        return name, None
    if side == "":
        raise unreadable("position", "side", side)
    return name, Position(
        instrument_id=name,
        quantity=size if side == "Buy" else -size,
        entry_price=decimal(row, entry_field),
        mark_price=decimal(row, "markPrice"),
        leverage=decimal(row, "leverage"),
    )


def cash(row: Row) -> CashBooked | None:
    """One row of the transaction log; None when executions or debts tell it. Positive: received.

    A type that is not known here is booked as such: one row that nobody understands must not keep all others
    from being read.
    """
    kind = text(row, "type")
    if kind in _NOT_CASH:
        return None
    symbol = text(row, "symbol")
    # change = cashFlow + funding - fee, so it has our sign for every kind.
    return CashBooked(
        kind=_CASH_KINDS.get(kind, UNKNOWN_CASH),
        reference=_reference(row) if kind in _CASH_KINDS else f"{kind}:{_reference(row)}",
        instrument_id=to_id("linear", symbol) if kind == "SETTLEMENT" and symbol else None,
        coin=Coin(text(row, "currency")),
        amount=decimal(row, "change"),
        event_market_ns=integer(row, "transactionTime") * MS_NS,
    )


def _reference(row: Row) -> str:
    # `id` repeats between rows of one instant, so the trade id and the coin go with it.
    return ":".join((text(row, "id"), text(row, "tradeId"), text(row, "currency")))


def credentials(key: Row, account: Row) -> Credentials:
    """What user/query-api and account/info say together.

    Raises:
        VenueError: not a unified account 2.0, or not in cross margin mode.
    """
    status = integer(account, "unifiedMarginStatus")
    mode = text(account, "marginMode")
    if status not in _UTA2:
        raise _unfit(f"unifiedMarginStatus is {status}", "Upgrade the account to UTA 2.0.")
    if mode != CROSS:
        raise _unfit(f"marginMode is {mode}", f"Switch the account to cross margin ({CROSS}).")
    permissions = mapping(key, "permissions")
    read_only = integer(key, "readOnly") == 1
    spot = "SpotTrade" in _granted(permissions, "Spot")
    linear = bool(_granted(permissions, "ContractTrade") or _granted(permissions, "Derivatives"))
    return Credentials(
        uid=str(integer(key, "userID")),
        can_trade=spot and linear and not read_only,
        can_withdraw="Withdraw" in _granted(permissions, "Wallet"),
        read_only=read_only,
    )


def _granted(permissions: Row, area: str) -> tuple[str, ...]:
    return texts(permissions, area) if area in permissions else ()


def _unfit(what: str, next_step: str) -> VenueError:
    return VenueError(
        f"This account cannot be traded here: {what}.",
        effect=Effect.REJECTED,
        venue_code="account",
        next_step=next_step,
    )
