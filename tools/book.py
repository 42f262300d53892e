"""Figures that tools derive from a snapshot: reference prices, sizes, carry. Pure; unknown stays None."""

from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.pairs import PairSpec
from portfolio.service import DeskSnapshot

_MINUTES_A_DAY = Decimal(24 * 60)
_BPS = Decimal(10_000)


def reference_price(snapshot: DeskSnapshot, leg: InstrumentId) -> Decimal | None:
    """Mark of a perpetual, USD index of a spot instrument's coin; None when unknown."""
    if snapshot.state is None:
        return None
    instrument = snapshot.state.instruments.get(leg)
    if instrument is None:
        return None
    if instrument.kind is InstrumentKind.PERPETUAL:
        return snapshot.state.prices.marks.get(leg)
    return snapshot.state.prices.usd.get(instrument.base)


def basis_bps(snapshot: DeskSnapshot, spec: PairSpec) -> Decimal | None:
    """Perpetual over spot minus one, in bps; None when a price is unknown."""
    lead, hedge = reference_price(snapshot, spec.lead_leg), reference_price(snapshot, spec.hedge_leg)
    if lead is None or hedge is None or hedge <= 0:
        return None
    return (lead / hedge - ONE) * _BPS


def carry_usd_per_day(snapshot: DeskSnapshot, spec: PairSpec, quantity: Decimal) -> Decimal | None:
    """What `quantity` coins of one leg earn a day at the predicted rate; positive: received."""
    outlook, price = snapshot.funding.get(spec.lead_leg), reference_price(snapshot, spec.lead_leg)
    if outlook is None or price is None:
        return None
    per_day = outlook.predicted_rate * _MINUTES_A_DAY / Decimal(outlook.interval_minutes)
    sign = ONE if spec.lead_leg == spec.short_leg else -ONE
    return sign * per_day * quantity * price


def notional_usd(snapshot: DeskSnapshot, pair_id: PairId, spec: PairSpec) -> Decimal | None:
    """USD of one leg now: the hedged coins at the lead's reference price."""
    legs, price = snapshot.legs.get(pair_id), reference_price(snapshot, spec.lead_leg)
    if legs is None:
        return None
    if legs.hedged == 0:
        return ZERO
    return None if price is None else legs.hedged * price


def gross_usd(snapshot: DeskSnapshot) -> Decimal | None:
    """All legs at their reference prices; None when something held has no price."""
    total = ZERO
    for pair in snapshot.pairs:
        legs = snapshot.legs.get(pair.spec.pair_id)
        if legs is None:
            continue
        for leg, quantity in (
            (pair.spec.long_leg, legs.long_quantity),
            (pair.spec.short_leg, legs.short_quantity),
        ):
            if quantity == 0:
                continue
            price = reference_price(snapshot, leg)
            if price is None:
                return None
            total += quantity * price
    return total


def figures(snapshot: DeskSnapshot) -> MarginFigures | None:
    """Ours while they can be computed, else the venue's."""
    if snapshot.guard.figures is not None:
        return snapshot.guard.figures
    return None if snapshot.venue is None else snapshot.venue.figures


def utilisation(snapshot: DeskSnapshot) -> Decimal | None:
    """Gross USD of all legs over total equity; None when unknown or equity <= 0."""
    totals, gross = figures(snapshot), gross_usd(snapshot)
    if totals is None or gross is None or totals.total_equity <= 0:
        return None
    return gross / totals.total_equity
