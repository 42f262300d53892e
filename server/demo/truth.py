"""What really happened, by the venue's own books: doubled orders, naked legs, fills."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from portfolio.core.decimals import ZERO
from portfolio.core.entries import OrderPlanned
from portfolio.core.increments import naked_tolerance
from portfolio.core.instrument import Instrument
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.pairs import PairSpec
from portfolio.ports import Recorded


@dataclass(frozen=True, slots=True)
class Truth:
    """The venue's account of a run."""

    orders: int
    fills: int
    #: Orders that the venue has and no journal planned, or that it has twice.
    duplicate_orders: int
    naked_seconds_max: float
    #: Pairs whose legs differ by more than their tolerance at the end.
    naked_at_end: tuple[PairId, ...]


def truth_of(
    dump: Mapping[str, Any],
    planned: Iterable[str],
    pairs: Mapping[PairId, PairSpec],
    instruments: Mapping[InstrumentId, Instrument],
    prices: Mapping[InstrumentId, Decimal],
) -> Truth:
    """Compare the venue's dump with the ids that the journal planned."""
    links = Counter(str(row["order_link_id"]) for row in dump["orders"] if row["order_link_id"])
    known = set(planned)
    doubled = sum(count - 1 for count in links.values()) + sum(link not in known for link in links)
    trades = [row for row in dump["executions"] if row["kind"] == "Trade"]
    worst, at_end = 0, []
    for pair in pairs.values():
        lead, hedge = instruments[pair.lead_leg], instruments[pair.hedge_leg]
        tolerance = naked_tolerance(lead, hedge, prices[pair.lead_leg], ZERO)
        longest, still = _naked(pair, trades, instruments, tolerance, int(dump["now_ns"]))
        worst = max(worst, longest)
        if still:
            at_end.append(pair.pair_id)
    return Truth(len(links), len(trades), doubled, worst / 1e9, tuple(at_end))


def _naked(
    pair: PairSpec,
    trades: Iterable[Mapping[str, Any]],
    instruments: Mapping[InstrumentId, Instrument],
    tolerance: Decimal,
    now_ns: int,
) -> tuple[int, bool]:
    """Longest time in ns that the pair's net delta was beyond its tolerance, and whether it is now."""
    delta, since, longest = ZERO, None, 0
    for row in trades:
        if row["instrument_id"] not in (pair.long_leg, pair.short_leg):
            continue
        sign = 1 if row["side"] == "buy" else -1
        base = instruments[InstrumentId(row["instrument_id"])].base
        fee = Decimal(row["fee"]) if row["fee_coin"] == base else ZERO
        delta += sign * Decimal(row["quantity"]) - fee
        at = int(row["at_ns"])
        if abs(delta) <= tolerance:
            longest = max(longest, at - since) if since is not None else longest
            since = None
        elif since is None:
            since = at
    if since is not None:
        longest = max(longest, now_ns - since)
    return longest, since is not None


def planned_ids(entries: Iterable[Recorded]) -> list[str]:
    """Ids of every order that the journal planned."""
    return [row.entry.request.client_order_id for row in entries if isinstance(row.entry, OrderPlanned)]
