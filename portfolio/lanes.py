"""Queues of the worker: one lane per (operation, kind), the most urgent first, and what a lane may send now.

A batch holds jobs of one rank only. While a more urgent job waits for its limit, no less urgent one of the
same lane goes. Pure but for the events that callers wait on.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Generic, TypeVar

import anyio

from portfolio.core.bucket import Grant, RateBucket
from portfolio.core.errors import InputError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.orders import CancelRequest, NotSent, OrderClass, OrderRequest, Outcome, Priority
from portfolio.ports import VenueTraits

R = TypeVar("R", OrderRequest, CancelRequest)


class Rank(IntEnum):
    """Cancel > Guard > De-risk > Exit > Entry; a hedge that comes with an entry goes before exits."""

    CANCEL = 0
    GUARD = 1
    DERISK = 2
    HEDGE = 3
    EXIT = 4
    ENTRY = 5

    @property
    def draws_reserve(self) -> bool:
        """Whether it may draw the part of a limit that is kept for what cannot wait."""
        return self < Rank.EXIT


_RANKS = {
    Priority.CANCEL: Rank.DERISK,
    Priority.GUARD: Rank.GUARD,
    Priority.DERISK: Rank.DERISK,
    Priority.EXIT: Rank.EXIT,
    Priority.ENTRY: Rank.HEDGE,
}


def rank_of(order: OrderRequest, priority: Priority) -> Rank:
    """Where an order queues: what adds risk never goes before what takes it off, whatever the caller says."""
    if order.order_class is OrderClass.ENTRY:
        return Rank.ENTRY
    return _RANKS[priority]


@dataclass(slots=True, eq=False)
class Job(Generic[R]):
    """One item that somebody waits for."""

    request: R
    rank: Rank
    done: anyio.Event
    #: When it was asked for, wire clock.
    asked_wire_ns: int
    #: Left the queue: from here on the worker finishes it, whoever stops waiting.
    taken: bool = False
    outcome: Outcome | None = None

    def finish(self, outcome: Outcome) -> None:
        """Give the answer; the first one counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.done.set()

    def answer(self) -> Outcome:
        """The answer, once `done`."""
        assert self.outcome is not None, "asked before it was done"
        return self.outcome


@dataclass(frozen=True, slots=True, eq=False)
class Batch(Generic[R]):
    """Jobs that go in one request, and the permission for them."""

    jobs: tuple[Job[R], ...]
    rank: Rank
    grant: Grant


class Lane(Generic[R]):
    """The queue of one operation on one kind of instrument."""

    def __init__(self, batch_max: int, bucket: RateBucket) -> None:
        self.bucket = bucket
        self._batch_max = batch_max
        self._queues: dict[Rank, deque[Job[R]]] = {rank: deque() for rank in Rank}

    def put(self, job: Job[R]) -> None:
        """Queue it behind its equals."""
        self._queues[job.rank].append(job)

    def withdraw(self, job: Job[R]) -> None:
        """Drop it if it is still queued: nobody wants it any more."""
        if not job.taken and job.outcome is None:
            self._queues[job.rank].remove(job)
            job.finish(NotSent("withdrawn: the caller stopped waiting"))

    def head(self) -> Rank | None:
        """The most urgent rank that waits."""
        return next((rank for rank in Rank if self._queues[rank]), None)

    def take(self, now_ns: int) -> Batch[R] | None:
        """The next batch that may go now, as large as the venue and the limit allow."""
        rank = self.head()
        if rank is None:
            return None
        queue = self._queues[rank]
        wanted = min(len(queue), self._batch_max)
        grant = self.bucket.take(wanted, now_ns, reserved=rank.draws_reserve)
        if grant is None:
            return None
        jobs = tuple(queue.popleft() for _ in range(grant.items))
        for job in jobs:
            job.taken = True
        return Batch(jobs, rank, grant)

    def wait_ns(self, now_ns: int) -> int | None:
        """Time until the next job may go; None when none waits."""
        rank = self.head()
        return None if rank is None else self.bucket.wait_ns(1, now_ns, reserved=rank.draws_reserve)

    def abandon(self, reason: str) -> None:
        """Answer everything that is still queued."""
        for queue in self._queues.values():
            while queue:
                queue.popleft().finish(NotSent(reason))


class Lanes:
    """Every lane of one venue, with the buckets that they share by name."""

    def __init__(self, traits: VenueTraits, reserve_share: Decimal) -> None:
        self.buckets: dict[str, RateBucket] = {
            limit.name: RateBucket(limit.name, limit.count, limit.per_ns, reserve_share)
            for limit in traits.rate_limits.values()
        }
        self.place: dict[InstrumentKind, Lane[OrderRequest]] = {}
        self.cancel: dict[InstrumentKind, Lane[CancelRequest]] = {}
        for (operation, kind), limit in traits.rate_limits.items():
            size, bucket = traits.batch_max[kind], self.buckets[limit.name]
            if operation == "place":
                self.place[kind] = Lane(size, bucket)
            elif operation == "cancel":
                self.cancel[kind] = Lane(size, bucket)

    def wait_ns(self, now_ns: int) -> int | None:
        """Time until some lane may send; None when nothing waits."""
        waits = [lane.wait_ns(now_ns) for lane in self._all()]
        return min((wait for wait in waits if wait is not None), default=None)

    def abandon(self, reason: str) -> None:
        """Answer everything that is still queued."""
        for lane in self._all():
            lane.abandon(reason)

    def _all(self) -> list[Lane[OrderRequest] | Lane[CancelRequest]]:
        return [*self.cancel.values(), *self.place.values()]


def lower_bound_ns(
    counts: Mapping[tuple[str, InstrumentKind], int],
    traits: VenueTraits,
    rtt_ns: int,
    reserve_share: Decimal = Decimal(0),
) -> int:
    """Shortest time from the first send to the last answer that the venue's limits and distance allow.

    `counts` are items by (operation, kind), all known at the start. Requests may overlap on the wire, so that
    only limits and one round trip count: item k (from 0) of a limit goes after floor(k / count) windows.
    `reserve_share` 0 is the bound for what may draw the reserve.

    Raises:
        InputError: the venue has no such operation.
    """
    totals: dict[str, int] = {}
    limits = {limit.name: limit for limit in traits.rate_limits.values()}
    for key, items in counts.items():
        if key not in traits.rate_limits:
            raise InputError(f"{traits.venue} has no limit for {key}.", field="counts")
        name = traits.rate_limits[key].name
        totals[name] = totals.get(name, 0) + items
    spans = []
    for name, items in totals.items():
        bucket = RateBucket(name, limits[name].count, limits[name].per_ns, reserve_share)
        if items:
            windows = (items - 1) // bucket.usable(reserved=False)
            spans.append(windows * limits[name].per_ns + rtt_ns)
    return max(spans, default=0)
