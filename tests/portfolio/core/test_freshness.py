from dataclasses import replace

import pytest

from portfolio.core.freshness import Ages, stale_inputs
from portfolio.core.limits import Freshness

FRESH = Ages(account_ns=0, price_ns=0, funding_ns=0, tables_ns=0, figures_ns=None)
LIMITS = Freshness()


def test_nothing_is_stale_at_its_limit() -> None:
    at_limit = Ages(LIMITS.account_ns, LIMITS.price_ns, LIMITS.funding_ns, LIMITS.borrow_ns, None)
    assert stale_inputs(at_limit, LIMITS) == ()


@pytest.mark.parametrize(
    ("ages", "names"),
    [
        (replace(FRESH, account_ns=None), ("account",)),
        (replace(FRESH, price_ns=LIMITS.price_ns + 1), ("prices",)),
        (replace(FRESH, funding_ns=LIMITS.funding_ns + 1), ("funding",)),
        (replace(FRESH, tables_ns=LIMITS.borrow_ns + 1), ("borrow",)),
        (replace(FRESH, tables_ns=LIMITS.tables_ns + 1), ("borrow", "tables")),
        (replace(FRESH, tables_ns=None), ("borrow", "tables")),
    ],
)
def test_what_is_missing_or_too_old_is_named(ages: Ages, names: tuple[str, ...]) -> None:
    assert stale_inputs(ages, LIMITS) == names
