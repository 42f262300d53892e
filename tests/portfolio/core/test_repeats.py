"""The same request id may come again with the same wishes only."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given as examples
from hypothesis import strategies as st

from portfolio.core.intents import Intent
from portfolio.core.names import PairId
from portfolio.core.proposing import draft
from portfolio.core.repeats import difference
from tests.portfolio.core.desk_state import BTC, SOL, given
from tests.portfolio.core.test_drift import INTENT

Wanted = list[tuple[PairId, Decimal]]


def stored(*wanted: tuple[PairId, int | Decimal], kind: str = "changes", held: str = "0") -> Intent:
    sizes = [(pair_id, Decimal(usd)) for pair_id, usd in wanted]
    targets = tuple(row.target for row in draft(sizes, given(held=held), reduce_only=False).changes)
    return replace(INTENT, kind=kind, targets=targets, reduce_only=False)


def ask(
    intent: Intent, *wanted: tuple[PairId, int | Decimal], kind: str = "changes", held: str = "0"
) -> str | None:
    sizes = [(pair_id, Decimal(usd)) for pair_id, usd in wanted]
    return difference(intent, kind=kind, reduce_only=False, wanted=sizes, given=given(held=held))


@examples(st.integers(0, 10**6), st.integers(1, 300))
def test_a_call_that_is_repeated_is_the_same_whatever_the_price_is_by_then(usd: int, percent: int) -> None:
    intent = stored((SOL, usd))
    now = given()
    moved = {key: price * percent / 100 for key, price in now.reference_prices.items()}
    state = replace(now, reference_prices=moved)
    wanted = [(SOL, Decimal(usd))]
    if intent.targets:
        assert difference(intent, kind="changes", reduce_only=False, wanted=wanted, given=state) is None


def test_another_size_another_pair_or_one_pair_less_is_another_proposal() -> None:
    intent = stored((SOL, 1000), (BTC, 100_000))
    assert ask(intent, (SOL, 1000), (BTC, 100_000)) is None
    assert "SOL@bybit goes to 5" in (ask(intent, (SOL, 2000), (BTC, 100_000)) or "")
    assert ask(intent, (SOL, 1000)) == "BTC@bybit is in it and not in this one"
    assert ask(stored((SOL, 1000)), (SOL, 1000), (BTC, 100_000)) == "BTC@bybit is in this one and not in it"


def test_a_pair_that_was_left_out_does_not_make_a_repeated_call_another_one() -> None:
    intent = stored((SOL, 1000), (BTC, 100_000), held="5")
    assert [target.pair_id for target in intent.targets] == [BTC], "SOL is already there"
    assert ask(intent, (SOL, 1000), (BTC, 100_000), held="5") is None
    assert ask(stored((BTC, 100_000)), (SOL, 3), (BTC, 100_000)) is None, "too small to trade"


def test_the_engines_targets_move_with_the_market_and_are_the_same_proposal() -> None:
    intent = stored((SOL, 1000), kind="engine_target")
    assert ask(intent, (BTC, 90_000), kind="engine_target") is None
    assert ask(intent, (SOL, 1000)) == "it was engine_target, this one is changes"


def test_a_reduce_only_request_is_not_one_that_may_grow() -> None:
    intent = replace(stored((SOL, 1000)), reduce_only=True)
    assert ask(intent, (SOL, 1000)) == "one of them is reduce-only and the other is not"
