"""How old the inputs of a decision are, and which of them are too old. Ages are wire-clock durations."""

from dataclasses import dataclass

from portfolio.core.limits import Freshness


@dataclass(frozen=True, slots=True)
class Ages:
    """Age of each input, integer ns on the wire clock; None: never seen, or in doubt since a gap."""

    #: Balances and positions.
    account_ns: int | None
    #: The oldest price among those that matter.
    price_ns: int | None
    #: The oldest funding outlook among those that matter.
    funding_ns: int | None
    #: Risk tables; borrow rates live in them, so this is their age too.
    tables_ns: int | None
    #: The venue's own margin totals, which may be older than the balances beside them.
    figures_ns: int | None


def stale_inputs(ages: Ages, freshness: Freshness) -> tuple[str, ...]:
    """Names of the inputs that are missing or too old, in a fixed order; empty when all are good."""
    checks = (
        ("account", ages.account_ns, freshness.account_ns),
        ("prices", ages.price_ns, freshness.price_ns),
        ("funding", ages.funding_ns, freshness.funding_ns),
        ("borrow", ages.tables_ns, freshness.borrow_ns),
        ("tables", ages.tables_ns, freshness.tables_ns),
    )
    return tuple(name for name, age, limit in checks if age is None or age > limit)
