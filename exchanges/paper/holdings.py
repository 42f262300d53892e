"""Perpetual positions, one-way mode, with their cost kept exactly.

A position keeps its cost (sum of signed quantity x price), not its average price: closing part of it takes
the cost's share rounded to the cash step, and closing the rest takes what is left, so realised PnL never
drifts.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from exchanges.paper.ledger import cash
from portfolio.core.decimals import ZERO
from portfolio.core.names import InstrumentId


@dataclass(frozen=True, slots=True)
class Holding:
    """One perpetual. Quantity in base coins, signed; cost in quote, with the quantity's sign."""

    instrument_id: InstrumentId
    quantity: Decimal
    cost: Decimal
    #: Of the current holding and of all time: PnL, funding and fees, in quote.
    realised_current: Decimal
    realised_total: Decimal
    created_ns: int
    updated_ns: int
    #: Last execution on it; -1 before the first.
    sequence: int

    @property
    def entry_price(self) -> Decimal:
        """Average price; only defined while a position is open."""
        return self.cost / self.quantity


@dataclass(frozen=True, slots=True)
class Traded:
    """What one execution did to a position."""

    holding: Holding
    #: Base coins of the opposite position that it closed, >= 0, and what that realised in quote.
    closed: Decimal
    realised: Decimal


def flat(instrument_id: InstrumentId) -> Holding:
    """A position that was never opened."""
    return Holding(instrument_id, ZERO, ZERO, ZERO, ZERO, 0, 0, -1)


def trade(holding: Holding, quantity: Decimal, price: Decimal, at_ns: int, sequence: int) -> Traded:
    """Add a signed quantity at a price: it closes what is opposite first, then opens."""
    opposite = holding.quantity * quantity < 0
    closed = min(abs(quantity), abs(holding.quantity)) if opposite else ZERO
    realised = ZERO
    kept, cost = holding.quantity, holding.cost
    if closed:
        direction = 1 if holding.quantity > 0 else -1
        whole = closed == abs(holding.quantity)
        share = holding.cost if whole else cash(holding.cost * closed / abs(holding.quantity))
        realised = direction * closed * price - share
        kept, cost = holding.quantity - direction * closed, holding.cost - share
    opened = quantity + (closed if quantity < 0 else -closed)
    new = replace(
        holding,
        quantity=kept + opened,
        cost=cost + opened * price,
        realised_current=holding.realised_current if kept else ZERO,
        created_ns=holding.created_ns or at_ns,
        updated_ns=at_ns,
        sequence=sequence,
    )
    return Traded(count(new, realised), closed, realised)


def count(holding: Holding, amount: Decimal) -> Holding:
    """Count PnL, funding or a fee as realised."""
    return replace(
        holding,
        realised_current=holding.realised_current + amount,
        realised_total=holding.realised_total + amount,
    )
