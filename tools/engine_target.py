"""The engine's own allocation: which pairs, how large, after band and costs. The desk checks it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import anyio.to_thread

from portfolio.core.book_target import size_selection
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import MissingDataError
from portfolio.core.names import Coin, PairId
from portfolio.core.rebalance import Pacing, rebalance
from portfolio.core.selection import Candidate, Selection
from portfolio.core.sizing import BookSize, SizingInput
from portfolio.service import DeskService, DeskSnapshot, Principal, WantedTarget
from tools.account_mode import sim_of
from tools.book import figures, reference_price
from tools.ranking import rank
from tools.results import usd

_HOURS_A_YEAR = 24 * 365
#: Room for rounding below the largest share of a pair, and how often shares are brought inside of it.
_SHARE_ROOM = Decimal("0.003")
_SHARE_ROUNDS = 10
_QUOTE = Coin("USDT")
_PACING = Pacing()


@dataclass(frozen=True, slots=True)
class Allocation:
    """What the engine wants to change, and why it leaves the rest."""

    targets: tuple[WantedTarget, ...]
    reasons: tuple[tuple[PairId, str], ...]
    #: The best pair that a gate stopped, in one line; None when none was.
    best_rejected: str | None
    #: What keeps the book from being larger.
    binding: str
    #: By target: what the gates and the band decided, in one line.
    lines: Mapping[PairId, str]


async def engine_target(
    desk: DeskService, principal: Principal, snapshot: DeskSnapshot, exclude: frozenset[str]
) -> Allocation:
    """Select, weigh, size, and leave what is inside the band.

    Raises:
        MissingDataError: an input is not there.
    """
    found, selection = await rank(desk, principal, snapshot)
    given, left = _sizing_input(snapshot, found), frozenset(PairId(name) for name in exclude)
    size = await anyio.to_thread.run_sync(lambda: size_selection(selection, given, left))
    return _gated(snapshot, found, selection, size, exclude)


def _sizing_input(snapshot: DeskSnapshot, found: tuple[Candidate, ...]) -> SizingInput:
    """The account now; what the book earns and how it moves is filled in per book."""
    totals, state = figures(snapshot), snapshot.state
    if totals is None or state is None:
        raise MissingDataError("The account has not been read yet.", field="account", next_step="Wait.")
    borrow = state.tables.borrow.get(_QUOTE)
    if borrow is None:
        raise MissingDataError("The borrow rate of USDT is unknown.", field="borrow", next_step="Wait.")
    pairs = {pair.spec.pair_id: pair.spec for pair in snapshot.pairs}
    prices = {pair_id: reference_price(snapshot, spec.lead_leg) for pair_id, spec in pairs.items()}
    return SizingInput(
        sim=sim_of(snapshot),
        limits=snapshot.limits,
        state=state,
        pairs=pairs,
        legs=snapshot.legs,
        prices={pair_id: price for pair_id, price in prices.items() if price is not None},
        total_equity=totals.total_equity,
        carry_apr=0.0,
        borrow_apr=float(borrow.hourly_rate) * _HOURS_A_YEAR,
        levered=sum((row.held_usd for row in found), ZERO) > totals.total_equity,
    )


def _gated(
    snapshot: DeskSnapshot,
    found: tuple[Candidate, ...],
    selection: Selection,
    size: BookSize,
    exclude: frozenset[str],
) -> Allocation:
    """What of the sized book is worth trading, and for every pair the line that says why or why not."""
    held = {candidate.pair_id: candidate.held_usd for candidate in found}
    wanted = {
        pair_id: target
        for pair_id, target in _inside_share(size.targets_usd, snapshot).items()
        if pair_id not in exclude and pair_id not in selection.untouched
    }
    traded = rebalance(wanted, held, snapshot.limits.trade, _PACING, pace_usd=_pace(snapshot))
    lines, reasons = {}, list(selection.excluded.items())
    for pair_id, why in traded.why.items():
        bound = selection.bound_by.get(pair_id)
        line = why if bound is None else f"{why}; weight capped by {bound}"
        if pair_id in traded.targets_usd:
            lines[pair_id] = line
        elif pair_id not in selection.excluded:
            reasons.append((pair_id, line))
    reasons += [(PairId(name), "excluded by you") for name in sorted(exclude)]
    return Allocation(
        targets=tuple(WantedTarget(pair_id, _cents(usd)) for pair_id, usd in traded.targets_usd.items()),
        reasons=tuple(reasons),
        best_rejected=_best_rejected(selection),
        binding=size.binding,
        lines=lines,
    )


def _pace(snapshot: DeskSnapshot) -> Decimal:
    """The most that one proposal changes, USD of one leg: a day's pace."""
    totals = figures(snapshot)
    return ZERO if totals is None else max(ZERO, totals.total_equity) * _PACING.daily_share


def _inside_share(wanted: Mapping[PairId, Decimal], snapshot: DeskSnapshot) -> Mapping[PairId, Decimal]:
    """Keep pairs clear of the largest share of the book: rounding to lots moves every share a bit."""
    totals = figures(snapshot)
    equity = ZERO if totals is None else totals.total_equity
    cap = snapshot.limits.book.pair_book_share_max * (ONE - _SHARE_ROOM)
    targets = dict(wanted)
    for _ in range(_SHARE_ROUNDS):
        most = cap * max(sum(targets.values(), ZERO), equity)
        over = [pair_id for pair_id, target in targets.items() if target > most]
        if not over:
            break
        for pair_id in over:
            targets[pair_id] = most
    return targets


def _cents(value: Decimal) -> Decimal:
    return Decimal(usd(value))


def _best_rejected(selection: Selection) -> str | None:
    for score in selection.scores:
        if score.pair_id in selection.excluded:
            return f"{score.pair_id}: {selection.excluded[score.pair_id]}"
    return next((f"{pair}: {why}" for pair, why in sorted(selection.excluded.items())), None)
