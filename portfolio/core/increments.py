"""What one operation has done so far, counted in signed increments of coins.

An operation moves a pair from one size to another: the lead leg first, the hedge leg after it. For entry and
exit alike, with every quantity positive in the operation's own direction and net of fees taken in the coin:

    0 <= hedge done <= lead done <= planned

Orders that may still fill are reservations: `most` assumes that they all fill, `least` that every order
taking something back does. Whoever sizes orders by `lead.most`, `lead.least` and `hedge.most` cannot break
the invariant, whatever the venue does with the orders and however often the same journal is replayed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.instrument import Instrument
from portfolio.core.orders import Side


@dataclass(frozen=True, slots=True)
class LegOrder:
    """One order of an operation on one leg, as far as sizes are concerned. Coins, magnitudes."""

    side: Side
    quantity: Decimal
    filled: Decimal
    #: Fees taken in the base coin; positive lessens what a buy brings and adds to what a sale costs.
    fee_base: Decimal
    #: Further fills may come: planned, accepted or unknown, and not yet closed.
    open: bool


@dataclass(frozen=True, slots=True)
class LegProgress:
    """One leg of an operation, in coins, positive in the operation's direction."""

    done: Decimal
    #: What open orders in the operation's direction may still add, >= 0.
    reserved: Decimal
    #: What open orders against it may still take back, >= 0.
    reserved_back: Decimal

    @property
    def most(self) -> Decimal:
        """Done if everything in flight with the operation fills."""
        return self.done + self.reserved

    @property
    def least(self) -> Decimal:
        """Done if everything in flight against the operation fills."""
        return self.done - self.reserved_back

    @property
    def in_flight(self) -> bool:
        """Whether any order of the leg may still fill."""
        return self.reserved > 0 or self.reserved_back > 0


def leg_progress(orders: Iterable[LegOrder], forward: Side) -> LegProgress:
    """Add up the orders of one leg whose operation goes `forward`."""
    done = reserved = reserved_back = ZERO
    for order in orders:
        done += forward.sign * (order.side.sign * order.filled - order.fee_base)
        left = max(ZERO, order.quantity - order.filled) if order.open else ZERO
        if order.side is forward:
            reserved += left
        else:
            reserved_back += left
    return LegProgress(done, reserved, reserved_back)


@dataclass(frozen=True, slots=True)
class Increments:
    """Both legs of one operation and what it may do at most, in coins."""

    planned: Decimal
    lead: LegProgress
    hedge: LegProgress

    @property
    def unhedged(self) -> Decimal:
        """Lead that no hedge covers yet, by booked fills."""
        return self.lead.done - self.hedge.done

    @property
    def hedge_room(self) -> Decimal:
        """Coins that may be hedged now so that `hedge <= lead` holds whatever is in flight; >= 0."""
        return max(ZERO, self.lead.least - self.hedge.most)

    @property
    def lead_room(self) -> Decimal:
        """Coins that the lead may still do so that `lead <= planned` holds whatever is in flight; >= 0."""
        return max(ZERO, self.planned - self.lead.most)

    def violation(self) -> str | None:
        """The part of the invariant that is broken, in words; None while it holds."""
        if self.hedge.done < 0:
            return f"hedge done {self.hedge.done} is below zero"
        if self.hedge.done > self.lead.done:
            return f"hedge done {self.hedge.done} is beyond lead done {self.lead.done}"
        if self.lead.done > self.planned:
            return f"lead done {self.lead.done} is beyond planned {self.planned}"
        return None


def gross_for_net(net: Decimal, fee_rate: Decimal) -> Decimal:
    """Coins to buy so that `net` arrive when the venue keeps `fee_rate` of the coins bought."""
    return net / (ONE - fee_rate) if fee_rate > 0 else net


def naked_tolerance(lead: Instrument, hedge: Instrument, price: Decimal, fee_dust: Decimal = ZERO) -> Decimal:
    """Net delta in coins that is too small to be traded away: below it a pair counts as hedged.

    The largest of the coarser lot, either leg's smallest order (in coins, or in quote at `price` > 0), and
    `fee_dust`, the coins that fees may have kept.
    """
    return max(
        lead.lot_size,
        hedge.lot_size,
        lead.quantity_min,
        hedge.quantity_min,
        lead.notional_min / price,
        hedge.notional_min / price,
        fee_dust,
    )
