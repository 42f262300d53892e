"""The policies of a backtest: the portfolio, and the baselines that it is measured against.

`CarryPolicy` is the live engine's own decision, piece by piece: the selector, its weights, `size_book`, the
bands and the pace of `rebalance`. Baselines are the same with pieces taken away.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from portfolio.backtest.account import AccountModel, legs_of, margin_state
from portfolio.backtest.market import Bools, VenueMarket
from portfolio.backtest.ranking import Ranker, Variant
from portfolio.backtest.simulate import Decision, Moment
from portfolio.core.carry import DAY_NS, YEAR_DAYS, Floats
from portfolio.core.decimals import ZERO
from portfolio.core.margin.book_screen import CarryAccount
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.stress import standard_scenarios
from portfolio.core.names import PairId
from portfolio.core.rebalance import DAILY_PACE, rebalance
from portfolio.core.selection import Selection
from portfolio.core.sizing import BookSize, SizingInput, pays_for_leverage, size_book

_ROUNDS = 3
_SAME = 0.01
#: USD of one leg below which a change is not worth an order.
_LEAST_USD = Decimal(50)


def daily_steps(market: VenueMarket) -> Bools:
    """The first step of each UTC day: where a daily policy decides."""
    days = market.times_ns // DAY_NS
    return np.concatenate(([True], np.diff(days) > 0))


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """What distinguishes the portfolio from its ablations and baselines."""

    variant: Variant = field(default_factory=Variant)
    #: Only the best pair is held.
    single: bool = False
    #: Every eligible pair weighs the same.
    equal: bool = False


class CarryPolicy:
    """The live engine's decision, once a day at a settlement."""

    def __init__(
        self, market: VenueMarket, model: AccountModel, ranker: Ranker, options: PolicyOptions
    ) -> None:
        self._market, self._model, self._ranker = market, model, ranker
        self._options = options
        self._limits = options.variant.limits
        self._sim = MarginSim(model.mode)
        self._steps = daily_steps(market)
        self._columns = {pair_id: number for number, pair_id in enumerate(market.pair_ids)}
        self._levered = False
        self._multiple = 1.0
        self._scores: Mapping[PairId, float] = {}
        self._scenarios = standard_scenarios(dict.fromkeys(market.coins))

    @property
    def steps(self) -> Bools:
        """Daily."""
        return self._steps

    def scores(self) -> Mapping[PairId, float]:
        """Of the last decision."""
        return self._scores

    def decide(self, moment: Moment) -> Decision:
        """Select, weigh, size, and trade what the bands leave."""
        selection = self._ranker.select(moment.step, moment.book.coins, self._multiple, self._options.variant)
        self._scores = {row.pair_id: row.quality for row in selection.scores}
        weights = self._weights(selection)
        carry, borrow = self._carry(selection, weights), float(self._market.borrow_apr[moment.step])
        size = self._size(moment, weights, carry, borrow)
        self._levered = size.levered
        equity = Decimal(repr(moment.equity))
        if equity > 0 and size.leg_total_usd > 0:
            self._multiple = float(size.leg_total_usd / equity)
        held = self._held(moment)
        found = rebalance(size.targets_usd, held, self._limits.trade, pace_usd=equity * DAILY_PACE)
        targets = {}
        for pair_id, usd in found.targets_usd.items():
            if abs(usd - held.get(pair_id, ZERO)) < _LEAST_USD and usd > 0:
                continue
            column = self._columns[pair_id]
            targets[column] = float(usd) / float(moment.mark[column])
        paying = bool(weights) and pays_for_leverage(carry, borrow, levered=False)
        return Decision(targets, paying, size.binding)

    def _weights(self, selection: Selection) -> Mapping[PairId, float]:
        if not selection.eligible:
            return {}
        if self._options.single:
            return {self._best(selection): 1.0}
        if self._options.equal:
            return dict.fromkeys(selection.eligible, 1.0 / len(selection.eligible))
        return selection.weights

    def _best(self, selection: Selection) -> PairId:
        """The pair of a single-pair bot: what it holds, until another one is worth the swap."""
        ranked = [row for row in selection.scores if row.pair_id in set(selection.eligible)]
        held = [row for row in ranked if self._holds(row.pair_id)]
        multiple = float(self._limits.trade.swap_score_multiple)
        if held and ranked[0].quality < multiple * held[0].quality:
            return held[0].pair_id
        return ranked[0].pair_id

    def _holds(self, pair_id: PairId) -> bool:
        return self._columns[pair_id] in self._held_columns

    _held_columns: frozenset[int] = frozenset()

    def _carry(self, selection: Selection, weights: Mapping[PairId, float]) -> float:
        """Weighted carry of the book a year before borrowing."""
        total = sum(weights.values())
        if total <= 0:
            return 0.0
        scores = {row.pair_id: row for row in selection.scores}
        return sum(w * self._gross(scores[pair].net_carry_apr) for pair, w in weights.items()) / total

    def _gross(self, net: float) -> float:
        return net

    def _volatility(self, step: int, weights: Mapping[PairId, float]) -> float:
        """Forecast deviation of the book's return a year, a share of its one-leg total."""
        risk = self._ranker.risk(step)
        row = np.zeros(len(self._market.pair_ids))
        for pair_id, weight in weights.items():
            row[self._columns[pair_id]] = weight
        known = np.nan_to_num(risk.volatility) * row
        total = max(sum(weights.values()), 1e-12)
        return float(np.sqrt(known @ risk.correlation @ known * YEAR_DAYS)) / total

    def _size(self, moment: Moment, weights: Mapping[PairId, float], carry: float, borrow: float) -> BookSize:
        model, market = self._model, self._market
        state = margin_state(model, moment.book, moment.spot, moment.mark)
        prices = {
            pair_id: Decimal(repr(float(price)))
            for pair_id, price in zip(market.pair_ids, moment.mark, strict=True)
        }
        return size_book(
            weights,
            SizingInput(
                sim=self._sim,
                state=state,
                pairs=model.specs,
                legs=legs_of(model, moment.book),
                prices=prices,
                total_equity=Decimal(repr(moment.equity)),
                carry_apr=carry,
                borrow_apr=borrow,
                limits=self._limits,
                volatility=self._volatility(moment.step, weights),
                levered=self._levered,
                account=self._arrays(moment),
                scenarios=self._scenarios,
                verified=(),
            ),
        )

    def _arrays(self, moment: Moment) -> CarryAccount:
        model, book = self._model, moment.book
        return CarryAccount(
            rule=model.rule,
            tables=model.arrays,
            pair_ids=self._market.pair_ids,
            coins=self._market.coins,
            narratives=tuple(pair.narrative for pair in model.pairs),
            perpetuals=tuple(pair.short_leg for pair in model.pairs),
            spot=book.coins,
            short=book.coins,
            entry=book.entry,
            spot_price=moment.spot,
            mark=moment.mark,
            cash=book.cash,
        )

    def _held(self, moment: Moment) -> dict[PairId, Decimal]:
        """USD of one leg at today's prices, of what is held."""
        worth: Floats = moment.book.coins * moment.mark
        held = moment.book.held().tolist()
        self._held_columns = frozenset(held)
        return {self._market.pair_ids[column]: Decimal(repr(float(worth[column]))) for column in held}


class StaticPolicy:
    """Enters one coin once, as large as its equity, and never trades again."""

    def __init__(self, market: VenueMarket, coin: str) -> None:
        self._market = market
        columns = [number for number, row in enumerate(market.coins) if row == coin]
        self._column = columns[0] if columns else None
        self._steps = daily_steps(market)
        self._entered = False

    @property
    def steps(self) -> Bools:
        """Daily, until entered."""
        return self._steps

    def scores(self) -> Mapping[PairId, float]:
        """None: it ranks nothing."""
        return {}

    def decide(self, moment: Moment) -> Decision:
        """Enter as soon as the coin has prices."""
        if self._entered or self._column is None or not self._market.alive[moment.step, self._column]:
            return Decision()
        self._entered = True
        return Decision({self._column: moment.equity / float(moment.mark[self._column])})
