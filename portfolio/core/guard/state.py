"""What the guard remembers over ticks and restarts: peaks, counters, cool-downs, held pairs.

Kept as JSON text. Times are wire-clock ns since the Unix epoch, so they stay meaningful after a restart.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from portfolio.core.decimals import ZERO, parse_plain, plain
from portfolio.core.errors import JournalCorruptError, NumberError
from portfolio.core.guard.gap_sample import GapSample
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import Coin, PairId

#: A peak is written when it rose by this share since it was last written: a rising account must not fill the
#: journal.
PEAK_STEP = Decimal("0.001")
#: A leg naked for longer than this is worth an entry.
NAKED_SAVED_NS = SECOND_NS
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class GuardState:
    """See the module. Values are replaced, never changed."""

    #: Numbers the guard's operations for ever.
    operations: int = 0
    #: Highest equity without transfers, USD; None before the first reading. Market times of its reading and
    #: of the first one.
    peak_equity: Decimal | None = None
    peak_market_ns: int = 0
    measured_from_market_ns: int = 0
    #: Since when equity is below the drawdown line.
    drawdown_since: int | None = None
    #: Transfers into the account so far, USD, and the journal entry up to which they were counted.
    transfers_usd: Decimal = ZERO
    transfers_seq: int = 0
    #: No entries in the coin before this time.
    cooldown_until: Mapping[Coin, int] = field(default_factory=dict)
    #: How often, and when last, the guard reduced a pair since the operator acknowledged.
    reductions: Mapping[PairId, int] = field(default_factory=dict)
    reduced_at: Mapping[PairId, int] = field(default_factory=dict)
    #: Since when a pair's net delta is beyond tolerance, and how often the guard tried to mend it.
    naked_since: Mapping[PairId, int] = field(default_factory=dict)
    naked_attempts: Mapping[PairId, int] = field(default_factory=dict)
    #: Pairs taken from their engines, with the rule that took them.
    held: Mapping[PairId, str] = field(default_factory=dict)
    #: Freezes of ours that stand, with their reasons.
    frozen: Mapping[str, str] = field(default_factory=dict)
    #: Margin gap: the last sample, and how many in a row were over or within the line.
    gap: Decimal | None = None
    gap_over: int = 0
    gap_within: int = 0
    #: Since when the last sample has been over the second line.
    distrusted_since: int | None = None
    #: The last samples, oldest first, at most SAMPLES_KEPT; a restart begins anew.
    gap_samples: tuple[GapSample, ...] = ()
    #: Since when inputs are stale, holdings unexplained, and pairs short of an unexplained part of a leg.
    stale_since: int | None = None
    orphan_since: Mapping[str, int] = field(default_factory=dict)
    forced_since: Mapping[str, int] = field(default_factory=dict)


def needs_saving(saved: GuardState, now: GuardState, now_wire_ns: int) -> bool:
    """Whether a restart from `saved` would lose something that matters.

    Gap samples and the since-times of a few seconds rebuild themselves and do not count; a naked leg does
    once it is older than the moment that every hedged slice takes.
    """
    lasting = (
        "operations",
        "transfers_seq",
        "cooldown_until",
        "reductions",
        "naked_attempts",
        "held",
        "frozen",
    )
    if (
        _long_naked(now, now_wire_ns) - saved.naked_since.keys()
        or saved.naked_since.keys() - now.naked_since.keys()
    ):
        return True
    if any(getattr(saved, name) != getattr(now, name) for name in lasting):
        return True
    if saved.peak_equity is None or now.peak_equity is None:
        return saved.peak_equity is not now.peak_equity
    # An acknowledged drawdown lowers the peak: that is lasting, too.
    if now.peak_equity < saved.peak_equity:
        return True
    return now.peak_equity - saved.peak_equity > abs(saved.peak_equity) * PEAK_STEP


def _long_naked(state: GuardState, now_wire_ns: int) -> set[PairId]:
    return {key for key, since in state.naked_since.items() if now_wire_ns - since >= NAKED_SAVED_NS}


def to_text(state: GuardState) -> str:
    """Canonical JSON: sorted keys, decimals as text. Equal states give equal text."""

    def money(value: Decimal | None) -> str | None:
        return None if value is None else plain(value)

    body = {
        "format": _FORMAT,
        "operations": state.operations,
        "peak_equity": money(state.peak_equity),
        "peak_market_ns": state.peak_market_ns,
        "measured_from_market_ns": state.measured_from_market_ns,
        "drawdown_since": state.drawdown_since,
        "transfers_usd": money(state.transfers_usd),
        "transfers_seq": state.transfers_seq,
        "cooldown_until": dict(state.cooldown_until),
        "reductions": dict(state.reductions),
        "reduced_at": dict(state.reduced_at),
        "naked_since": dict(state.naked_since),
        "naked_attempts": dict(state.naked_attempts),
        "held": dict(state.held),
        "frozen": dict(state.frozen),
        "gap": money(state.gap),
        "gap_over": state.gap_over,
        "gap_within": state.gap_within,
        "distrusted_since": state.distrusted_since,
        "stale_since": state.stale_since,
        "orphan_since": dict(state.orphan_since),
        "forced_since": dict(state.forced_since),
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def from_text(text: str) -> GuardState:
    """The state that `to_text` wrote.

    Raises:
        JournalCorruptError: the text is not such a state; the guard must not start with a made-up one.
    """
    try:
        body: dict[str, Any] = json.loads(text)
        if body["format"] == _FORMAT:
            # Any other format stays, and is refused below like every field that the state does not have.
            del body["format"]
        for name in ("peak_equity", "transfers_usd", "gap"):
            if body[name] is not None:
                body[name] = parse_plain(body[name], name)
        return GuardState(**body)
    except (ValueError, KeyError, TypeError, AttributeError, NumberError) as error:
        raise _unreadable(str(error)) from error


def _unreadable(why: str) -> JournalCorruptError:
    return JournalCorruptError(
        f"The saved guard state cannot be read: {why}.",
        next_step="Keep the journal for inspection, and put the last copy that you have of it in its place.",
    )
