"""One comparison of our margin figures with the venue's, at the same prices."""

from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ONE, ZERO

#: Samples that are kept; the venue's totals come about once a second.
SAMPLES_KEPT = 20


@dataclass(frozen=True, slots=True)
class GapSample:
    """Ours and the venue's at one moment, each a fraction of the venue's when compared."""

    #: When ours was valued, wire clock, integer ns.
    wire_ns: int
    ours: MarginFigures
    venue: MarginFigures

    @property
    def maintenance(self) -> Decimal:
        """|ours - venue| / venue of MM."""
        return _relative(self.ours.maintenance_margin, self.venue.maintenance_margin)

    @property
    def equity(self) -> Decimal:
        """|ours - venue| / venue of ECV."""
        return _relative(self.ours.adjusted_equity, self.venue.adjusted_equity)

    @property
    def gap(self) -> Decimal:
        """The larger of the two."""
        return max(self.maintenance, self.equity)


def _relative(ours: Decimal, venue: Decimal) -> Decimal:
    if ours == venue:
        return ZERO
    # Something against nothing is a gap of the whole.
    return ONE if venue == 0 else abs(ours - venue) / abs(venue)
