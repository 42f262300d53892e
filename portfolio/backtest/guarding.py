"""The guard in a backtest: the live arbiter over the made account, at the price where a line is crossed.

Between two settlements prices run, coin by coin alike, from the earlier price to each extreme; the guard acts
at the first of PATH_STEPS points beyond its line, so it is late by up to that share of the interval. Its
orders take both legs at urgent costs. The operator, whom a drawdown freeze and a twice reduced pair wait for,
is assumed to look after OPERATOR_NS.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from portfolio.backtest.account import AccountModel, Book, at_prices, legs_of, margin_state
from portfolio.backtest.market import VenueMarket
from portfolio.core.account import MarginFigures
from portfolio.core.carry import DAY_NS, Floats
from portfolio.core.decimals import ZERO
from portfolio.core.guard.arbiter import acknowledged, decide
from portfolio.core.guard.cuts import Cuts
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import ActionKind, GuardInput, PairFacts, Rule
from portfolio.core.guard.veto import EntryFacts, standing_veto
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import PairId

#: Points between two settlements at which the guard looks.
PATH_STEPS = 8
OPERATOR_NS = 7 * DAY_NS
_NOTIONAL_MIN = Decimal(5)
_COST = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Cut:
    """One pair's reduction: column, coins left, and why."""

    column: int
    to_coins: float
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to the account at these prices, (n,)."""

    spot: Floats
    mark: Floats
    #: Of the account as the guard found it.
    health: float
    liquidated: bool
    cuts: tuple[Cut, ...]


class BacktestGuard:
    """One account's guard over a run."""

    def __init__(self, model: AccountModel, limits: RiskLimits) -> None:
        self._model = model
        self._limits = limits
        self._sim = MarginSim(model.mode)
        self._specs = model.specs
        self._columns = {pair.pair_id: number for number, pair in enumerate(model.pairs)}
        self.state = GuardState()
        self._acted_ns = 0
        self._restarted = False

    def crossing(self, market: VenueMarket, book: Book, step: int) -> tuple[Floats, Floats]:
        """Spot and mark prices at which the account first crosses a line on its way to `step`.

        The prices of the step itself when no point on the way does.
        """
        before_spot, before_mark = market.spot[step - 1], market.mark[step - 1]
        points = np.arange(1, PATH_STEPS + 1)[:, None] / PATH_STEPS
        spots, marks = [], []
        for factor in (np.ones_like(before_spot), market.high[step], market.low[step]):
            spots.append(before_spot * (market.spot[step] * factor / before_spot) ** points)
            marks.append(before_mark * (market.mark[step] * factor / before_mark) ** points)
        # Point by point along the three ways at once: the earliest one counts.
        spot = np.stack(spots, axis=1).reshape(3 * PATH_STEPS, -1)
        mark = np.stack(marks, axis=1).reshape(3 * PATH_STEPS, -1)
        totals = at_prices(self._model, book, spot, mark).totals
        guard = self._limits.guard
        usage = totals.usage
        crossed = (totals.health < float(guard.reduce_below_health)) | ~(
            usage <= float(guard.reduce_above_usage)
        )
        if not crossed.any():
            return market.spot[step], market.mark[step]
        first = int(np.argmax(crossed))
        return spot[first], mark[first]

    def act(
        self,
        book: Book,
        spot: Floats,
        mark: Floats,
        time_ns: int,
        peak: float,
        scores: Mapping[PairId, float],
    ) -> Verdict:
        """Ask the arbiter. `peak` is the highest equity so far, `scores` quality by pair."""
        state = margin_state(self._model, book, spot, mark)
        figures = self._sim.rule(state, extrapolate=True).figures
        if self._liquidated(figures):
            return Verdict(spot, mark, 0.0, liquidated=True, cuts=())
        legs = legs_of(self._model, book)
        cuts = Cuts(self._sim, state, self._specs, legs, figures)
        decision = decide(self._input(book, figures, mark, time_ns, peak, scores), cuts)
        self.state = decision.state
        self._acted_ns = time_ns
        found = []
        for action in decision.actions:
            if action.kind is ActionKind.REDUCE:
                column = self._columns[action.pair_id]
                to_coins = min(float(action.to_quantity), float(book.coins[column]))
                found.append(Cut(column, to_coins, action.rules[0], self._reason(action.rules[0], figures)))
        # The next account read finds the pairs whole: they are given back, as after the live guard's orders.
        self.state = replace(self.state, held={})
        return Verdict(spot, mark, float(figures.health_score), liquidated=False, cuts=tuple(found))

    def veto(self, column: int, time_ns: int) -> str | None:
        """Why this pair may not grow now; None when nothing stands against it."""
        self._operator(time_ns)
        pair = self._model.pairs[column]
        facts = EntryFacts(
            now_wire_ns=time_ns,
            state=self.state,
            pairs={pair.pair_id: pair.coin},
            recovered=True,
            halted=False,
            freezes=self.state.frozen,
            stale=(),
            unknown=frozenset(),
        )
        return standing_veto(facts, self._limits)

    def _operator(self, time_ns: int) -> None:
        """The operator looks some days after the guard acted, and lets the desk go on."""
        if self._acted_ns and time_ns - self._acted_ns >= OPERATOR_NS:
            self.state = acknowledged(self.state)
            self._acted_ns = 0
            # Only what a drawdown froze measures it anew.
            self._restarted = self.state.peak_equity is None

    def restarts_peak(self) -> bool:
        """Whether the operator let the desk go on since this was last asked: drawdowns start anew then."""
        found, self._restarted = self._restarted, False
        return found

    def _liquidated(self, figures: MarginFigures) -> bool:
        line = self._model.mode.liquidation_line
        return figures.maintenance_margin * line >= figures.adjusted_equity

    def _input(
        self,
        book: Book,
        figures: MarginFigures,
        mark: Floats,
        time_ns: int,
        peak: float,
        scores: Mapping[PairId, float],
    ) -> GuardInput:
        legs = legs_of(self._model, book)
        pairs = {}
        for column, pair in enumerate(self._model.pairs):
            score = scores.get(pair.pair_id)
            pairs[pair.pair_id] = PairFacts(
                spec=pair,
                legs=legs[pair.pair_id],
                score=None if score is None else Decimal(repr(score)),
                price=Decimal(repr(float(mark[column]))),
                tolerance=ZERO,
                notional_min=_NOTIONAL_MIN,
                long_cost=_COST,
                short_cost=_COST,
            )
        known = replace(self.state, peak_equity=Decimal(repr(float(peak))))
        return GuardInput(
            now_wire_ns=time_ns,
            state=known,
            limits=self._limits,
            ours=figures,
            venue=figures,
            venue_age_ns=0,
            venue_is_new=True,
            account_age_ns=0,
            stale=(),
            pairs=pairs,
            venue_market_ns=time_ns,
            ledger_read_wire_ns=time_ns,
        )

    def _reason(self, rule: Rule, figures: MarginFigures) -> str:
        usage = figures.margin_usage
        shown = "none" if usage is None else f"{usage:.3f}"
        return f"{rule}: health {figures.health_score:.3f}, usage {shown}"
