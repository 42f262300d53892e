"""Repaying debts after exits: one repayment at a time, shared by everybody who waits for it.

A venue takes one repayment a second and none in some minutes of the hour. A repayment that began after a
caller asked covers the caller's sales too, so twenty exits need few calls and not twenty.
"""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal

import anyio

from portfolio.core.account import Balance
from portfolio.core.decimals import ZERO
from portfolio.core.errors import MissingDataError
from portfolio.core.limits import MINUTE_NS
from portfolio.core.names import Coin
from portfolio.core.orders import Accepted, NotSent, Outcome, Rejected
from portfolio.operations import Sender
from portfolio.ports import Clocks
from portfolio.view import AccountView

#: Longer than any venue's repayment blackout.
REPAY_LIMIT_NS = 3 * MINUTE_NS
_RETRY_SECONDS = 5.0
#: What the sweeper's repayments are booked under.
SWEEP_OPERATION = "sweep"
_SWEEP_SECONDS = 60.0
#: Less than this is interest that comes and goes.
SWEEP_MIN_USD = Decimal(1)


class Repayer:
    """Repays what an account's own balances can repay."""

    def __init__(self, *, view: AccountView, worker: Sender, clocks: Clocks) -> None:
        self._view = view
        self._worker = worker
        self._clocks = clocks
        self._asked: defaultdict[Coin, int] = defaultdict(int)
        self._covered: defaultdict[Coin, int] = defaultdict(int)
        self._locks: defaultdict[Coin, anyio.Lock] = defaultdict(anyio.Lock)
        self._results: dict[Coin, str | None] = {}

    async def settle(self, operation_id: str, coin: Coin) -> str | None:
        """Repay the debt in `coin` as far as its balance reaches; None when done, else why it is not."""
        self._asked[coin] += 1
        ticket = self._asked[coin]
        async with self._locks[coin]:
            if self._covered[coin] < ticket:
                covers = self._asked[coin]
                self._results[coin] = await self._repay(operation_id, coin)
                self._covered[coin] = covers
            return self._results[coin]

    async def _repay(self, operation_id: str, coin: Coin) -> str | None:
        deadline = self._clocks.monotonic_ns() + REPAY_LIMIT_NS
        while True:
            if self._view.debt(coin) <= 0:
                return None
            outcome = await self._worker.repay(operation_id, coin, None)
            if isinstance(outcome, Accepted):
                return None
            await self._news()
            if isinstance(outcome, Rejected) and not self._can_repay(coin):
                # Nothing of the coin is left to repay with: what is still owed belongs to other pairs.
                return None
            if self._clocks.monotonic_ns() >= deadline:
                return f"{coin} debt is not repaid: {_text(outcome)}"
            await anyio.sleep(_RETRY_SECONDS)

    async def _news(self) -> None:
        """The venue's balance may be a moment late: give it one."""
        with anyio.move_on_after(1):
            await self._view.changed()

    def _can_repay(self, coin: Coin) -> bool:
        free = sum(
            row.wallet - row.locked for row in self._view.account_snapshot().balances if row.coin == coin
        )
        return free > 0 and self._view.debt(coin) > 0


class DebtSweeper:
    """Repays what nobody repaid: a desk may die, or lose patience, between a sale and its repayment.

    A coin that is owed while some of it is free is never meant to be: to repay changes no leg.
    """

    def __init__(self, *, view: AccountView, repayer: Repayer, recovered: Callable[[], bool]) -> None:
        self._view = view
        self._repayer = repayer
        #: Whether everything of the time before is accounted for.
        self._recovered = recovered

    async def run(self) -> None:
        """Sweep after the recovery and then every minute, until cancelled."""
        while True:
            if not self._recovered():
                await anyio.sleep(1)
                continue
            for coin in self.owing():
                await self._repayer.settle(SWEEP_OPERATION, coin)
            await anyio.sleep(_SWEEP_SECONDS)

    def owing(self) -> tuple[Coin, ...]:
        """Coins that are owed while some of them is free; none while that cannot be told."""
        snapshot = self._view.snapshot
        rows = () if snapshot is None else snapshot.balances
        return tuple(sorted(row.coin for row in rows if self._repayable_usd(row) >= SWEEP_MIN_USD))

    def _repayable_usd(self, row: Balance) -> Decimal:
        coins = min(row.spot_borrow, row.wallet - row.locked)
        try:
            return coins * self._view.coin_price(row.coin).usd
        except MissingDataError:
            return ZERO


def _text(outcome: Outcome) -> str:
    match outcome:
        case Rejected():
            return f"{outcome.venue_code} {outcome.message}".strip()
        case Accepted():
            return "accepted"
        case NotSent():
            return outcome.reason
        case _:
            return f"unknown: {outcome.reason}"
