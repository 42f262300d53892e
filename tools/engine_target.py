"""The engine's own allocation: which pairs, how large, after band and costs. The desk checks it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import anyio.to_thread

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import MissingDataError
from portfolio.core.hysteresis import band_edge
from portfolio.core.names import Coin, PairId
from portfolio.core.selection import Candidate, Selection
from portfolio.core.sizing import BookSize, SizingInput, size_book
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
#: Rounds of sizing and capping, and the change of a weight that ends them.
_SIZE_ROUNDS = 4
_SIZE_PRECISION = 0.005


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
    size = await anyio.to_thread.run_sync(lambda: _sized(snapshot, found, selection, exclude))
    return _gated(snapshot, found, selection, size, exclude)


def _sized(
    snapshot: DeskSnapshot,
    found: tuple[Candidate, ...],
    selection: Selection,
    exclude: frozenset[str],
) -> BookSize:
    """Size and caps depend on each other: ask again at the size found until it stays.

    Caps get tighter as the book grows, so every round is smaller than or equal to what its caps allow.
    """
    weights: Mapping[PairId, float] = selection.weights
    for _ in range(_SIZE_ROUNDS):
        kept = {pair: weight for pair, weight in weights.items() if pair not in exclude}
        size = size_book(kept, _sizing_input(snapshot, found, selection, kept))
        if size.leg_total_usd <= 0:
            break
        capped = selection.weights_at(float(size.leg_total_usd))
        again = dict(zip(selection.eligible, capped.weights.tolist(), strict=True))
        if max((abs(again[pair] - weights[pair]) for pair in again), default=0.0) < _SIZE_PRECISION:
            break
        weights = again
    return size


def _sizing_input(
    snapshot: DeskSnapshot,
    found: tuple[Candidate, ...],
    selection: Selection,
    weights: Mapping[PairId, float],
) -> SizingInput:
    totals, state = figures(snapshot), snapshot.state
    if totals is None or state is None:
        raise MissingDataError("The account has not been read yet.", field="account", next_step="Wait.")
    borrow = state.tables.borrow.get(_QUOTE)
    if borrow is None:
        raise MissingDataError("The borrow rate of USDT is unknown.", field="borrow", next_step="Wait.")
    pairs = {pair.spec.pair_id: pair.spec for pair in snapshot.pairs}
    prices = {pair_id: reference_price(snapshot, spec.lead_leg) for pair_id, spec in pairs.items()}
    # Scores are net of borrowing; sizing weighs the carry before it against the cost of one more dollar.
    borrowing = {candidate.pair_id: candidate.facts.borrow_apr for candidate in found}
    scores = {score.pair_id: score for score in selection.scores}
    total = sum(weights.values())
    carry = sum(weight * (scores[pair].net_carry_apr + borrowing[pair]) for pair, weight in weights.items())
    return SizingInput(
        sim=sim_of(snapshot),
        limits=snapshot.limits,
        state=state,
        pairs=pairs,
        legs=snapshot.legs,
        prices={pair_id: price for pair_id, price in prices.items() if price is not None},
        total_equity=totals.total_equity,
        carry_apr=carry / total if total > 0 else 0.0,
        borrow_apr=float(borrow.hourly_rate) * _HOURS_A_YEAR,
    )


def _gated(
    snapshot: DeskSnapshot,
    found: tuple[Candidate, ...],
    selection: Selection,
    size: BookSize,
    exclude: frozenset[str],
) -> Allocation:
    held = {candidate.pair_id: candidate.held_usd for candidate in found}
    targets, reasons, lines = [], list(selection.excluded.items()), {}
    for pair_id, target in _inside_share(size.targets_usd, snapshot).items():
        if pair_id in exclude or pair_id in selection.untouched:
            continue
        now = held.get(pair_id, ZERO)
        gated = band_edge(now, target, snapshot.limits.trade)
        if gated.changed:
            targets.append(WantedTarget(pair_id, _cents(gated.notional_usd)))
            bound = selection.bound_by.get(pair_id)
            lines[pair_id] = gated.why if bound is None else f"{gated.why}; weight capped by {bound}"
        else:
            reasons.append((pair_id, gated.why))
    reasons += [(PairId(name), "excluded by you") for name in sorted(exclude)]
    return Allocation(tuple(targets), tuple(reasons), _best_rejected(selection), size.binding, lines)


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
