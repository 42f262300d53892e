"""Gathers what the guard's rules read: the live view, what the journal said last, and what is on its way.

The journal is read by a task of its own and may be a moment older than the view. Whatever changed in the
view since that read is taken as explained until the next one, which every change of a holding asks for: no
rule may mistake the desk's own trade for somebody else's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO
from portfolio.core.entries import UNKNOWN_CASH, CashBooked, Resumed
from portfolio.core.errors import MissingDataError
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import GuardInput, Holding, PairFacts, PriceCheck, Transfer, Uncounted
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.intents import IntentStatus
from portfolio.core.limits import RiskLimits
from portfolio.core.names import Coin, InstrumentId, PairId
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.slicing import smallest_order
from portfolio.ports import Clocks, Freeze, Journal, OrderRow
from portfolio.view import AccountView

#: Interest and rounding may move a holding by this share of what its fills add up to.
_DRIFT = Decimal("0.01")
#: A holding of a coin that no pair trades is noise below this value, USD.
_DUST_USD = Decimal(5)
_READ_MAX = 1000


@dataclass(frozen=True, slots=True)
class JournalFacts:
    """What the journal said at one moment."""

    seq: int
    halted: bool
    freezes: tuple[Freeze, ...]
    holdings: Mapping[tuple[PairId, InstrumentId], Decimal]
    unsettled: tuple[OrderRow, ...]
    #: One-leg targets of the intents at work.
    wanted: Mapping[PairId, Decimal]
    #: The operator resumed, or transfers were booked, since the read before. Cash of a type that nobody here
    #: knows is among them: it may be one.
    resumed: bool
    transfers: tuple[CashBooked, ...]
    #: When the reading began, wire clock.
    read_wire_ns: int
    #: When the last reading of the venue's ledger began that is in it whole, wire clock; None before one.
    ledger_read_wire_ns: int | None = None
    #: Signed coins per leg as the view showed them before the journal was read.
    seen: Mapping[InstrumentId, Decimal] = field(default_factory=dict)


def read_journal(
    journal: Journal, after_seq: int | None, cash_after_seq: int, now_wire_ns: int
) -> JournalFacts:
    """Everything the guard asks the journal, in one go.

    Args:
        journal: To be asked.
        after_seq: Newest entry of the read before; None for the first, which looks at the present only.
        cash_after_seq: Where counting transfers stopped, for the first read.
        now_wire_ns: When the reading begins, wire clock.
    """
    head = journal.head()[0]
    booked: list[CashBooked] = []
    resumed = False
    if after_seq is None:
        rows = [one.entry for one in journal.cash(cash_after_seq)]
        booked = [entry for entry in rows if isinstance(entry, CashBooked)]
    else:
        while after_seq < head:
            entries = journal.read(after_seq, _READ_MAX)
            if not entries:
                break
            after_seq = entries[-1].seq
            resumed = resumed or any(isinstance(one.entry, Resumed) for one in entries)
            booked += [one.entry for one in entries if isinstance(one.entry, CashBooked)]
    wanted = {
        target.pair_id: target.to_quantity
        for row in journal.intents(open_only=True)
        if row.status is IntentStatus.EXECUTING
        for target in row.intent.targets
    }
    return JournalFacts(
        seq=max(head, after_seq or 0),
        halted=journal.halted(),
        freezes=journal.freezes(),
        holdings=journal.holdings(),
        unsettled=journal.orders(unsettled_only=True),
        wanted=wanted,
        resumed=resumed,
        transfers=tuple(entry for entry in booked if entry.kind in ("transfer", UNKNOWN_CASH)),
        read_wire_ns=now_wire_ns,
    )


class FactsGatherer:
    """Builds the rules' input for one account."""

    def __init__(
        self,
        *,
        view: AccountView,
        clocks: Clocks,
        limits: RiskLimits,
        scores: Callable[[], Mapping[PairId, Decimal]],
    ) -> None:
        self._view = view
        self._clocks = clocks
        self._limits = limits
        self._scores = scores
        self._quotes = {row.quote for row in view.instruments.values()}
        self._last_figures: MarginFigures | None = None

    def holdings_now(self) -> dict[InstrumentId, Decimal]:
        """Signed coins of every leg of every pair; empty before the first account read."""
        if self._view.snapshot is None:
            return {}
        legs = {leg for pair in self._view.pairs.values() for leg in (pair.long_leg, pair.short_leg)}
        return {leg: self._view.signed_holding(leg) for leg in sorted(legs)}

    def gather(
        self,
        *,
        state: GuardState,
        ours: MarginFigures | None,
        facts: JournalFacts | None,
        unknown: frozenset[PairId],
        busy: frozenset[PairId],
        ladder_out: bool,
        recovered: bool,
        transfers: tuple[Transfer, ...],
        uncounted: tuple[Uncounted, ...] = (),
    ) -> GuardInput:
        """The input of this tick."""
        now = self._clocks.wire_ns()
        ages = self._view.ages()
        snapshot = self._view.snapshot
        # Every report of the venue's totals is an object of its own, equal to the last one or not.
        figures = None if snapshot is None else snapshot.figures
        is_new = figures is not self._last_figures
        self._last_figures = figures
        # Before recovery ended the journal lacks fills of the time before: it explains nothing yet.
        explained = facts if recovered else None
        return GuardInput(
            now_wire_ns=now,
            state=state,
            limits=self._limits,
            ours=ours,
            venue=figures,
            venue_age_ns=ages.figures_ns,
            venue_is_new=is_new,
            venue_market_ns=0 if snapshot is None else snapshot.event_market_ns,
            account_age_ns=ages.account_ns,
            stale=self._view.stale(self._limits.freshness),
            pairs={} if snapshot is None else self._pairs(explained, facts, unknown),
            journal_read_wire_ns=None if explained is None else explained.read_wire_ns,
            holdings=() if explained is None else tuple(self._holdings(explained)),
            price_checks=() if snapshot is None else tuple(self._price_checks(now)),
            transfers=transfers,
            ledger_read_wire_ns=None if facts is None else facts.ledger_read_wire_ns,
            uncounted=uncounted,
            halted=facts is not None and facts.halted,
            busy=busy,
            ladder_out=ladder_out,
        )

    # --- pairs --------------------------------------------------------------------------------------------

    def _pairs(
        self, explained: JournalFacts | None, facts: JournalFacts | None, unknown: frozenset[PairId]
    ) -> dict[PairId, PairFacts]:
        scores = self._scores()
        wanted: Mapping[PairId, Decimal] = {} if facts is None else facts.wanted
        unsettled = () if facts is None else facts.unsettled
        moving = {row.request.instrument_id for row in unsettled}
        found = {}
        for pair_id, pair in self._view.pairs.items():
            price = self.price_of(pair)
            long, short = self._view.instrument(pair.long_leg), self._view.instrument(pair.short_leg)
            found[pair_id] = PairFacts(
                spec=pair,
                legs=self._view.legs(pair_id),
                score=scores.get(pair_id),
                price=price,
                tolerance=tolerance_of(long, short, price),
                notional_min=max(long.notional_min, short.notional_min),
                long_cost=self._cost(long),
                short_cost=self._cost(short),
                wanted=wanted.get(pair_id),
                expected=None if explained is None else self._expected(pair, explained),
                unsettled=not moving.isdisjoint((pair.long_leg, pair.short_leg)),
                unknown=pair_id in unknown,
            )
        return found

    def price_of(self, pair: PairSpec) -> Decimal | None:
        """Reference price of a pair's coin in quote; None when neither leg has one."""
        for leg in (pair.lead_leg, pair.hedge_leg):
            try:
                price = self._view.reference_price(leg)
            except MissingDataError:
                continue
            if price > 0:
                return price
        return None

    def _expected(self, pair: PairSpec, facts: JournalFacts) -> PairLegs:
        """What our fills on its legs add up to, moved by whatever changed since they were read.

        The venue nets all pairs of one coin on one instrument, so the fills of all of them count: those of
        one alone would show the other's trade as a reduction by the venue.
        """
        return PairLegs(
            pair.pair_id,
            _sum(facts.holdings, [pair.long_leg]) + self._since(facts, pair.long_leg),
            -_sum(facts.holdings, [pair.short_leg]) - self._since(facts, pair.short_leg),
        )

    def _since(self, facts: JournalFacts, leg: InstrumentId) -> Decimal:
        now = self._view.signed_holding(leg)
        return now - facts.seen.get(leg, now)

    def _cost(self, instrument: Instrument) -> Decimal | None:
        """Taker fee and half the spread as a share of value; None without a fresh book or a known fee."""
        tables = self._view.tables
        rates = None if tables is None else tables.fees.get(instrument.instrument_id)
        middle = self._middle(instrument.instrument_id)
        if rates is None or middle is None:
            return None
        bid, ask = middle
        return rates.taker + (ask - bid) / (ask + bid)

    def _middle(self, instrument_id: InstrumentId) -> tuple[Decimal, Decimal] | None:
        """Best bid and ask of a fresh two-sided book."""
        seen = self._view.market.seen_of_quotes([instrument_id])[0]
        if seen is None or self._clocks.wire_ns() - seen > self._limits.freshness.price_ns:
            return None
        quote = self._view.quote(instrument_id)
        if not quote.bids or not quote.asks:
            return None
        return quote.bids[0].price, quote.asks[0].price

    # --- the whole account --------------------------------------------------------------------------------

    def _holdings(self, facts: JournalFacts) -> Iterable[Holding]:
        """Every position and every coin that is not cash, against what explains it."""
        moving = {row.request.instrument_id for row in facts.unsettled}
        snapshot = self._view.account_snapshot()
        for position in snapshot.positions:
            explained = _sum(facts.holdings, [position.instrument_id])
            explained += self._since_if_leg(facts, position.instrument_id)
            yield Holding(
                position.instrument_id,
                position.quantity,
                explained,
                self._slack([position.instrument_id], explained),
                self._least([position.instrument_id]),
                position.instrument_id in moving,
            )
        for balance in snapshot.balances:
            if balance.coin in self._quotes:
                continue
            spots = self._spots(balance.coin)
            actual = balance.wallet - balance.spot_borrow - self._view.treasury.get(balance.coin, ZERO)
            explained = _sum(facts.holdings, spots)
            if spots:
                # All spot instruments of a coin show the same balance: it moved once.
                explained += self._since_if_leg(facts, spots[0])
            least = self._least(spots) if spots else self._dust(balance.coin)
            slack = self._slack(spots, explained) if spots else least
            unsettled = any(spot in moving for spot in spots)
            yield Holding(balance.coin, actual, explained, slack, least, unsettled)

    def _spots(self, coin: Coin) -> list[InstrumentId]:
        return [
            key
            for key, row in self._view.instruments.items()
            if row.kind is InstrumentKind.SPOT and row.base == coin
        ]

    def _since_if_leg(self, facts: JournalFacts, instrument_id: InstrumentId) -> Decimal:
        return self._since(facts, instrument_id) if instrument_id in facts.seen else ZERO

    def _slack(self, instruments: Sequence[InstrumentId], explained: Decimal) -> Decimal:
        return max(self._least(instruments), abs(explained) * _DRIFT)

    def _least(self, instruments: Sequence[InstrumentId]) -> Decimal:
        return max(self._smallest_order(self._view.instruments.get(key)) for key in instruments)

    def _smallest_order(self, instrument: Instrument | None) -> Decimal:
        """Coins below which the venue takes no order; 0 for an instrument this desk does not know."""
        if instrument is None:
            return ZERO
        least = max(instrument.lot_size, instrument.quantity_min)
        try:
            price = self._view.reference_price(instrument.instrument_id)
        except MissingDataError:
            return least
        return max(least, instrument.notional_min / price) if price > 0 else least

    def _dust(self, coin: Coin) -> Decimal:
        try:
            usd = self._view.coin_price(coin).usd
        except MissingDataError:
            return ZERO
        return _DUST_USD / usd if usd > 0 else ZERO

    def _price_checks(self, now_wire_ns: int) -> Iterable[PriceCheck]:
        """Mark of the lead against the middle of the hedge's book, for every pair that is held."""
        for pair_id, pair in self._view.pairs.items():
            legs = self._view.legs(pair_id)
            if not legs.long_quantity and not legs.short_quantity:
                continue
            market = self._view.market
            times = (*market.seen_of_marks([pair.lead_leg]), *market.seen_of_quotes([pair.hedge_leg]))
            seen = [moment for moment in times if moment is not None]
            age = now_wire_ns - min(seen) if len(seen) == len(times) else None
            try:
                first = self._view.mark(pair.lead_leg).mark_price
            except MissingDataError:
                first = None
            middle = self._middle(pair.hedge_leg)
            second = None if middle is None else (middle[0] + middle[1]) / 2
            yield PriceCheck(pair_id, first, second, age)


def tolerance_of(long: Instrument, short: Instrument, price: Decimal | None) -> Decimal:
    """Net delta that counts as hedged: whatever is larger can be traded away on either leg.

    Without a price only lots and minimum quantities are known.
    """
    if price is None:
        return max(long.lot_size, short.lot_size, long.quantity_min, short.quantity_min)
    return smallest_order(long, short, price)


def _sum(holdings: Mapping[tuple[PairId, InstrumentId], Decimal], legs: Sequence[InstrumentId]) -> Decimal:
    return sum((coins for (_, leg), coins in holdings.items() if leg in legs), start=ZERO)
