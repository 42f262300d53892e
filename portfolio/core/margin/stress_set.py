"""A set of stresses over one account: all of them in one batch, and by the exact rule what decides.

The compiled account answers every scenario that it can be asked, three times: as named, and with all factors
a hair lower and higher, because exactly at a tier's border a float may fall on the other side than the exact
product does. A scenario that keeps its lines by more than `CLEAR` in all three keeps them; its figures are
the batch's, right to about 1e-12. Everything else is valued by the exact rule: what breaches a line or comes
near one, what the compiled account cannot be asked, and the worst. So every refusal is exact, and so is every
figure that decides one. Where the batch and the exact rule differ about the account as it is, or an account
mode has no batch, the exact rule answers all.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from portfolio.core.account import MarginFigures
from portfolio.core.margin.batch import BatchFigures, Moves, moves_of
from portfolio.core.margin.modes import AccountMode
from portfolio.core.margin.results import StressResult
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, stressed

#: Health and usage must keep their lines by so much, as fractions, to be called clear by floats.
CLEAR = 1e-6
#: The hair: far above what floats err by, far below what any line can see.
_HAIR = 1e-9
#: Fewer scenarios are not worth compiling an account for.
_WORTH = 4
_AGREED = 1e-9

#: What a scenario that binds nobody must leave: an ECV above zero, so that its usage has a value.
NO_LINES = (Decimal(-1), Decimal("Infinity"))
#: The least health and the most usage that a scenario must leave.
StressLines = Callable[[Scenario], tuple[Decimal, Decimal]]


def stress_results(
    mode: AccountMode,
    state: MarginState,
    figures: MarginFigures,
    scenarios: Sequence[Scenario],
    lines: StressLines,
) -> tuple[StressResult, ...]:
    """The account under each scenario, in their order.

    Args:
        mode: The account's mode.
        state: The account.
        figures: Its exact figures, extrapolated beyond the last tier as stresses are.
        scenarios: What to try.
        lines: What each must leave.

    Raises:
        MissingDataError: a price, a table, a fee or an instrument is absent.
    """
    with np.errstate(all="ignore"):  # what overflows is not clear, and the exact rule answers
        found = _cleared(mode, state, figures, scenarios, lines)
    results = []
    for scenario, quick in zip(scenarios, found, strict=True):
        exact = quick or mode.rule(stressed(state, scenario), extrapolate=True).figures
        results.append(StressResult(scenario.name, exact))
    if results:
        worst = min(range(len(results)), key=lambda number: results[number].figures.health_score)
        if found[worst] is not None:
            exact = mode.rule(stressed(state, scenarios[worst]), extrapolate=True).figures
            results[worst] = StressResult(scenarios[worst].name, exact)
    return tuple(results)


def _cleared(
    mode: AccountMode,
    state: MarginState,
    figures: MarginFigures,
    scenarios: Sequence[Scenario],
    lines: StressLines,
) -> list[MarginFigures | None]:
    """Figures of the scenarios that certainly keep their lines; None for all others."""
    found: list[MarginFigures | None] = [None] * len(scenarios)
    asked = [number for number, row in enumerate(scenarios) if row.prices_alone]
    if mode.compiled is None or len(asked) < _WORTH:
        return found
    compiled = mode.compiled(state)
    moves = moves_of([Scenario("now", {}), *(scenarios[number] for number in asked)], compiled.coins)
    named, shifts = moves.factors[1:], moves.ratio_shifts[1:]
    near = np.concatenate([moves.factors, named * (1 - _HAIR), named * (1 + _HAIR)])
    batch = compiled.value(Moves(near, np.concatenate([moves.ratio_shifts, shifts, shifts])))
    if not _agree(batch, figures):
        return found
    bounds = [lines(row) if row.binding else NO_LINES for row in (scenarios[number] for number in asked)]
    clear = _clear(batch, bounds)
    for place, number in enumerate(asked):
        if clear[place]:
            found[number] = batch.figures(1 + place)
    return found


def _clear(batch: BatchFigures, bounds: Sequence[tuple[Decimal, Decimal]]) -> NDArray[np.bool_]:
    """Which of the scenarios keep both lines in all three versions. NaN keeps no line."""
    health_min = np.array([float(row[0]) for row in bounds])
    usage_max = np.array([float(row[1]) for row in bounds])
    health = batch.health[1:].reshape(3, len(bounds))
    usage = batch.usage[1:].reshape(3, len(bounds))
    keeps: NDArray[np.bool_] = (health > health_min + CLEAR) & (usage < usage_max - CLEAR)
    clear: NDArray[np.bool_] = keeps[0] & keeps[1] & keeps[2]
    return clear


def _agree(batch: BatchFigures, exact: MarginFigures) -> bool:
    """Whether the first row says of the account now what the exact rule says, above one USD; NaN never."""
    pairs = (
        (batch.total_equity, exact.total_equity),
        (batch.adjusted_equity, exact.adjusted_equity),
        (batch.initial_margin, exact.initial_margin),
        (batch.maintenance_margin, exact.maintenance_margin),
    )
    return all(abs(float(ours[0]) - float(own)) <= _AGREED * max(1.0, abs(float(own))) for ours, own in pairs)
