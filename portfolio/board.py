"""What is known right now of orders in motion: who waits for one, and which outcomes are unknown.

Memory only and for one event loop; the journal has the truth. The worker and the bookkeeper write it.
"""

import anyio

from portfolio.core.names import ClientOrderId, PairId
from portfolio.core.orders import OrderRequest


class OrderBoard:
    """Shared by the worker and the bookkeeper of one account."""

    def __init__(self) -> None:
        self._unknown: dict[ClientOrderId, PairId] = {}
        self._entries: dict[ClientOrderId, OrderRequest] = {}
        self._waiters: dict[ClientOrderId, anyio.Event] = {}
        self._work = anyio.Event()

    # --- unknown outcomes ---------------------------------------------------------------------------------

    def mark_unknown(self, client_order_id: ClientOrderId, pair_id: PairId) -> None:
        """Nobody knows whether this order took effect: probe it."""
        self._unknown[client_order_id] = pair_id
        self.wake()

    def resolve(self, client_order_id: ClientOrderId) -> None:
        """Its outcome is known and journalled."""
        self._unknown.pop(client_order_id, None)
        self.touch(client_order_id)

    def unknown_orders(self) -> tuple[ClientOrderId, ...]:
        """Orders with an unresolved outcome, oldest first."""
        return tuple(self._unknown)

    def unknown_pairs(self) -> frozenset[PairId]:
        """Their pairs."""
        return frozenset(self._unknown.values())

    def wake(self) -> None:
        """There is work for whoever resolves outcomes."""
        self._work.set()

    def woken(self) -> anyio.Event:
        """An event for the next `wake`. Take it before looking for work."""
        if self._work.is_set():
            self._work = anyio.Event()
        return self._work

    # --- entries that the account view does not show yet --------------------------------------------------

    def entry_sent(self, order: OrderRequest) -> None:
        """An ENTRY is about to go on the wire."""
        self._entries[order.client_order_id] = order

    def visible(self, client_order_id: ClientOrderId) -> None:
        """The account view shows it, or it certainly has no effect."""
        self._entries.pop(client_order_id, None)

    def entries_unseen(self) -> tuple[OrderRequest, ...]:
        """ENTRY orders that may have an effect the account view does not show."""
        return tuple(self._entries.values())

    # --- waiting ------------------------------------------------------------------------------------------

    def watch(self, client_order_id: ClientOrderId) -> anyio.Event:
        """An event that is set at the next news of an order. Take it before reading the order's row."""
        return self._waiters.setdefault(client_order_id, anyio.Event())

    def touch(self, client_order_id: ClientOrderId) -> None:
        """There is news of this order in the journal."""
        waiter = self._waiters.pop(client_order_id, None)
        if waiter is not None:
            waiter.set()
