"""target - (live + working): what is left to do, from the venue and the operation's own orders alone.

Two independent counts bound what is left, and the smaller one wins: what the operation planned minus what
its own orders did or may still do (exact, from the journal), and what separates the live leg from the
target (from the venue, possibly late). So neither a late position nor somebody else's trade can make an
operation overshoot.
"""

from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.increments import Increments


@dataclass(frozen=True, slots=True)
class Course:
    """From one size of a pair to another: one leg, base coins, absolute, >= 0."""

    from_quantity: Decimal
    to_quantity: Decimal

    @property
    def entering(self) -> bool:
        """Whether it grows."""
        return self.to_quantity > self.from_quantity

    @property
    def closing(self) -> bool:
        """Whether it ends flat."""
        return self.to_quantity == 0

    @property
    def distance(self) -> Decimal:
        """Coins between the two."""
        return abs(self.to_quantity - self.from_quantity)


def planned(course: Course, lead_done: Decimal, live_lead: Decimal, tolerance: Decimal) -> Decimal:
    """Most that the lead of the operation may do over its whole life, in coins.

    A pair that closes takes its whole lead along: legs differ by dust, and the distance counts the hedged
    part only. At most `tolerance` more than the distance, so that a late position cannot stretch it.
    """
    if not course.closing:
        return course.distance
    whole = max(course.distance, lead_done + live_lead)
    return min(whole, course.distance + tolerance)


def remaining(course: Course, live_lead: Decimal, increments: Increments) -> Decimal:
    """What the lead may still do: the smaller of the plan's room and the way to the target."""
    lead = increments.lead
    sign = 1 if course.entering else -1
    working = sign * (lead.reserved - lead.reserved_back)
    way = sign * (course.to_quantity - (live_lead + working))
    return max(ZERO, min(increments.lead_room, way))


def capped(increments: Increments, room: Decimal) -> Increments:
    """The same operation with its plan cut so that no more than `room` is left for the lead."""
    most = increments.lead.most
    return Increments(min(increments.planned, most + room), increments.lead, increments.hedge)
