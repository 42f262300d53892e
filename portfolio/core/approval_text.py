"""The text an operator approves: totals first, nothing cut. Its digest is what gets signed.

Plain text so that a page, a phone and a terminal show the same characters. The agent's words are quoted,
marked as unverified, and stripped of everything that could imitate a line of ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import plain, round_half_even_to_step
from portfolio.core.intents import DriftBounds
from portfolio.core.names import AccountId, PairId
from portfolio.core.proposing import DraftChange

_CENT = Decimal("0.01")
_MILLI = Decimal("0.001")
#: Longest run of an agent's words that is shown.
WORDS_MAX = 500


@dataclass(frozen=True, slots=True)
class TextInput:
    """What the text says. Ratios are fractions, money is USD."""

    mode: str
    account: AccountId
    intent_id: str
    expires_text: str
    proposed_by: str
    reason: str
    changes: Sequence[DraftChange]
    before: MarginFigures
    after: MarginFigures
    gross_before_usd: Decimal
    gross_after_usd: Decimal
    worst_stress: str
    worst_stress_health: Decimal
    #: Nearest prices at which the account liquidates, by pair: (pair, below, above); None: none within reach.
    liquidation: Sequence[tuple[PairId, Decimal | None, Decimal | None]]
    unusual: Sequence[str]
    drift: DriftBounds


def unverified(words: str) -> str:
    """An agent's words on one line of at most WORDS_MAX characters, nothing unprintable."""
    flat = "".join(ch if ch.isprintable() else " " for ch in words).replace('"', "'")
    return " ".join(flat.split())[:WORDS_MAX]


def render(given: TextInput) -> str:
    """The full text."""
    return "\n".join(
        (
            f"Carrydesk asks for your approval: {given.mode} account {given.account}",
            f"Intent {given.intent_id}, valid until {given.expires_text}",
            (
                f'Asked by token "{unverified(given.proposed_by)}", in its own words (unverified): '
                f'"{unverified(given.reason)}"'
            ),
            "",
            *_totals(given),
            "",
            *_lines(given.changes),
            "",
            *_risk(given),
            "",
            *_fine_print(given.drift),
        )
    )


def _usd(value: Decimal) -> str:
    return f"{round_half_even_to_step(value, _CENT):,.2f} USD"


def _share(value: Decimal | None) -> str:
    return "no value" if value is None else f"{round_half_even_to_step(value, _MILLI):.3f}"


def _totals(given: TextInput) -> list[str]:
    bought = sum((max(Decimal(0), c.to_usd - c.from_usd) for c in given.changes), Decimal(0))
    sold = sum((max(Decimal(0), c.from_usd - c.to_usd) for c in given.changes), Decimal(0))
    cost = sum((c.cost_usd for c in given.changes), Decimal(0))
    before = sum((c.carry_usd_per_day_before for c in given.changes), Decimal(0))
    carry = sum((c.carry_usd_per_day for c in given.changes), Decimal(0))
    gain = carry - before
    back = "Nothing pays this back: the change gives up carry"
    if gain > 0:
        back = f"In and out pay back in {round_half_even_to_step(2 * cost / gain, Decimal('0.1'))} days"
    return [
        f"Totals: {len(given.changes)} pairs; adds {_usd(bought)} and removes {_usd(sold)} of one leg",
        f"Cost now {_usd(cost)} (taker, both legs); the way back costs about the same",
        f"Carry of these pairs at the predicted rates: {_usd(before)} a day now, {_usd(carry)} after",
        back,
    ]


def _lines(changes: Sequence[DraftChange]) -> list[str]:
    out = []
    for change in changes:
        target = change.target
        coins = f"{plain(target.from_quantity)} to {plain(target.to_quantity)} coins"
        out.append(
            f"{target.pair_id}: one leg from {coins} ({_usd(change.from_usd)} to {_usd(change.to_usd)})"
        )
        out.extend(
            f"    {bound.instrument_id}: reference {plain(bound.reference_price)}, "
            f"never worse than {plain(bound.limit_price)}"
            for bound in target.bounds
        )
    return out


def _risk(given: TextInput) -> list[str]:
    equity = given.before.total_equity
    gross = (given.gross_before_usd, given.gross_after_usd)
    utilisation = [None if equity <= 0 else usd / equity for usd in gross]
    lines = [
        f"Health {_share(given.before.health_score)} to {_share(given.after.health_score)}",
        f"Usage {_share(given.before.margin_usage)} to {_share(given.after.margin_usage)}",
        f"Utilisation {_share(utilisation[0])} to {_share(utilisation[1])}",
        f"Worst stress: {given.worst_stress}, health {_share(given.worst_stress_health)}",
    ]
    lines += _liquidation(given)
    lines += [f"Unusual: {text}" for text in given.unusual]
    return lines


def _liquidation(given: TextInput) -> list[str]:
    lines = []
    for pair_id, below, above in given.liquidation:
        sides = [f"{word} {plain(price)}" for word, price in (("below", below), ("above", above)) if price]
        if sides:
            lines.append(f"The coin of {pair_id} alone would liquidate the account {' or '.join(sides)}")
    if not lines:
        lines.append("No coin's price alone, from a tenth to ten times today's, liquidates the account")
    return lines


def _fine_print(drift: DriftBounds) -> list[str]:
    basis, health = plain(drift.basis_worsening_bps_max), plain(drift.health_drop_max)
    return [
        f"Void if a leg's mark moves more than {drift.mark_move_max:.1%},",
        f"the net basis worsens by more than {basis} bps, simulated health falls by more than {health},",
        "or positions change outside.",
        "If only part of it fills, what is filled stays hedged and is kept; nothing is sold back",
        "because the rest did not fill. The guard may reduce it at any time.",
    ]
