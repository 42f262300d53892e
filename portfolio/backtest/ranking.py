"""The live selector over history: candidates, risk forecasts and selections of one venue, each made once.

What is chosen and how it is weighed depends on the moment, on which pairs are held, and on the policy's
constants: runs that agree in these share it. Caps follow the account's equity and the size of its book.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass, field

import numpy as np

from portfolio.backtest.account import AccountModel
from portfolio.backtest.costs import book_of, round_trip_bps
from portfolio.backtest.market import VenueMarket
from portfolio.backtest.risk_walk import RiskWalk
from portfolio.core.allocation import AllocationPolicy
from portfolio.core.candidates import BORROWED_SHARE, CandidateInput, margin_share
from portfolio.core.carry import Floats
from portfolio.core.decimals import ZERO
from portfolio.core.forecast import Method, RiskForecast
from portfolio.core.limits import BookLimits, RiskLimits
from portfolio.core.scoring import PairFacts
from portfolio.core.selection import Candidate, Selection, Universe, UniverseSelector

_MINUTES_A_DAY = 24 * 60
_BPS = 10_000.0
_BOOK = BookLimits()


@dataclass(frozen=True, slots=True)
class Variant:
    """Constants of a policy; runs with equal ones share selections."""

    allocation: AllocationPolicy = field(default_factory=AllocationPolicy)
    limits: RiskLimits = field(default_factory=RiskLimits)
    #: What volatility and correlation are forecast by.
    risk: Method = "dcc-garch"


class Ranker:
    """One venue's selections.

    Args:
        market: The venue's history.
        model: Its account.
        unit_usd: Equity that costs are judged at.
        walks: Forecasts to share with other rankers of the same market.
        book: Limits of the book: one leg is at most a share of the depth of its market.
    """

    def __init__(
        self,
        market: VenueMarket,
        model: AccountModel,
        unit_usd: float,
        walks: MutableMapping[Method, RiskWalk] | None = None,
        book: BookLimits = _BOOK,
    ) -> None:
        self._market = market
        self._unit_usd = unit_usd
        self._depth_share_max = float(book.depth_share_max)
        self._uses = _narrative_uses(model)
        self._narratives = [pair.narrative for pair in model.pairs]
        self._intervals = [_intervals(row.spans_days) for row in market.series]
        #: By method, each begun when it is first asked. Risk does not depend on what borrowing costs: markets
        #: that differ in it alone share their walks.
        self.walks: MutableMapping[Method, RiskWalk] = {} if walks is None else walks
        self._universes: dict[tuple[int, Method], Universe] = {}
        self._selections: dict[tuple[int, bytes, Variant], Selection] = {}
        self._selectors: dict[Variant, UniverseSelector] = {}

    def select(
        self, step: int, held: Floats, equity_usd: float, book_usd: float, variant: Variant
    ) -> Selection:
        """The live selector's answer at a step.

        Args:
            step: The moment.
            held: (n,), above 0 where the pair is held.
            equity_usd: Of the account, above 0: what narratives are capped by.
            book_usd: One-leg total at which caps are taken, USD, above 0.
            variant: Constants.
        """
        chosen = self._chosen(step, held, variant)
        share = float(variant.limits.book.narrative_equity_share_max)
        return chosen.resized(share * equity_usd, book_usd)

    def _chosen(self, step: int, held: Floats, variant: Variant) -> Selection:
        """The choice, which does not depend on the size of the account."""
        key = (step, (held > 0).tobytes(), variant)
        found = self._selections.get(key)
        if found is None:
            selector = self._selector(variant)
            universe = self._universes.get((step, variant.risk))
            if universe is None:
                candidates = [self._candidate(step, column) for column in range(len(self._market.pair_ids))]
                now = int(self._market.times_ns[step])
                risk = self.risk(step, variant.risk)
                universe = self._universes[step, variant.risk] = selector.score(candidates, now, risk=risk)
            columns = np.flatnonzero(held).tolist()
            found = self._selections[key] = selector.choose(
                universe, held=[self._market.pair_ids[column] for column in columns]
            )
        return found

    def _selector(self, variant: Variant) -> UniverseSelector:
        found = self._selectors.get(variant)
        if found is None:
            limits = variant.limits
            found = self._selectors[variant] = UniverseSelector(limits.book, limits.trade, variant.allocation)
        return found

    def risk(self, step: int, method: Method = "dcc-garch") -> RiskForecast:
        """Forecast of the next day's returns of all pairs."""
        walk = self.walks.get(method)
        if walk is None:
            walk = self.walks[method] = RiskWalk(self._market, method)
        return walk.at(int(self._market.times_ns[step]))

    def _candidate(self, step: int, column: int) -> Candidate:
        market = self._market
        now, coin = int(market.times_ns[step]), market.coins[column]
        basis = float(market.mark[step, column] / market.spot[step, column]) - 1.0
        past = int(np.searchsorted(market.series[column].times_ns, now, side="right"))
        return Candidate(
            pair_id=market.pair_ids[column],
            narrative=self._narratives[column],
            series=market.series[column],
            interval_minutes=self._intervals[column][past - 1] if past else None,
            facts=PairFacts(
                predicted_apr=None,
                borrow_apr=float(market.borrow_apr[step]) * BORROWED_SHARE,
                staking_apr=0.0,
                basis_bps=basis * _BPS,
                leverage_apr=float(market.borrow_apr[step]) * BORROWED_SHARE,
            ),
            round_trip_cost_bps=round_trip_bps(market.venue, coin, self._unit_usd / 4, now),
            held_usd=ZERO,
            liquidity_usd=book_of(coin).depth_usd * self._depth_share_max,
            narrative_use=self._uses[column],
        )


def _narrative_uses(model: AccountModel) -> list[float | None]:
    given = CandidateInput(
        pairs=model.specs,
        legs={},
        instruments=model.instruments,
        settlements={},
        quotes={},
        funding={},
        tables=model.tables,
        reference_prices={},
    )
    return [margin_share(pair, given) for pair in model.pairs]


def _intervals(spans_days: Floats) -> list[int | None]:
    """Minutes of the last known interval at each settlement; None before there is one."""
    found: list[int | None] = []
    last: int | None = None
    for span in spans_days.tolist():
        if span > 0:
            last = round(span * _MINUTES_A_DAY)
        found.append(last)
    return found
