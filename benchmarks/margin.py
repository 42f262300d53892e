"""The exact margin rule: how far it is from every printed and recorded figure, one valuation of a large
account, what-ifs of a book with its stresses in one batch and one by one, and a headroom search.

All of it is arithmetic, so its time is the thread's own CPU time: what else the machine does does not count.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from time import thread_time_ns

from benchmarks import made, margin_speed
from benchmarks.measure import Result, spread, timed
from portfolio.core.decimals import ZERO, round_down_to_step
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.lines import stress_lines
from portfolio.core.margin.modes import BYBIT_UTA, AccountMode
from portfolio.core.margin.results import Headroom, Lines
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress_set import stress_results
from portfolio.core.margin.valuation import Valuation
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.universe import carry_pairs
from tests.portfolio.core.margin.golden import all_cases

#: USD of one leg of every pair of the book.
LEG_USD = Decimal(20_000)


class Counter:
    """The margin rule, counting how often it is asked and for how many sizes of one position."""

    def __init__(self, instrument_id: InstrumentId) -> None:
        self.valuations = 0
        self.sizes: set[Decimal] = set()
        self._instrument_id = instrument_id

    def __call__(
        self, state: MarginState, *, reference: bool = False, extrapolate: bool = False
    ) -> Valuation:
        """See `MarginRule`."""
        self.valuations += 1
        self.sizes |= {row.quantity for row in state.positions if row.instrument_id == self._instrument_id}
        return value(state, reference=reference, extrapolate=extrapolate)


class Book:
    """A book of so many pairs on one account, built by a what-if."""

    def __init__(self, pairs: int) -> None:
        core = made.venue(pairs, LEG_USD * pairs)
        self.pairs: Mapping[PairId, PairSpec] = carry_pairs(core.instruments())
        self.sim = MarginSim()
        flat = core.margin_state()
        nothing = {key: PairLegs(key, ZERO, ZERO) for key in self.pairs}
        self.sizes = {
            key: round_down_to_step(
                LEG_USD / flat.prices.marks[pair.short_leg], flat.instruments[pair.short_leg].lot_size
            )
            for key, pair in self.pairs.items()
        }
        built = self.sim.simulate(flat, self.pairs, nothing, self.sizes, stresses=())
        self.state, self.legs = built.state, built.legs

    def what_if(self) -> int:
        """Every pair a tenth larger, under the standard stresses; how many of those."""
        targets = {key: size * Decimal("1.1") for key, size in self.sizes.items()}
        return len(self.sim.simulate(self.state, self.pairs, self.legs, targets).stresses)

    def headroom(self, sim: MarginSim, pair_id: PairId) -> Headroom:
        """How much more of one pair fits by the guard's lines, every stress among them."""
        return sim.headroom(self.state, self.pairs, self.legs, pair_id, lines=Lines.ENTRY)


def run(*, tiny: bool = False) -> Result:
    """CPU milliseconds."""
    times = 3 if tiny else 50
    account = made.large_account(10 if tiny else 100, 3 if tiny else 30)
    valuations, _ = timed(lambda: value(account), times, clock=thread_time_ns)
    result: dict[str, object] = {
        "positions": len(account.positions),
        "coins": len(account.balances),
        "orders": len(account.orders),
        "value_ms": spread(valuations),
    }
    for pairs in (2,) if tiny else (7, 20):
        book = Book(pairs)
        what_ifs, stresses = timed(book.what_if, 2 if tiny else 10, clock=thread_time_ns)
        result |= {f"simulate_{pairs}_pairs_ms": spread(what_ifs), f"stresses_{pairs}_pairs": stresses}
        result |= _stresses(book, pairs, 2 if tiny else 10)
    return result | _golden() | _headroom(2 if tiny else 20, 1 if tiny else 5) | margin_speed.run(tiny=tiny)


def _golden() -> Result:
    """The worst golden case, which the tests hold to 1e-4; every one stands in portfolio/README.md."""
    cases = all_cases()
    return {
        "golden_max_rel_error": float(max(case.relative_error for case in cases)),
        "golden_cases": len(cases),
    }


def _stresses(book: Book, pairs: int, times: int) -> Result:
    """The standard set over a book: one batch and the exact rule where it decides; the exact rule alone."""
    scenarios, limits, state = book.sim.scenarios(book.state), RiskLimits(), book.state
    figures = value(state, extrapolate=True).figures

    def run(mode: AccountMode) -> None:
        stress_results(mode, state, figures, scenarios, lambda row: stress_lines(row, limits, Lines.ENTRY))

    batch, _ = timed(lambda: run(BYBIT_UTA), times, clock=thread_time_ns)
    exact, _ = timed(lambda: run(replace(BYBIT_UTA, compiled=None)), times, clock=thread_time_ns)
    return {
        f"stress_set_{pairs}_pairs_ms": spread(batch),
        f"stress_set_exact_{pairs}_pairs_ms": spread(exact),
    }


def _headroom(pairs: int, times: int) -> Result:
    book = Book(pairs)
    pair_id = max(book.pairs)
    searches, found = timed(lambda: book.headroom(book.sim, pair_id), times, clock=thread_time_ns)
    rule = Counter(book.pairs[pair_id].short_leg)
    book.headroom(MarginSim(replace(BYBIT_UTA, rule=rule)), pair_id)
    return {
        "max_size_pairs": pairs,
        "max_size_ms": spread(searches),
        "max_size_bisections": len(rule.sizes),
        "headroom_valuations": rule.valuations,
        "headroom_bound_by": found.binding,
    }
