"""A venue's own what-if of one order: the second number of a margin simulation (DESIGN 4)."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class VenueCheck:
    """The account's rates without and with one order, as the venue computes them. Nothing was placed.

    Fractions of ECV. Venues print them with few digits (Bybit: four), so the last one says nothing.
    """

    #: IM / ECV.
    im_rate_before: Decimal
    #: MM / ECV.
    mm_rate_before: Decimal
    im_rate_after: Decimal
    mm_rate_after: Decimal
