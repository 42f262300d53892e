"""Whether the guard keeps the account alive, by the venue's true figures.

1. While a desk is up and the venue can be reached, health or usage beyond the lines of the guard is acted on
   within seconds.
2. Nothing is entered that leaves the account far below the line for entries.
3. The venue liquidates only what fell faster than anybody could act.
"""

from collections.abc import Callable
from decimal import Decimal

from portfolio.core.decimals import ONE
from portfolio.core.limits import SECOND_NS
from portfolio.core.orders import OrderRequest
from server.simulation.world import World

#: A full valuation is not free: the health is looked at this often.
LOOK_EVERY_NS = SECOND_NS // 2
#: A decision takes milliseconds; then an operation may wait 5 s for an answer, 2 s to settle and for a read.
ACT_WITHIN_NS = 10 * SECOND_NS
#: How long the guard had the account in its hands when a liquidation is its failure.
IN_HAND_NS = 15 * SECOND_NS
IN_HAND_ROTTEN_NS = 45 * SECOND_NS
#: Prices move while an order travels, so the truth may be this far beyond what the desk saw.
ENTRY_SLACK = Decimal("0.06")
#: The desk values at prices that are up to half a second old.
_USAGE_SLACK = Decimal("1.03")


class HealthWatch:
    """Watches the true health of one world's account."""

    def __init__(self, world: World, add: Callable[[str], None], touched: Callable[[], bool]) -> None:
        self._world = world
        self._add = add
        self._touched = touched
        self.lowest_after_entry = ONE
        self.liquidations = 0
        #: Nothing is left: the venue takes no order any more, and what is owed stays owed.
        self.bankrupt = False
        #: Longest time that health was below the line and nothing was done, while something could be.
        self.idle_max_ns = 0
        self._looked_ns = 0
        self._acted_seq = 0
        self._below_since_ns: int | None = None
        self._in_hand_since_ns: int | None = None
        self._liquidated_ns = 0
        world.venue.on_entered = self._entered

    def true_health(self) -> Decimal:
        """By the venue's own rule, not as it may be misreported."""
        return self._world.venue.core.valuation().figures.health_score

    def _breached(self) -> bool:
        """Over the line of health or, where more is borrowed than posted, over the one of usage."""
        figures, lines = self._world.venue.core.valuation().figures, self._world.weather.limits.guard
        usage = figures.margin_usage
        return (
            figures.health_score < lines.reduce_below_health
            or usage is None
            or usage > lines.reduce_above_usage * _USAGE_SLACK
        )

    def look(self) -> None:
        """Compare the health with what was done about it."""
        now = self._world.clocks.wire_ns()
        if now - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns = now
        world = self._world
        if not self.bankrupt and world.venue.core.valuation().figures.adjusted_equity <= 0:
            self.liquidated()
            self.bankrupt = True
        if not (world.watched and world.venue.reachable and self._touched() and self._breached()):
            self._below_since_ns = self._in_hand_since_ns = None
            return
        if self._in_hand_since_ns is None:
            self._in_hand_since_ns = self._below_since_ns = now
        newest = world.journal.guard_actions(1)
        acted_seq = newest[0].seq if newest else 0
        if acted_seq != self._acted_seq:
            self._acted_seq = acted_seq
            self._below_since_ns = now
        idle = now - (self._below_since_ns or now)
        if idle > ACT_WITHIN_NS >= self.idle_max_ns:
            health = f"health {self.true_health():.3f}"
            self._add(f"{health}, over a line, and no act of the guard for {idle / SECOND_NS:.1f} s")
        self.idle_max_ns = max(self.idle_max_ns, idle)

    def liquidated(self) -> None:
        """The venue took something by force."""
        now = self._world.clocks.wire_ns()
        if now - self._liquidated_ns > 60 * SECOND_NS:
            self.liquidations += 1
            since = self._in_hand_since_ns
            most = IN_HAND_ROTTEN_NS if self._world.weather.rotten else IN_HAND_NS
            if since is not None and now - since > most:
                held = (now - since) / SECOND_NS
                self._add(f"liquidated although the guard had {held:.1f} s below its line")
        self._liquidated_ns = now

    def _entered(self, order: OrderRequest) -> None:
        health = self.true_health()
        self.lowest_after_entry = min(self.lowest_after_entry, health)
        line = self._world.weather.limits.guard.entry_health_min
        if health < line - ENTRY_SLACK:
            self._add(f"ENTRY {order.client_order_id} at a health of {health:.3f}")
