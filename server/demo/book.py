"""What the beats read from a snapshot: prices, gross, and whether the guard is done with a shock. Pure."""

from decimal import Decimal

from portfolio.core.entries import GuardActed
from portfolio.core.guard.values import Word
from portfolio.core.names import InstrumentId
from portfolio.service import DeskSnapshot

#: Where the guard's ladder aims, less a hair for prices that move on.
GUARD_HEALTH = Decimal("0.74")


def reference_prices(snapshot: DeskSnapshot) -> dict[InstrumentId, Decimal]:
    """Mark of every perpetual, USD index of every spot instrument's coin."""
    assert snapshot.state is not None
    state = snapshot.state
    return {
        key: state.prices.marks[key] if key in state.prices.marks else state.prices.usd[row.base]
        for key, row in state.instruments.items()
        if key in state.prices.marks or row.base in state.prices.usd
    }


def gross_usd(snapshot: DeskSnapshot) -> Decimal:
    """All legs at their reference prices, USD."""
    prices = reference_prices(snapshot)
    total = Decimal(0)
    for pair in snapshot.pairs:
        legs = snapshot.legs[pair.spec.pair_id]
        total += legs.long_quantity * prices[pair.spec.long_leg]
        total += legs.short_quantity * prices[pair.spec.short_leg]
    return total


def newest_action(snapshot: DeskSnapshot) -> int:
    """Number in the journal of the guard's newest action; 0: it never acted."""
    return max((row.seq for row in snapshot.guard.last_actions), default=0)


def acted_since(snapshot: DeskSnapshot, seq: int) -> list[GuardActed]:
    """The guard's actions after this number, oldest first."""
    rows = sorted(snapshot.guard.last_actions, key=lambda row: row.seq)
    return [row.entry for row in rows if row.seq > seq and isinstance(row.entry, GuardActed)]


def guard_is_quiet(snapshot: DeskSnapshot) -> bool:
    """Whether the guard knows the account and has nothing on its way: it holds no pair."""
    guard = snapshot.guard
    acting = bool(guard.held_pairs) or guard.state in (Word.REDUCING, Word.FLATTENING)
    return guard.figures is not None and not acting and not snapshot.stale


def guard_is_done(snapshot: DeskSnapshot, seq: int) -> bool:
    """Whether the guard acted after `seq`, health is back, and nothing of what it does is on its way.

    Health is back before the last orders are sent: while the guard holds a pair it goes on trading it, and a
    proposal of that moment would soon be void.
    """
    figures = snapshot.guard.figures
    healthy = figures is not None and figures.health_score >= GUARD_HEALTH
    return newest_action(snapshot) > seq and healthy and guard_is_quiet(snapshot)
