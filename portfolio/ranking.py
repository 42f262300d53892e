"""Ranking: the settled funding of every pair and the scores the guard ranks by, kept fresh.

The desk ranks for its guard only; proposals and the agent's scores are computed elsewhere from the same
pure code. Settlements are cached and read again when a new one is due.
"""

from collections.abc import Mapping
from decimal import Decimal

import anyio

from portfolio.core.candidates import CandidateInput, candidates, perpetuals
from portfolio.core.carry import DAY_NS
from portfolio.core.errors import CarrydeskError, MissingDataError
from portfolio.core.limits import RiskLimits
from portfolio.core.market import Settlement
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.selection import WINDOW_DAYS, Selection, UniverseSelector
from portfolio.ports import Clocks, Exchange, Runner
from portfolio.view import AccountView

#: Days of settlements that are read: risk forecasts need 250 daily returns before they fit anything.
HISTORY_DAYS = 270
#: A cached history is read again after this long on the market clock even if no settlement was expected.
_REFRESH_MARKET_NS = 8 * 3_600_000_000_000
#: A settlement that is expected but not there yet is asked for again after this long, market clock.
_READ_AGAIN_MARKET_NS = 60_000_000_000
_RETRY_SECONDS = 1.0
_SCORE_DIGITS = Decimal("0.000001")


class Ranking:
    """Scores by pair, refreshed by `run`. Pairs that cannot be scored are absent from `scores`."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        view: AccountView,
        clocks: Clocks,
        limits: RiskLimits,
        offload: Runner,
        interval_seconds: float = 60.0,
    ) -> None:
        self._exchange = exchange
        self._view = view
        self._clocks = clocks
        # The guard ranks by quality, in which volatility counts a little and correlation not at all: no fit.
        self._selector = UniverseSelector(limits.book, limits.trade, risk_method="ewma")
        self._limits = limits
        self._offload = offload
        self._interval_seconds = interval_seconds
        self._cache: dict[InstrumentId, tuple[int, tuple[Settlement, ...]]] = {}
        self._reading = anyio.Lock()
        self._scores: dict[PairId, Decimal] = {}
        self._gates: Mapping[PairId, str] = {}
        #: Why the last refresh failed; None when it did not.
        self.failed: str | None = None

    def scores(self) -> Mapping[PairId, Decimal]:
        """QualityScore by pair, as of the last refresh."""
        return self._scores

    def gates(self) -> Mapping[PairId, str]:
        """The decision of the selector's gates by pair, one line each, as of the last refresh."""
        return self._gates

    async def settlements(self, instrument_id: InstrumentId, since_market_ns: int) -> tuple[Settlement, ...]:
        """Settled funding of one perpetual since a moment, at most HISTORY_DAYS back, cached.

        Raises:
            VenueError: the venue could not be read.
            UnknownNameError: not an instrument of this desk.
        """
        self._view.instrument(instrument_id)
        now = self._clocks.market_ns()
        async with self._reading:
            read_at, rows = self._cache.get(instrument_id, (None, ()))
            if read_at is None or self._due(instrument_id, read_at, rows, now):
                since = now - HISTORY_DAYS * DAY_NS
                # What was settled stays settled: only what came after it is read again.
                known = tuple(row for row in rows if row.market_ns >= since)
                after = known[-1].market_ns + 1 if known else since
                rows = known + await self._exchange.settlements(instrument_id, after)
                self._cache[instrument_id] = (now, rows)
        return tuple(row for row in rows if since_market_ns <= row.market_ns <= now)

    def _due(self, instrument_id: InstrumentId, read_at: int, rows: tuple[Settlement, ...], now: int) -> bool:
        """A settlement passed that is not among the rows, or the cache is simply old.

        The venue may need a moment to tell the price of a settlement, so it is asked again, not too often.
        """
        if now - read_at > _REFRESH_MARKET_NS:
            return True
        if now - read_at < _READ_AGAIN_MARKET_NS:
            return False
        try:
            interval_ns = self._view.funding(instrument_id).interval_minutes * 60_000_000_000
        except MissingDataError:
            return False
        last = rows[-1].market_ns if rows else read_at
        return now // interval_ns != last // interval_ns

    async def refresh(self) -> Selection:
        """Score every pair now.

        Raises:
            MissingDataError, VenueError: the inputs are not there; the old scores stay.
        """
        view, now = self._view, self._clocks.market_ns()
        if view.tables is None:
            raise MissingDataError("No risk tables were fetched yet.", field="tables")
        since = now - (WINDOW_DAYS + 1) * DAY_NS
        history = {}
        for leg in sorted(perpetuals(view.pairs, view.instruments)):
            history[leg] = await self.settlements(leg, since)
        given = CandidateInput(
            pairs=view.pairs,
            legs={pair_id: view.legs(pair_id) for pair_id in view.pairs},
            instruments=view.instruments,
            settlements=history,
            quotes={
                leg: view.quote(leg)
                for pair in view.pairs.values()
                for leg in (pair.long_leg, pair.short_leg)
            },
            funding={leg: view.funding(leg) for leg in history},
            tables=view.tables,
            reference_prices={leg: view.reference_price(leg) for leg in history},
            depth_share_max=self._limits.book.depth_share_max,
            slice_usd=self._limits.trade.slice_notional_max,
            leverage=view.policy,
        )
        selection = await self._offload.run(lambda: self._selector.select(candidates(given), now))
        self._scores = {
            row.pair_id: Decimal(repr(row.quality)).quantize(_SCORE_DIGITS) for row in selection.scores
        }
        self._gates = selection.gates
        return selection

    async def run(self) -> None:
        """Refresh for ever. A failure keeps the old scores, shows in `failed` and is tried again."""
        while True:
            try:
                await self.refresh()
                self.failed = None
            except CarrydeskError as error:
                self.failed = str(error)
            # Right after a start the inputs arrive within seconds; the guard ranks by these scores.
            pause = self._interval_seconds if self.failed is None else _RETRY_SECONDS
            await anyio.sleep(min(pause, self._interval_seconds))
