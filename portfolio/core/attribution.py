"""Where a change of equity came from: funding + basis + fees + borrow + transfers + unexplained (DESIGN 11).

Everything but `unexplained` is computed from the journal's own rows and end prices; `unexplained` is what
the venue's equity says beyond that. Amounts in USD of the quote coin, positive is a gain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.entries import CashBooked
from portfolio.core.errors import MissingDataError
from portfolio.core.instrument import Instrument
from portfolio.core.names import InstrumentId
from portfolio.core.orders import Fill


@dataclass(frozen=True, slots=True)
class Attribution:
    """The parts of a change of equity; they add up to it exactly."""

    change: Decimal
    funding: Decimal
    #: Trading result of both legs at end prices before fees: the change of the basis, and slippage.
    basis: Decimal
    fees: Decimal
    #: Interest on debt, negative.
    borrow: Decimal
    transfers: Decimal
    unexplained: Decimal


def attribute(
    *,
    equity_start: Decimal,
    equity_end: Decimal,
    fills: Sequence[Fill],
    cash: Sequence[CashBooked],
    prices: Mapping[InstrumentId, Decimal],
    instruments: Mapping[InstrumentId, Instrument],
) -> Attribution:
    """Explain `equity_end - equity_start` by every fill and ledger row between the two.

    `prices` are end prices (mark of a perpetual, index of a spot instrument) of everything that was traded.

    Raises:
        MissingDataError: an instrument that was traded has no end price.
    """
    basis = fees = ZERO
    for fill in fills:
        price = prices.get(fill.instrument_id)
        if price is None:
            raise MissingDataError(f"No end price of {fill.instrument_id}.", field="prices")
        basis += fill.side.sign * fill.quantity * (price - fill.price)
        in_base = fill.fee_coin == instruments[fill.instrument_id].base
        fees -= fill.fee * price if in_base else fill.fee
    parts = {"funding": ZERO, "interest": ZERO, "transfer": ZERO}
    for row in cash:
        if row.kind in parts:
            parts[row.kind] += row.amount
    change = equity_end - equity_start
    explained = basis + fees + sum(parts.values(), ZERO)
    return Attribution(
        change=change,
        funding=parts["funding"],
        basis=basis,
        fees=fees,
        borrow=parts["interest"],
        transfers=parts["transfer"],
        unexplained=change - explained,
    )
