"""The selector's answer for a snapshot: what `get_market_scores` shows and `engine_target` starts from."""

import anyio.to_thread

from portfolio.core.candidates import CandidateInput, candidates, perpetuals
from portfolio.core.carry import DAY_NS
from portfolio.core.errors import MissingDataError
from portfolio.core.names import InstrumentId
from portfolio.core.selection import Candidate, Selection, UniverseSelector
from portfolio.service import DeskService, DeskSnapshot, Principal
from tools.book import figures, reference_price

#: Days of settlements that scores and the risk forecast look at: as many as the desk keeps.
HISTORY_DAYS = 270


async def rank(
    desk: DeskService, principal: Principal, snapshot: DeskSnapshot
) -> tuple[tuple[Candidate, ...], Selection]:
    """Candidates of every pair and the selection among them.

    Raises:
        MissingDataError: instruments or risk tables were not read yet, or something held has no price.
    """
    state = snapshot.state
    if state is None:
        raise MissingDataError(
            f"Scores need complete data; missing or too old: {', '.join(snapshot.stale) or 'the account'}.",
            field="data",
            next_step="Call get_portfolio for the ages and try again.",
        )
    pairs = {pair.spec.pair_id: pair.spec for pair in snapshot.pairs}
    since = snapshot.market_ns - HISTORY_DAYS * DAY_NS
    history = {}
    for leg in sorted(perpetuals(pairs, state.instruments)):
        rows = await desk.settlements(principal, leg, since)
        history[leg] = tuple(row for row in rows if row.market_ns <= snapshot.market_ns)
    used: set[InstrumentId] = {leg for pair in pairs.values() for leg in (pair.long_leg, pair.short_leg)}
    prices = {leg: reference_price(snapshot, leg) for leg in used}
    given = CandidateInput(
        pairs=pairs,
        legs=snapshot.legs,
        instruments=state.instruments,
        settlements=history,
        quotes=snapshot.quotes,
        funding=snapshot.funding,
        tables=state.tables,
        reference_prices={leg: price for leg, price in prices.items() if price is not None},
        depth_share_max=snapshot.limits.book.depth_share_max,
        slice_usd=snapshot.limits.trade.slice_notional_max,
        leverage=state.policy,
    )
    totals = figures(snapshot)
    if totals is None:
        raise MissingDataError("The account has not been read yet.", field="account", next_step="Wait.")
    # A book of one equity a leg: sizing asks again for the size it finds.
    equity = float(totals.total_equity)
    selector = UniverseSelector(snapshot.limits.book, snapshot.limits.trade)

    def work() -> tuple[tuple[Candidate, ...], Selection]:
        found = candidates(given)
        return found, selector.select(
            found, snapshot.market_ns, equity_usd=max(equity, 0.0), book_usd=max(equity, 1.0)
        )

    return await anyio.to_thread.run_sync(work)
