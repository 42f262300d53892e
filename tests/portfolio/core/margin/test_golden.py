"""Every golden case of every account mode, and the table of them."""

from decimal import Decimal

import pytest

from tests.portfolio.core.margin.golden import (
    HEADING,
    README,
    GoldenCase,
    all_cases,
    graduated,
    section,
    with_section,
)

D = Decimal
CASES = all_cases()
#: The bar of the margin engine: 0.01 %.
WORST = D("1e-4")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.figure}")
def test_the_rule_says_what_is_printed(case: GoldenCase) -> None:
    assert case.relative_error <= WORST, f"{case.ours} instead of {case.expected} ({case.source})"


def test_every_case_has_a_name_of_its_own_and_a_source() -> None:
    assert len({(case.name, case.figure) for case in CASES}) == len(CASES)
    assert all(case.source for case in CASES)


def test_the_table_in_the_readme_is_up_to_date() -> None:
    text = README.read_text()
    assert text.count(HEADING) == 1
    assert with_section(text, section(CASES)) == text


def test_a_section_is_added_or_replaced_and_the_rest_of_the_text_stays() -> None:
    added = with_section("# head\n\ntext\n", f"{HEADING}\n\nnew\n")
    assert added == f"# head\n\ntext\n\n{HEADING}\n\nnew\n"
    between = f"# head\n\n{HEADING}\n\nold\n\n## next\n\nmore\n"
    assert with_section(between, f"{HEADING}\n\nnew\n") == f"# head\n\n{HEADING}\n\nnew\n\n## next\n\nmore\n"


def test_the_error_of_an_expected_zero_is_zero_or_infinite() -> None:
    assert GoldenCase("", "", "", D(0), D(0)).relative_error == 0
    assert GoldenCase("", "", "", D(1), D(0)).relative_error == D("Infinity")
    assert GoldenCase("", "", "", D(-3), D(-4)).relative_error == D("0.25")


def test_graduated_rates_add_up_like_a_tax() -> None:
    tiers = (("10", "0.1"), ("20", "0.2"))
    assert [graduated(tiers, size) for size in ("0", "10", "15")] == [0, 1, 2]
