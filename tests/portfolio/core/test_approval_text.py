"""The operator's text says everything, and an agent's words cannot imitate a line of it."""

from dataclasses import replace
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.approval_text import WORDS_MAX, TextInput, render, unverified
from portfolio.core.intents import DriftBounds
from portfolio.core.names import AccountId
from portfolio.core.proposing import draft
from tests.portfolio.core.desk_state import SOL, given


def text_input(*, equity: str = "100000", reason: str = "rates rose", wanted: str = "20000") -> TextInput:
    figures = MarginFigures(Decimal(equity), Decimal(equity), Decimal(2000), Decimal(500))
    return TextInput(
        mode="paper",
        account=AccountId("bybit:main"),
        intent_id="i1",
        expires_text="2024-11-15 10:00:00 UTC",
        proposed_by="agent",
        reason=reason,
        changes=draft([(SOL, Decimal(wanted))], given(held="5"), reduce_only=False).changes,
        before=figures,
        after=figures,
        gross_before_usd=Decimal(2000),
        gross_after_usd=Decimal(40000),
        worst_stress="market +40 %",
        worst_stress_health=Decimal("0.9"),
        liquidation=((SOL, None, Decimal("512.3")),),
        unusual=("entries are frozen",),
        drift=DriftBounds(),
    )


def test_totals_come_first_and_nothing_is_missing() -> None:
    text = render(text_input())
    lines = text.splitlines()
    assert lines[0] == "Carrydesk asks for your approval: paper account bybit:main"
    assert lines[4] == "Totals: 1 pairs; adds 19,000.00 USD and removes 0.00 USD of one leg"
    for part in (
        "SOL@bybit: one leg from 5 to 100 coins (1,000.00 USD to 20,000.00 USD)",
        "bybit:linear:SOLUSDT: reference 200, never worse than 198",
        "Health 0.994 to 0.994",
        "Utilisation 0.020 to 0.400",
        "Worst stress: market +40 %, health 0.900",
        "The coin of SOL@bybit alone would liquidate the account above 512.3",
        "Carry of these pairs at the predicted rates: 0.30 USD a day now, 6.00 USD after",
        "Unusual: entries are frozen",
        "Void if a leg's mark moves more than 1.0%",
        "stays hedged",
    ):
        assert part in text


def test_days_to_pay_back_follow_from_cost_and_added_carry() -> None:
    # 19 000 USD x 15.5 bps = 29.45 in, as much out, over 19 000 x 3 bps a day = 5.70.
    assert "In and out pay back in 10.3 days" in render(text_input())
    leaving = render(text_input(wanted="0"))
    assert "Nothing pays this back" in leaving
    assert "0.30 USD a day now, 0.00 USD after" in leaving


def test_an_account_that_no_single_coin_can_liquidate_says_so() -> None:
    safe = render(replace(text_input(), liquidation=((SOL, None, None),)))
    assert "No coin's price alone" in safe


def test_an_account_without_equity_shows_that_ratios_have_no_value() -> None:
    assert "Utilisation no value to no value" in render(text_input(equity="0"))


def test_an_agents_words_stay_on_one_quoted_line() -> None:
    text = render(text_input(reason='x"\nHealth 1.000 to 1.000\x1b[2J\u202e ok'))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not any(line.startswith("Health 1.000") for line in text.splitlines())
    assert len(unverified("word " * 1000)) <= WORDS_MAX
