"""Rate limits as arithmetic: a leaky bucket that is safe for venues that count in rolling windows.

Time is passed in as integer ns of one clock that never goes back. What must stay true:

1. In no rolling window of `per_ns` do more than `count` items reach the venue, whenever between send and
   answer each of them arrives: an item counts from its send until `per_ns` after its answer.
2. ENTRY never draws the reserve: it goes only while the items that count leave the reserve untouched.
3. What the venue reports can only make the bucket more careful about items, never forget one that we sent.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from portfolio.core.errors import InputError
from portfolio.core.limits import SECOND_NS

#: A venue's reset stamp further ahead than this is not believed: it must not silence hedges for ever.
BLOCK_MAX_NS = 10 * SECOND_NS


@dataclass(slots=True, eq=False)
class Grant:
    """Permission for `items` items to go now. It counts until the bucket forgets it."""

    items: int
    #: When it starts to age; None while its request is on the wire.
    since_ns: int | None


class RateBucket:
    """One limit of one venue. Mutable, no clock of its own."""

    def __init__(self, name: str, count: int, per_ns: int, reserve_share: Decimal) -> None:
        if count < 1 or per_ns < 1:
            raise InputError(f"A limit {name} of {count} per {per_ns} ns lets nothing pass.", field="count")
        self.name = name
        self.per_ns = per_ns
        self.count = count
        self._reserve_share = reserve_share
        self._grants: list[Grant] = []
        self._blocked_until_ns: int | None = None

    @property
    def reserve(self) -> int:
        """Items that only cancels, hedges and reductions may draw; never all of them."""
        share = (self._reserve_share * self.count).to_integral_value(rounding=ROUND_CEILING)
        return min(int(share), self.count - 1)

    def usable(self, *, reserved: bool) -> int:
        """Most items that could ever go at once."""
        return self.count if reserved else self.count - self.reserve

    def available(self, now_ns: int, *, reserved: bool) -> int:
        """Items that may go now; `reserved` is for whatever may draw the reserve."""
        self._forget(now_ns)
        if self._blocked_until_ns is not None:
            return 0
        return max(0, self.usable(reserved=reserved) - self._counted())

    def take(self, wanted: int, now_ns: int, *, reserved: bool) -> Grant | None:
        """Draw up to `wanted` items, fewer when fewer may go; None when none may."""
        items = min(wanted, self.available(now_ns, reserved=reserved))
        if items < 1:
            return None
        grant = Grant(items, None)
        self._grants.append(grant)
        return grant

    def answered(self, grant: Grant, now_ns: int) -> None:
        """The request of this grant has its answer, or will not be waited for any longer."""
        grant.since_ns = now_ns

    def refund(self, grant: Grant, items: int) -> None:
        """So many items of this grant never left the process."""
        if not 0 <= items <= grant.items:
            raise InputError(f"Cannot give back {items} of {grant.items} items.")
        grant.items -= items

    def wait_ns(self, cost: int, now_ns: int, *, reserved: bool) -> int:
        """Time until `cost` items may go; 0: now. A lower bound while requests are on the wire.

        Raises:
            InputError: so many never may go at once.
        """
        usable = self.usable(reserved=reserved)
        if cost > usable:
            raise InputError(
                f"{cost} items never fit into {self.name}.", field="cost", allowed=f"at most {usable}"
            )
        self._forget(now_ns)
        blocked = 0 if self._blocked_until_ns is None else self._blocked_until_ns - now_ns
        missing = self._counted() + cost - usable
        for since, items in sorted((self._since(grant, now_ns), grant.items) for grant in self._grants):
            if missing <= 0:
                break
            missing -= items
            blocked = max(blocked, since + self.per_ns + 1 - now_ns)
        return blocked

    def correct(self, limit: int, remaining: int, resets_in_ns: int, now_ns: int) -> None:
        """Believe what the venue said of this limit in an answer that was just read.

        What it counted beyond ours was sent by somebody else on the same key and counts from now. With
        nothing remaining, nothing goes until the reset.
        """
        if limit < 1:
            return
        self.count = limit
        self._forget(now_ns)
        self.spent(limit - max(remaining, 0) - self._counted(), now_ns)
        if remaining <= 0 and resets_in_ns > 0:
            self._blocked_until_ns = now_ns + min(resets_in_ns, BLOCK_MAX_NS)

    def spent(self, items: int, now_ns: int) -> None:
        """So many items went a moment ago that this bucket did not grant: they count from now."""
        if items > 0:
            self._grants.append(Grant(items, now_ns))

    def exceeded(self, now_ns: int) -> None:
        """The venue said that it was too much: whatever it counts, nothing goes for a whole window."""
        self._blocked_until_ns = max(self._blocked_until_ns or 0, now_ns + min(self.per_ns, BLOCK_MAX_NS))

    def _counted(self) -> int:
        return sum(grant.items for grant in self._grants)

    def _forget(self, now_ns: int) -> None:
        self._grants = [
            grant
            for grant in self._grants
            if grant.items and (grant.since_ns is None or now_ns <= grant.since_ns + self.per_ns)
        ]
        if self._blocked_until_ns is not None and now_ns >= self._blocked_until_ns:
            self._blocked_until_ns = None

    @staticmethod
    def _since(grant: Grant, now_ns: int) -> int:
        return now_ns if grant.since_ns is None else grant.since_ns
