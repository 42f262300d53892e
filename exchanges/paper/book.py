"""The made book of one instrument: spread, depth, what takers consumed, and flow that meets resting orders.

MADE throughout (the archive has no depth): levels stand at both sides of the path, one step apart, each
larger than the one before, with sizes drawn from the seed anew at every grid time. What a taker consumes is
gone from the best level on and comes back linearly over the refill time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from exchanges.paper.bybit_tables import Listing
from exchanges.paper.seeded import digest
from portfolio.core.decimals import ONE, ZERO, round_down_to_step, round_up_to_step
from portfolio.core.market import Level
from portfolio.core.orders import Side

#: Distance of two levels as a fraction of price (at least one tick).
STEP = Decimal("0.00005")
#: How much larger each level is than the one before, as a share of the first.
GROWTH = Decimal("0.25")
#: An order that walked this far into the book meets nobody any more.
LEVELS_MAX = 400
#: Share of the first level's size that trades against a side per grid time, on average.
FLOW = Decimal("0.6")

#: A drawn byte as a share of the usual size, 0.6 to 1.4; and how much larger the n-th level is.
_WEIGHTS = tuple(
    Decimal("0.6") + (Decimal("0.8") * byte / 255).quantize(Decimal("1e-6")) for byte in range(256)
)
_GROWTHS = tuple(ONE + GROWTH * number for number in range(LEVELS_MAX))


@dataclass(frozen=True, slots=True)
class Consumed:
    """Base coins taken from one side's best levels, as of `at_ns`."""

    quantity: Decimal
    at_ns: int


class Book:
    """One instrument's made book. Middle prices come in; the only state is what was consumed."""

    def __init__(
        self, listing: Listing, *, seed: int, liquidity: Decimal, grid_ns: int, refill_ns: int
    ) -> None:
        self._listing = listing
        self._instrument = listing.instrument
        self._seed = seed
        self._top = listing.top_quote * liquidity
        self._grid_ns = grid_ns
        self._refill_ns = refill_ns
        #: What is left of recent takers, by the side of the book they took from (BUY: bids).
        self.consumed: dict[Side, Consumed] = {}

    def best(self, side: Side, middle: Decimal) -> Decimal:
        """Price of the first level of a side (BUY: bids), before consumption."""
        tick = self._instrument.tick_size
        spread = self._listing.half_spread
        if side is Side.BUY:
            return max(tick, round_down_to_step(middle * (ONE - spread), tick))
        bid = self.best(Side.BUY, middle)
        return max(bid + tick, round_up_to_step(middle * (ONE + spread), tick))

    def levels(self, side: Side, middle: Decimal, at_ns: int) -> Iterator[Level]:
        """Levels of a side, best first, without what is consumed and not yet back."""
        gone = self._gone(side, at_ns)
        for level in self._whole_levels(side, middle, at_ns):
            if gone >= level.quantity:
                gone -= level.quantity
                continue
            yield Level(level.price, level.quantity - gone) if gone else level
            gone = ZERO

    def take(self, side: Side, quantity: Decimal, at_ns: int) -> None:
        """Record that a taker took this much from a side."""
        self.consumed[side] = Consumed(self._gone(side, at_ns) + quantity, at_ns)

    def flow(self, side: Side, middle: Decimal, at_ns: int) -> Decimal:
        """Base coins that reach orders resting on a side (BUY: bids) at this grid time, in whole lots."""
        draw = (
            Decimal(digest(self._seed, "flow", self._instrument.instrument_id, side, at_ns, size=1)[0]) / 128
        )
        return self._lots(self._top * FLOW * draw / middle)

    def _whole_levels(self, side: Side, middle: Decimal, at_ns: int) -> Iterator[Level]:
        tick, lot = self._instrument.tick_size, self._instrument.lot_size
        first = self.best(side, middle)
        step = max(tick, round_up_to_step(middle * STEP, tick))
        away = step * side.sign
        bucket = at_ns // self._grid_ns
        base = self._top / middle
        draws = digest(self._seed, "depth", self._instrument.instrument_id, side, bucket, size=64)
        for number in range(LEVELS_MAX):
            price = first - away * number
            if price <= 0:
                return
            size = base * _WEIGHTS[draws[number % 64]] * _GROWTHS[number]
            yield Level(price, max(lot, size // lot * lot))

    def _gone(self, side: Side, at_ns: int) -> Decimal:
        taken = self.consumed.get(side)
        if taken is None or at_ns >= taken.at_ns + self._refill_ns:
            return ZERO
        left = taken.quantity * (taken.at_ns + self._refill_ns - at_ns) / self._refill_ns
        return self._lots(left)

    def _lots(self, quantity: Decimal) -> Decimal:
        return round_down_to_step(quantity, self._instrument.lot_size)
