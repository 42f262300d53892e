"""Mid-swap gates: asked before every slice that adds risk, and before slices of exits that may wait.

A gate that will open by itself soon (a settlement, a late price) says WAIT; one that needs somebody says
STOP. Hedges, unwinding and the guard's own reductions never ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from portfolio.core.intents import IntentStatus
from portfolio.core.limits import MINUTE_NS, TradeLimits
from portfolio.core.market import FundingOutlook
from portfolio.core.names import InstrumentId


class Answer(StrEnum):
    """What a gate says."""

    GO = "go"
    WAIT = "wait"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of all gates together: the strictest, with its reason."""

    answer: Answer
    reason: str
    #: WAIT only: a clock ends it, so nobody needs to lose patience.
    ends_by_itself: bool = False


GO = Verdict(Answer.GO, "")


@dataclass(frozen=True, slots=True)
class GateFacts:
    """What the gates read, gathered at one moment."""

    guard_holds: bool
    #: Why entries are frozen; None: they are not.
    frozen_reason: str | None
    #: None: an operation without an intent (the guard's own).
    intent_status: IntentStatus | None
    #: The approval ran out: entries stop, hedges and exits go on.
    approval_expired: bool
    #: Names of inputs that are missing or too old.
    stale: tuple[str, ...]
    #: Instruments whose books offer nothing inside the approved bounds.
    outside: tuple[InstrumentId, ...]
    #: Why the margin simulation refuses the slice; None: it allows it.
    margin_blocked: str | None
    #: Why the settlement clock says not now; None: it does not.
    settlement_wait: str | None


def entry_gate(facts: GateFacts) -> Verdict:
    """All gates before a slice that adds risk."""
    if facts.guard_holds:
        return Verdict(Answer.STOP, "the guard holds the pair")
    if facts.frozen_reason is not None:
        return Verdict(Answer.STOP, f"entries are frozen: {facts.frozen_reason}")
    if facts.intent_status not in (None, IntentStatus.EXECUTING):
        return Verdict(Answer.STOP, f"the intent is {facts.intent_status}")
    if facts.approval_expired:
        return Verdict(Answer.STOP, "the approval expired")
    if facts.stale:
        return Verdict(Answer.WAIT, f"stale or missing: {', '.join(facts.stale)}")
    return _later(facts, margin=True)


def exit_gate(facts: GateFacts) -> Verdict:
    """Gates before a slice of an optional exit: nothing that protects against risk may stop it."""
    if facts.guard_holds:
        return Verdict(Answer.STOP, "the guard holds the pair")
    if facts.intent_status not in (None, IntentStatus.EXECUTING):
        return Verdict(Answer.STOP, f"the intent is {facts.intent_status}")
    return _later(facts, margin=False)


def _later(facts: GateFacts, *, margin: bool) -> Verdict:
    if facts.settlement_wait is not None:
        return Verdict(Answer.WAIT, facts.settlement_wait, ends_by_itself=True)
    if facts.outside:
        return Verdict(Answer.WAIT, f"no price inside the approved bounds: {', '.join(facts.outside)}")
    if margin and facts.margin_blocked is not None:
        return Verdict(Answer.STOP, f"margin: {facts.margin_blocked}")
    return GO


def settlement_wait(
    outlooks: Mapping[InstrumentId, FundingOutlook],
    *,
    short: frozenset[InstrumentId],
    now_market_ns: int,
    entering: bool,
    limits: TradeLimits,
) -> str | None:
    """Why the settlement clocks of the pair's perpetuals say not now; None: they do not.

    No entry and no optional exit from `settlement_before_ns` before a settlement to `settlement_after_ns`
    after it. An exit also waits for a settlement less than `exit_waits_for_settlement_ns` away that pays
    the pair.

    Args:
        outlooks: One per perpetual leg.
        short: Those of them that the pair is short of: a positive rate pays a short.
        now_market_ns: Market clock.
        entering: Whether the slice adds risk.
        limits: The windows.
    """
    for instrument_id, outlook in outlooks.items():
        ahead = outlook.next_settlement_market_ns - now_market_ns
        since = outlook.interval_minutes * MINUTE_NS - ahead
        if 0 <= ahead <= limits.settlement_before_ns:
            return f"{instrument_id} settles in {ahead // 1_000_000_000} s"
        if -limits.settlement_after_ns <= ahead < 0 or 0 <= since <= limits.settlement_after_ns:
            return f"{instrument_id} settled a moment ago"
        pays = outlook.predicted_rate > 0 if instrument_id in short else outlook.predicted_rate < 0
        if not entering and pays and 0 <= ahead <= limits.exit_waits_for_settlement_ns:
            return f"{instrument_id} pays in {ahead // MINUTE_NS} min"
    return None
