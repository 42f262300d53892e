"""The policies of a backtest: the portfolio, and the baselines that it is measured against.

`CarryPolicy` is the live engine's own decision, piece by piece: the selector, its weights, `size_book`, the
bands and the pace of `rebalance`. Baselines are the same with pieces taken away.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np

from portfolio.backtest.account import AccountModel, Book, at_prices, legs_of, margin_state
from portfolio.backtest.market import Bools, VenueMarket
from portfolio.backtest.peers import Weigher, weighed
from portfolio.backtest.ranking import Ranker, Variant
from portfolio.backtest.simulate import Decision, Moment
from portfolio.core.book_shares import FixedShares
from portfolio.core.book_target import book_carry, book_volatility, size_selection
from portfolio.core.carry import DAY_NS, Floats
from portfolio.core.decimals import ZERO
from portfolio.core.margin.book_screen import CarryAccount
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.stress import standard_scenarios
from portfolio.core.names import PairId
from portfolio.core.rebalance import Pacing, rebalance
from portfolio.core.selection import Selection
from portfolio.core.sizing import (
    VOLATILITY_BUDGET,
    BookSize,
    SizingInput,
    ceiling_of,
    pays_for_leverage,
    size_book,
)

#: A size that margin bound is searched anew after so long; until then one that still fits stands.
_SIZED_AGAIN_NS = 7 * DAY_NS
#: What bounds a size beside margin: `ceiling_of` knows these.
_NOT_MARGIN = frozenset({"borrow_cost", "volatility", "no_pairs", "equity"})
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
    pacing: Pacing = field(default_factory=Pacing)
    volatility_budget: float = VOLATILITY_BUDGET
    #: Only the best eligible pair is held; a book with one place makes a swap pass its gate.
    single: bool = False
    #: Every eligible pair weighs the same.
    equal: bool = False
    #: A peer that weighs in our place.
    weigher: Weigher | None = None


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
        #: Planned one-leg total over equity of the last sizing, when it was, and whether margin bound it.
        self._sized_multiple = Decimal(1)
        self._sized_ns = -_SIZED_AGAIN_NS
        self._margin_binds = False
        flat = Book(np.zeros(len(market.pair_ids)), np.zeros(len(market.pair_ids)), 0.0)
        self._nothing = margin_state(model, flat, market.spot[0], market.mark[0])
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
        """Select, weigh, size, and trade what the bands leave. An account without equity decides nothing."""
        if moment.equity <= 0:
            return Decision()
        selection = self._selected(moment)
        self._scores = {row.pair_id: row.quality for row in selection.scores}
        held = self._held(moment)
        weights = self._weights(selection)
        carry, borrow = book_carry(selection, weights), float(self._market.borrow_apr[moment.step])
        paying = bool(weights) and pays_for_leverage(carry, borrow, levered=False)
        stale = moment.time_ns - self._sized_ns > _SIZED_AGAIN_NS
        fresh = (stale and self._margin_binds) or self._over_lines(moment)
        total = self._expected(moment, selection, weights, carry, borrow)
        if not fresh and not self._traded(moment, self._book(moment, selection, weights, total), held):
            return Decision(paying=paying)
        size = self._size(moment, selection, weights, carry, borrow, None if fresh else total)
        self._remember(moment, size)
        return Decision(self._traded(moment, size.targets_usd, held), paying, size.binding)

    def _selected(self, moment: Moment) -> Selection:
        variant, weigher = self._options.variant, self._options.weigher
        book_usd = float(self._sized_multiple) * moment.equity
        found = self._ranker.select(moment.step, moment.book.coins, moment.equity, book_usd, variant)
        return found if weigher is None else weighed(found, weigher, book_usd)

    def _weights(self, selection: Selection) -> Mapping[PairId, float]:
        if not selection.eligible:
            return {}
        if self._options.single:
            return {selection.eligible[0]: 1.0}
        if self._options.equal:
            return dict.fromkeys(selection.eligible, 1.0 / len(selection.eligible))
        return selection.weights

    def _expected(
        self,
        moment: Moment,
        selection: Selection,
        weights: Mapping[PairId, float],
        carry: float,
        borrow: float,
    ) -> Decimal:
        """The one-leg total that the last sizing leads to expect, USD.

        Carry and volatility are today's; margin is as it bound the last size. It tells whether anything would
        be traded at all, and is where sizing begins.
        """
        equity = Decimal(repr(moment.equity))
        given = self._input(moment, equity, carry, borrow, book_volatility(selection, weights))
        levered = pays_for_leverage(carry, borrow, levered=self._levered)
        ceiling, _ = ceiling_of(given, levered=levered)
        if self._margin_binds:
            ceiling = min(ceiling, self._sized_multiple * equity)
        return max(ZERO, ceiling)

    def _book(
        self, moment: Moment, selection: Selection, weights: Mapping[PairId, float], total: Decimal
    ) -> Mapping[PairId, Decimal]:
        """Targets at this total: weights, and nothing of what is held without one."""
        found = {pair: Decimal(repr(weight)) * total for pair, weight in weights.items()}
        leaving = self._held_ids(moment) - found.keys() - selection.untouched
        return found | dict.fromkeys(leaving, ZERO)

    def _over_lines(self, moment: Moment) -> bool:
        """Prices have brought the book over its own lines, so that its size must be looked at."""
        if not len(moment.book.held()):
            return False
        totals = at_prices(self._model, moment.book, moment.spot[None, :], moment.mark[None, :]).totals
        book = self._limits.book
        return not (
            float(totals.usage[0]) <= float(book.usage_max)
            and float(totals.health[0]) >= float(book.health_min)
        )

    def _remember(self, moment: Moment, size: BookSize) -> None:
        self._levered = size.levered
        if size.binding != "expected":
            self._sized_ns = moment.time_ns
            self._margin_binds = size.binding not in _NOT_MARGIN
        if size.planned_usd > 0:
            self._sized_multiple = size.planned_usd / Decimal(repr(moment.equity))

    def _traded(
        self, moment: Moment, targets: Mapping[PairId, Decimal], held: Mapping[PairId, Decimal]
    ) -> dict[int, float]:
        """Coins by column of what bands and pace leave of the difference."""
        pacing = self._options.pacing
        pace = Decimal(repr(moment.equity)) * pacing.daily_share
        found = rebalance(targets, held, self._limits.trade, pacing, pace_usd=pace)
        return {
            self._columns[pair_id]: float(usd) / float(moment.mark[self._columns[pair_id]])
            for pair_id, usd in found.targets_usd.items()
            if usd == 0 or abs(usd - held.get(pair_id, ZERO)) >= _LEAST_USD
        }

    def _size(
        self,
        moment: Moment,
        selection: Selection,
        weights: Mapping[PairId, float],
        carry: float,
        borrow: float,
        expected: Decimal | None,
    ) -> BookSize:
        model, market = self._model, self._market
        prices = {
            pair_id: Decimal(repr(float(price)))
            for pair_id, price in zip(market.pair_ids, moment.mark, strict=True)
        }
        given = replace(
            self._input(
                moment, Decimal(repr(moment.equity)), carry, borrow, book_volatility(selection, weights)
            ),
            state=margin_state(model, moment.book, moment.spot, moment.mark),
            legs=legs_of(model, moment.book),
            prices=prices,
            account=self._arrays(moment),
            expected=expected,
        )
        if self._options.single or self._options.equal:
            return size_book(FixedShares(weights), given)
        return size_selection(selection, given)

    def _input(
        self, moment: Moment, equity: Decimal, carry: float, borrow: float, volatility: float
    ) -> SizingInput:
        return SizingInput(
            sim=self._sim,
            state=self._nothing,
            pairs=self._model.specs,
            legs={},
            prices={},
            total_equity=equity,
            carry_apr=carry,
            borrow_apr=borrow,
            limits=self._limits,
            volatility=volatility,
            volatility_budget=self._options.volatility_budget,
            levered=self._levered,
            scenarios=self._scenarios,
            verified=(),
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
        return {
            self._market.pair_ids[column]: Decimal(repr(float(worth[column])))
            for column in moment.book.held().tolist()
        }

    def _held_ids(self, moment: Moment) -> set[PairId]:
        return {self._market.pair_ids[column] for column in moment.book.held().tolist()}


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
