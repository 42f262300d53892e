"""What the engine is asked and what it answers, and the two doors it needs: the sender and the guard."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from portfolio.core.intents import LegBound
from portfolio.core.names import ClientOrderId, Coin, IntentId, PairId
from portfolio.core.orders import CancelRequest, OrderRequest, Outcome, Priority
from portfolio.core.reconcile import Course
from portfolio.ports import OrderRow
from portfolio.worker import OrderResult


class MoveMode(StrEnum):
    """How a pair is moved."""

    #: The lead rests post-only and takes after a deadline; the hedge takes.
    NORMAL = "normal"
    #: Both legs take.
    URGENT = "urgent"


class MoveEnd(StrEnum):
    """How a move ended. Nothing of it is in flight any more, except after FENCED."""

    #: The target is reached up to dust, and debts are repaid.
    REACHED = "reached"
    #: A gate or a refusal stopped it; what was filled is hedged or taken back as far as the venue let us.
    STOPPED = "stopped"
    #: The intent was cancelled: unsent slices dropped, hedges completed.
    CANCELLED = "cancelled"
    #: The guard took the pair.
    FENCED = "fenced"


class Permit(Protocol):
    """How far an entry may go while the exits that pay for it are under way."""

    def coins(self) -> Decimal:
        """Most coins that the whole operation may have done now."""
        ...

    def final(self) -> bool:
        """No more will be permitted than now."""
        ...


@dataclass(frozen=True, slots=True)
class Operation:
    """One pair's move: an intent's target, or the guard's own operation ("g...")."""

    operation_id: IntentId
    pair_id: PairId
    #: Coins of one leg, fixed for the operation's whole life, restarts included.
    course: Course
    mode: MoveMode
    bounds: tuple[LegBound, ...]
    #: False: a risk exit, which asks no gate and waits for nothing.
    optional: bool = True
    #: None: nothing else has to happen first.
    permit: Permit | None = None
    #: Somebody waits for the margin of this exit: repay after every slice, not only at the end.
    frees_margin: bool = False


@dataclass(frozen=True, slots=True)
class MoveResult:
    """What became of a move. Coins, positive in the operation's direction, by booked fills."""

    pair_id: PairId
    end: MoveEnd
    reason: str
    planned: Decimal
    lead_done: Decimal
    hedge_done: Decimal


class Sender(Protocol):
    """The worker, as the engine uses it."""

    @property
    def journal_failure(self) -> str | None:
        """Why the journal could not be used when the worker last tried; None: it could."""
        ...

    async def submit(self, orders: Sequence[OrderRequest], priority: Priority) -> tuple[OrderResult, ...]:
        """Send each once; an answer for each, in order."""
        ...

    async def cancel(self, orders: Sequence[CancelRequest]) -> tuple[Outcome, ...]:
        """Cancel working orders."""
        ...

    async def repay(self, operation_id: str, coin: Coin, quantity: Decimal | None) -> Outcome:
        """Repay debt from the coin's own balance; None: all that is possible."""
        ...

    async def settled(self, client_order_id: ClientOrderId, *, timeout_ns: int) -> OrderRow:
        """The order's row once it is settled, or as it is when the limit passes."""
        ...


class GuardGate(Protocol):
    """The guard, as the engine and the controller see it."""

    def holds(self, pair_id: PairId) -> bool:
        """Whether the guard has taken this pair: nobody else may trade it."""
        ...

    def frozen_reason(self) -> str | None:
        """Why entries are frozen; None: they are not."""
        ...
