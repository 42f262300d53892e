"""The live selector over history: candidates, risk forecasts and selections of one venue, each made once.

What a selection depends on is the moment, which pairs are held, the size of the book against its equity, and
the policy's constants. Runs that agree in these share it.
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
from portfolio.core.limits import RiskLimits
from portfolio.core.scoring import PairFacts
from portfolio.core.selection import Candidate, Selection, Universe, UniverseSelector

_MINUTES_A_DAY = 24 * 60
_BPS = 10_000.0
#: Sizes of the book are told apart in these steps of equity when selections are shared.
_SIZE_STEP = 0.25


@dataclass(frozen=True, slots=True)
class Variant:
    """Constants of a policy; runs with equal ones share selections."""

    allocation: AllocationPolicy = field(default_factory=AllocationPolicy)
    limits: RiskLimits = field(default_factory=RiskLimits)
    #: What volatility and correlation are forecast by.
    risk: Method = "dcc-garch"


class Ranker:
    """One venue's selections. `unit_usd` is the equity that costs and depth are judged at."""

    def __init__(
        self,
        market: VenueMarket,
        model: AccountModel,
        unit_usd: float,
        walks: MutableMapping[Method, RiskWalk] | None = None,
    ) -> None:
        self._market = market
        self._unit_usd = unit_usd
        self._uses = _narrative_uses(model)
        self._narratives = [pair.narrative for pair in model.pairs]
        self._intervals = [_intervals(row.spans_days) for row in market.series]
        #: By method, each begun when it is first asked. Risk does not depend on what borrowing costs: markets
        #: that differ in it alone share their walks.
        self.walks: MutableMapping[Method, RiskWalk] = {} if walks is None else walks
        self._universes: dict[tuple[int, Method], Universe] = {}
        self._selections: dict[tuple[int, bytes, float, Variant], Selection] = {}
        self._selectors: dict[Variant, UniverseSelector] = {}

    def select(self, step: int, held: Floats, book_multiple: float, variant: Variant) -> Selection:
        """The live selector's answer at a step.

        Args:
            step: The moment.
            held: (n,), above 0 where the pair is held.
            book_multiple: One-leg total over equity at which caps are taken.
            variant: Constants.
        """
        book_usd = self.book_usd(book_multiple)
        key = (step, (held > 0).tobytes(), book_usd, variant)
        found = self._selections.get(key)
        if found is None:
            selector = self._selector(variant)
            universe = self._universes.get((step, variant.risk))
            if universe is None:
                candidates = [self._candidate(step, column) for column in range(len(self._market.pair_ids))]
                now = int(self._market.times_ns[step])
                risk = self.risk(step, variant.risk)
                universe = self._universes[step, variant.risk] = selector.score(candidates, now, risk=risk)
            found = self._selections[key] = selector.choose(
                universe,
                held=[self._market.pair_ids[column] for column in np.flatnonzero(held).tolist()],
                equity_usd=self._unit_usd,
                book_usd=book_usd,
            )
        return found

    def book_usd(self, book_multiple: float) -> float:
        """Size of the book that `select` takes caps at, USD of one leg."""
        return self._unit_usd * max(_SIZE_STEP, round(book_multiple / _SIZE_STEP) * _SIZE_STEP)

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
            liquidity_usd=book_of(coin).depth_usd * float(RiskLimits().book.depth_share_max),
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
