"""Only listed codes prove that a write had no effect."""

import pytest

from exchanges.bybit import codes
from portfolio.core.errors import Effect

#: Codes after which the venue's state must be looked up (reference 6.1).
AMBIGUOUS = [
    "429",
    "10000",
    "10006",
    "10014",
    "10016",
    "10019",
    "10403",
    "10429",
    "110072",
    "170001",
    "170005",
    "170007",
    "170032",
    "170141",
    "170146",
    "170147",
    "170234",
    "20003",
    "20006",
    "500000",
    "-1",
    "999999",
]


@pytest.mark.parametrize("code", AMBIGUOUS)
def test_an_ambiguous_or_new_code_leaves_the_effect_unknown(code: str) -> None:
    assert codes.effect_of(code) is Effect.UNKNOWN


@pytest.mark.parametrize("code", ["10001", "10002", "10004", "110007", "110017", "170131", "170213"])
def test_a_listed_code_is_a_rejection(code: str) -> None:
    assert codes.effect_of(code) is Effect.REJECTED


def test_a_batch_item_over_the_rate_limit_is_rejected_but_a_whole_request_is_not() -> None:
    assert codes.effect_of_item("10006") is Effect.REJECTED
    assert codes.effect_of("10006") is Effect.UNKNOWN


def test_no_code_is_on_two_lists_that_contradict() -> None:
    assert not codes.REJECTED & codes.DUPLICATE
    assert not codes.REJECTED & codes.UNCHANGED
