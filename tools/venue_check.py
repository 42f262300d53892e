"""Two numbers: ours beside the venue's, as the account is now, and what the venue says of single orders."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from pydantic import BaseModel, Field

from portfolio.core.decimals import ZERO, plain
from portfolio.core.guard.gap_sample import GapSample
from portfolio.core.guard.values import Rule
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.pairing import add_deltas, deltas_to, legs_of, pair_of
from portfolio.core.margin.state import MarginState
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.pairs import PairSpec
from portfolio.core.venue_check import VenueCheck
from portfolio.service import CHECKS_MAX, DeskSnapshot, LegChange, OrderCheck
from tools.results import MarginBlock, margin_block, ratio, seconds

#: Samples shown without `detail: full`.
_CONCISE_MAX = 3
#: Venues print four digits of a rate, cut or rounded: smaller differences cannot be seen.
_UNSEEN = Decimal("0.0001")


class GapSampleBlock(BaseModel):
    """One comparison, fractions of the venue's figure."""

    age_s: float | None
    maintenance_gap: str
    equity_gap: str


class RatesBlock(BaseModel):
    """Margin over adjusted equity, fractions, with the order alone filled."""

    initial: str
    maintenance: str


class OrderCheckBlock(BaseModel):
    """One perpetual leg of the what-if alone, without its hedge: our answer and the venue's own."""

    instrument: str
    quantity_coins: str
    ours: RatesBlock | None
    venue: RatesBlock | None = Field(description="null: the venue gave no answer; note says why.")
    gap: str | None = Field(
        description="Larger relative difference of the two rates; 0 while within the venue's last digit."
    )
    note: str


class VenueCheckBlock(BaseModel):
    """Our figures against the venue's own at the same prices, as the account is now."""

    ours: MarginBlock
    venue: MarginBlock
    gap: str | None = Field(description="Larger relative difference of maintenance margin and equity.")
    maintenance_gap: str | None
    equity_gap: str | None = Field(description="Of adjusted equity (ECV).")
    samples_over: int = Field(description="Newest samples in a row over the line that freezes entries.")
    line: str
    frozen: bool = Field(description="Entries are frozen because of the gap.")
    decides: str | None = Field(description="Whose figures decide reductions: ours, venue or none.")
    history: list[GapSampleBlock] = Field(description="The last samples, newest first.")
    orders: list[OrderCheckBlock]
    venue_age_s: float | None


def venue_check(
    snapshot: DeskSnapshot, orders: Sequence[OrderCheck], *, full: bool
) -> VenueCheckBlock | None:
    """The block; None while one of the two figures is missing."""
    guard = snapshot.guard
    last = guard.gap_samples[-1] if guard.gap_samples else None
    ours = guard.figures if last is None else last.ours
    venue = guard.venue_figures if last is None else last.venue
    if ours is None or venue is None:
        return None
    shown = guard.gap_samples if full else guard.gap_samples[-_CONCISE_MAX:]
    return VenueCheckBlock(
        ours=margin_block(ours),
        venue=margin_block(venue),
        gap=_fraction(guard.margin_gap),
        maintenance_gap=None if last is None else _fraction(last.maintenance),
        equity_gap=None if last is None else _fraction(last.equity),
        samples_over=guard.gap_over,
        line=plain(snapshot.limits.guard.gap_freeze),
        frozen=any(freeze.source == Rule.GAP for freeze in snapshot.freezes),
        decides=guard.basis,
        history=[_sample(snapshot, row) for row in reversed(shown)],
        orders=[_order(row) for row in orders],
        venue_age_s=seconds(snapshot.ages.account_ns),
    )


def _sample(snapshot: DeskSnapshot, row: GapSample) -> GapSampleBlock:
    return GapSampleBlock(
        age_s=seconds(max(0, snapshot.wire_ns - row.wire_ns)),
        maintenance_gap=ratio(row.maintenance, 6),
        equity_gap=ratio(row.equity, 6),
    )


def _order(row: OrderCheck) -> OrderCheckBlock:
    return OrderCheckBlock(
        instrument=row.instrument_id,
        quantity_coins=plain(row.quantity),
        ours=_rates(row.ours),
        venue=_rates(row.venue),
        gap=None if row.ours is None or row.venue is None else _fraction(rates_gap(row.ours, row.venue)),
        note=row.note,
    )


def venue_text(check: VenueCheckBlock | None) -> str:
    """The two numbers on one line, then a line for each order that the venue was asked about."""
    if check is None:
        return "The venue's own figures are not known."
    lines = [
        (
            f"Ours / venue now: ECV {check.ours.adjusted_equity_usd} / {check.venue.adjusted_equity_usd}, "
            f"MM {check.ours.maintenance_margin_usd} / {check.venue.maintenance_margin_usd}; "
            f"gap {check.gap or 'not measured'}, {check.samples_over} samples over {check.line}, "
            f"entries {'frozen' if check.frozen else 'not frozen'} for it."
        )
    ]
    for row in check.orders:
        if row.venue is None or row.ours is None:
            lines.append(f"{row.instrument} {row.quantity_coins}: no answer of the venue ({row.note}).")
        else:
            lines.append(
                f"{row.instrument} {row.quantity_coins} alone: MM rate {row.ours.maintenance} / "
                f"{row.venue.maintenance}, IM rate {row.ours.initial} / {row.venue.initial}; gap {row.gap}."
            )
    return "\n".join(lines)


def rates_gap(ours: VenueCheck, venue: VenueCheck) -> Decimal:
    """The larger relative difference of the rates after, a fraction of the venue's."""
    pairs = (
        (ours.im_rate_after, venue.im_rate_after),
        (ours.mm_rate_after, venue.mm_rate_after),
    )
    return max(
        ZERO if abs(mine - theirs) <= _UNSEEN else abs(mine - theirs) / max(abs(theirs), _UNSEEN)
        for mine, theirs in pairs
    )


def _rates(found: VenueCheck | None) -> RatesBlock | None:
    if found is None:
        return None
    return RatesBlock(initial=ratio(found.im_rate_after, 6), maintenance=ratio(found.mm_rate_after, 6))


def _fraction(value: Decimal | None) -> str | None:
    return None if value is None else ratio(value, 6)


def perpetual_changes(
    snapshot: DeskSnapshot,
    state: MarginState,
    pairs: Mapping[PairId, PairSpec],
    targets: Mapping[PairId, Decimal],
) -> tuple[LegChange, ...]:
    """The largest perpetual trades of a what-if by value, as many as may be asked about.

    Raises:
        MissingDataError: what a pair holds is not known.
    """
    deltas = add_deltas(
        deltas_to(pair_of(pairs, pair_id), legs_of(snapshot.legs, pair_id), to)
        for pair_id, to in targets.items()
    )

    def value(name: InstrumentId) -> Decimal:
        return abs(deltas[name]) * state.prices.marks.get(name, ZERO)

    names = [
        name
        for name, delta in deltas.items()
        if delta and state.instruments[name].kind is InstrumentKind.PERPETUAL
    ]
    largest = sorted(names, key=lambda name: (-value(name), name))[:CHECKS_MAX]
    return tuple(LegChange(name, deltas[name]) for name in largest)
