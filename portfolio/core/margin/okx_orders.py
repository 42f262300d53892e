"""OKX: open orders sorted by what they can do to the account."""

from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.errors import InputError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.lookups import instrument_of
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side


@dataclass(frozen=True, slots=True)
class Swap:
    """One open spot order: coins that it gives and takes when it fills at its limit price, > 0."""

    given_coin: Coin
    given: Decimal
    taken_coin: Coin
    taken: Decimal


@dataclass(frozen=True, slots=True)
class SpotOrders:
    """All open spot orders, and coins given and taken by all of them."""

    swaps: tuple[Swap, ...]
    given: dict[Coin, Decimal]
    taken: dict[Coin, Decimal]


@dataclass(frozen=True, slots=True)
class Held:
    """One perpetual: its position with what open orders could make of it, base coins."""

    instrument_id: InstrumentId
    quantity: Decimal
    entry_price: Decimal
    #: As the account has it set; None where there is no position.
    leverage: Decimal | None
    #: Orders that could open, reduce-only ones left out.
    orders: tuple[RestingOrder, ...]

    @property
    def high(self) -> Decimal:
        """The position once every buy filled."""
        return self._after(Side.BUY) if self.orders else self.quantity

    @property
    def low(self) -> Decimal:
        """The position once every sell filled."""
        return self._after(Side.SELL) if self.orders else self.quantity

    @property
    def opening(self) -> Decimal:
        """Position and orders together, whatever their side."""
        return abs(self.quantity) + sum((row.quantity for row in self.orders), start=ZERO)

    def _after(self, side: Side) -> Decimal:
        return self.quantity + side.sign * sum(
            (row.quantity for row in self.orders if row.side is side), start=ZERO
        )


def spot_orders(state: MarginState) -> SpotOrders:
    """The open spot orders.

    Raises:
        MissingDataError: an instrument is not known.
    """
    swaps = []
    given: dict[Coin, Decimal] = {}
    taken: dict[Coin, Decimal] = {}
    for order in state.orders:
        instrument = instrument_of(state, order.instrument_id)
        if instrument.kind is not InstrumentKind.SPOT:
            continue
        base, quote = order.quantity, order.quantity * order.limit_price
        if order.side is Side.BUY:
            swap = Swap(instrument.quote, quote, instrument.base, base)
        else:
            swap = Swap(instrument.base, base, instrument.quote, quote)
        swaps.append(swap)
        given[swap.given_coin] = given.get(swap.given_coin, ZERO) + swap.given
        taken[swap.taken_coin] = taken.get(swap.taken_coin, ZERO) + swap.taken
    return SpotOrders(tuple(swaps), given, taken)


def held_perpetuals(state: MarginState) -> tuple[Held, ...]:
    """Every perpetual with a position or an order that could open one; a position of 0 is none.

    Raises:
        InputError: a position in something that is no perpetual.
        MissingDataError: an instrument is not known.
    """
    orders: dict[InstrumentId, list[RestingOrder]] = {}
    for order in state.orders:
        kind = instrument_of(state, order.instrument_id).kind
        if kind is InstrumentKind.PERPETUAL and not order.reduce_only and order.quantity != 0:
            orders.setdefault(order.instrument_id, []).append(order)
    found = []
    for row in state.positions:
        if instrument_of(state, row.instrument_id).kind is not InstrumentKind.PERPETUAL:
            raise InputError(f"{row.instrument_id} is no perpetual: it has no position.", field="positions")
        if row.quantity != 0:
            resting = tuple(orders.pop(row.instrument_id, ()))
            found.append(Held(row.instrument_id, row.quantity, row.entry_price, row.leverage, resting))
    found += [Held(key, ZERO, ZERO, None, tuple(rows)) for key, rows in orders.items()]
    return tuple(found)
