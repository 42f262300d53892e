"""Proportional entry: in a swap, the new pair never uses more margin than the old one has freed.

Margin means initial margin + haircut loss of a whole move, in USD, as simulated. Freed means hedged-exited
*and* repaid. What the entries of an intent need beyond what its exits free (the growth that the operator
approved) is spread over the entries and free from the start; the gates before every slice still weigh it
against the account.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO, clamp
from portfolio.core.names import PairId


@dataclass(frozen=True, slots=True)
class MoveMargin:
    """The margin that a whole move frees (exit) or takes (entry), in USD, >= 0."""

    pair_id: PairId
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Funding:
    """What pays for one entry."""

    #: The whole entry's margin, USD.
    usd: Decimal
    #: Margin that waits for no exit, USD.
    free_usd: Decimal
    #: Margin that each exit frees for this entry when it is complete, USD.
    from_exits: tuple[MoveMargin, ...]


def match_swaps(exits: Sequence[MoveMargin], entries: Sequence[MoveMargin]) -> dict[PairId, Funding]:
    """Give every entry its part of the exits' margin, in order; each dollar freed is given once."""
    growth = max(ZERO, _total(entries) - _total(exits))
    left = {row.pair_id: row.usd for row in exits}
    fundings: dict[PairId, Funding] = {}
    for entry in entries:
        free = min(entry.usd, growth)
        growth -= free
        need = entry.usd - free
        parts: list[MoveMargin] = []
        for pair_id, available in left.items():
            part = min(need, available)
            if part > 0:
                parts.append(MoveMargin(pair_id, part))
                left[pair_id] = available - part
                need -= part
        fundings[entry.pair_id] = Funding(entry.usd, free, tuple(parts))
    return fundings


def _total(rows: Sequence[MoveMargin]) -> Decimal:
    return sum((row.usd for row in rows), start=ZERO)


def entry_allowance(planned: Decimal, funding: Funding, freed: Mapping[PairId, Decimal]) -> Decimal:
    """Most coins of an entry that may be done now.

    Args:
        planned: Coins of the whole entry.
        funding: What pays for it.
        freed: Per exit, the fraction of its move that is hedged-exited and repaid; absent: none of it.
    """
    if funding.usd <= 0:
        return planned
    usd = funding.free_usd + sum(
        (part.usd * clamp(freed.get(part.pair_id, ZERO), ZERO, ONE) for part in funding.from_exits),
        start=ZERO,
    )
    return planned * min(ONE, usd / funding.usd)
