"""Orders that rest for nobody: their intent has ended, so no engine attends or hedges them any more.

An engine withdraws what rests before its intent ends; this is for the times when it could not: the cancel got
lost, data were missing for too long, or the desk died in between.
"""

from portfolio.core.intents import IntentStatus
from portfolio.core.orders import CancelRequest, OrderRequest, TimeInForce
from portfolio.operations import Sender
from portfolio.ports import Journal, OrderRow, Runner

#: While an intent is in one of these, its engines attend its orders.
RUNNING = frozenset({IntentStatus.EXECUTING, IntentStatus.CANCELLING})
_RESTING = frozenset({TimeInForce.GTC, TimeInForce.POST_ONLY})


class Leftovers:
    """Withdraws them."""

    def __init__(self, *, journal: Journal, runner: Runner, worker: Sender) -> None:
        self._journal = journal
        self._runner = runner
        self._worker = worker

    async def withdraw(self) -> None:
        """Cancel every order that rests for nobody; one that is gone already refuses, which is as well.

        Raises:
            JournalError: the journal cannot be read.
        """
        orders = await self._runner.run(lambda: resting_for_nobody(self._journal))
        if orders:
            await self._worker.cancel(
                [CancelRequest(one.client_order_id, one.instrument_id) for one in orders]
            )


def resting_for_nobody(journal: Journal) -> tuple[OrderRequest, ...]:
    """Resting orders of intents that have ended, as the journal has them. Synchronous: for a runner."""
    return tuple(row.request for row in journal.orders(unsettled_only=True) if _abandoned(journal, row))


def _abandoned(journal: Journal, row: OrderRow) -> bool:
    if row.request.time_in_force not in _RESTING:
        return False
    intent = journal.intent(row.request.intent_id)
    return intent is not None and intent.status not in RUNNING
