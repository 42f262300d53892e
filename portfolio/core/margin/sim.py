"""The what-if over one account: simulate a change of targets, measure headroom, try cuts.

Everything is valued by the account's exact margin rule, before and after, at the same prices. Open orders
stay in place, so a change that one of them already carries counts twice: on the safe side.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO
from portfolio.core.errors import InputError
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.apply import Fee, trade
from portfolio.core.margin.caps import (
    Legs,
    Pairs,
    narrative_breaches,
    narrative_rates,
    pair_margins,
    share_breaches,
    size_of,
)
from portfolio.core.margin.lines import (
    account_breaches,
    borrow_breaches,
    stress_breaches,
    stress_lines,
    stresses_broken,
    tier_breaches,
)
from portfolio.core.margin.modes import BYBIT_UTA, AccountMode
from portfolio.core.margin.pairing import (
    add_deltas,
    deltas_to,
    leg_price_usd,
    legs_after,
    legs_of,
    legs_traded,
    lot_of,
    lots_beyond,
    narrowed,
    pair_of,
)
from portfolio.core.margin.results import Breach, Cut, Headroom, Lines, Simulation, StressResult
from portfolio.core.margin.screened import LiquidationSearch
from portfolio.core.margin.shares import average_shares
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, exposed_coins, owed_coins, standard_scenarios, stressed
from portfolio.core.margin.stress_set import stress_results
from portfolio.core.margin.valuation import Valuation
from portfolio.core.names import Coin, InstrumentId, Narrative, PairId
from portfolio.core.pairs import PairLegs, PairSpec

_LIMITS = RiskLimits()
Deltas = Mapping[InstrumentId, Decimal]
#: Lines that an account violates with this many lots more.
_Check = Callable[[int], Iterator[Breach]]


class _Moved(NamedTuple):
    """An account after its pairs moved to their targets."""

    state: MarginState
    #: What every pair of the book holds then.
    legs: Legs
    #: Signed base coins traded per instrument.
    deltas: Deltas
    #: Pairs whose target is larger than what they held.
    growing: tuple[PairSpec, ...]


class MarginSim:
    """What-ifs in one account mode. Keeps nothing between calls: the same arguments give the same answer.

    Args:
        mode: The account's mode: its margin rule, and where its venue liquidates.
        betas: Move of a coin per move of the market, 1 where absent.
        staking: Liquid-staking token -> the coin that it stands for.
    """

    def __init__(
        self,
        mode: AccountMode = BYBIT_UTA,
        *,
        betas: Mapping[Coin, Decimal] | None = None,
        staking: Mapping[Coin, Coin] | None = None,
    ) -> None:
        self.mode = mode
        self.rule = mode.rule
        self._betas = dict(betas or {})
        self._staking = dict(staking or {})

    def scenarios(self, state: MarginState) -> tuple[Scenario, ...]:
        """The standard stresses over every coin that the account is exposed to, of rates only if it owes."""
        return self._scenarios(state, borrowing=bool(owed_coins(state)))

    def _scenarios(self, state: MarginState, *, borrowing: bool) -> tuple[Scenario, ...]:
        return standard_scenarios(
            exposed_coins(state), betas=self._betas, staking=self._staking, borrowing=borrowing
        )

    def search(self, state: MarginState) -> LiquidationSearch:
        """The search for what liquidates an account, at the line of its venue.

        Raises:
            MissingDataError: a price, a table, a fee or an instrument is absent.
        """
        compiled = None if self.mode.compiled is None else self.mode.compiled(state)
        line = self.mode.liquidation_line
        return LiquidationSearch(self.rule, compiled, state, line=line, staking=self._staking)

    def simulate(
        self,
        state: MarginState,
        pairs: Pairs,
        legs: Legs,
        targets: Mapping[PairId, Decimal],
        *,
        stresses: Sequence[Scenario] | None = None,
        also: Sequence[Scenario] = (),
        limits: RiskLimits = _LIMITS,
        lines: Lines = Lines.BOOK,
        fee: Fee = Fee.TAKER,
        book_notional_usd: Decimal = ZERO,
    ) -> Simulation:
        """The account after moving pairs to absolute targets, and every line that it violates then.

        Only what grows can be blocked: a change that grows no pair is allowed whatever it leaves breached,
        and a cap that another pair or narrative exceeds already blocks nothing.

        Args:
            state: The account now.
            pairs: Every pair of the book; each is reported.
            legs: What each of them holds.
            targets: Coins of one leg, >= 0, for the pairs that change.
            stresses: Scenarios to run; None runs the standard set over the account after.
            also: More of them, such as a caller's own.
            limits: The operator's.
            lines: Which of them the account is held to.
            fee: Rates paid on the way.
            book_notional_usd: One-leg notional that the book is planned to have (see `share_breaches`).

        Raises:
            UnknownNameError: a target's pair is not among `pairs`.
            InputError: a target is negative.
            MissingDataError: legs, a price, a table, a fee or an instrument is absent.
        """
        state = narrowed(state, legs_traded(pairs.values()))
        after, held, deltas, growing = _moved(state, pairs, legs, targets, fee)
        valuation = self.rule(after, extrapolate=True)
        scenarios = (*(self.scenarios(after) if stresses is None else stresses), *also)
        results = self._stressed(after, valuation.figures, scenarios, limits, lines)
        breaches = tuple(self._violated(state, after, valuation, deltas, scenarios, results, limits, lines))
        caps: list[Breach] = []
        if lines is Lines.BOOK:
            caps += self._caps(after, pairs, held, pairs.values(), limits, book_notional_usd)
        blocked = _blocked_by(breaches, caps, growing)
        shares = average_shares(after, valuation, pairs, held)
        return Simulation(
            before=self.rule(state, extrapolate=True).figures,
            after=valuation.figures,
            state=after,
            legs=held,
            pairs=pair_margins(self.rule, after, valuation, pairs, held, shares.pairs),
            treasury=shares.treasury,
            stresses=tuple(sorted(results, key=lambda row: row.figures.health_score)),
            breaches=(*breaches, *caps),
            allowed=not blocked,
            blocked_by=blocked,
        )

    def first_breach(
        self,
        state: MarginState,
        pairs: Pairs,
        legs: Legs,
        targets: Mapping[PairId, Decimal],
        *,
        limits: RiskLimits = _LIMITS,
        book_notional_usd: Decimal = ZERO,
    ) -> Breach | None:
        """The first of `simulate`'s breaches under the lines of the book, and nothing else of its answer.

        For searches that ask often: it stops at the first one. Arguments and errors as in `simulate`.
        """
        state = narrowed(state, legs_traded(pairs.values()))
        moved = _moved(state, pairs, legs, targets, Fee.TAKER)

        def in_turn() -> Iterator[Breach]:
            after, held, deltas, _ = moved
            valuation = self.rule(after, extrapolate=True)
            yield from self._now(state, after, valuation, deltas, limits, Lines.BOOK)
            scenarios = self.scenarios(after)
            results = self._stressed(after, valuation.figures, scenarios, limits, Lines.BOOK)
            yield from stresses_broken(scenarios, results, limits, Lines.BOOK)
            yield from self._caps(after, pairs, held, pairs.values(), limits, book_notional_usd)

        return next(in_turn(), None)

    def breaches(
        self,
        state: MarginState,
        deltas: Deltas,
        *,
        limits: RiskLimits = _LIMITS,
        lines: Lines = Lines.ENTRY,
        stresses: Sequence[Scenario] | None = None,
    ) -> tuple[Breach, ...]:
        """What the account would violate after trading these legs: what the guard's veto asks.

        Health, usage, tiers, borrowing and stresses; caps of the book belong to `simulate`.

        Args:
            state: The account now.
            deltas: Signed base coins per instrument.
            limits: The operator's.
            lines: Which of them the account is held to.
            stresses: Scenarios to run; None runs the standard set over the account after.

        Raises:
            MissingDataError: a price, a table, a fee or an instrument is absent.
        """
        state = narrowed(state, deltas)
        after = trade(state, deltas)
        scenarios = self.scenarios(after) if stresses is None else stresses
        valuation = self.rule(after, extrapolate=True)
        results = self._stressed(after, valuation.figures, scenarios, limits, lines)
        return tuple(self._violated(state, after, valuation, deltas, scenarios, results, limits, lines))

    def headroom(
        self,
        state: MarginState,
        pairs: Pairs,
        legs: Legs,
        pair_id: PairId,
        limits: RiskLimits = _LIMITS,
        *,
        lines: Lines = Lines.BOOK,
        fee: Fee = Fee.TAKER,
        book_notional_usd: Decimal = ZERO,
        growing: Collection[PairId] = (),
    ) -> Headroom:
        """How much more of a pair fits: `simulate` allows it and refuses one lot more.

        Arguments and errors as in `simulate`; `growing` are pairs that grow in the same change and have in
        `state` already: their caps may break as well when this pair's fees lower the equity. Limits are
        bisected one by one, each below what the ones before it left, so that most are looked at once.
        """
        pair, held = pair_of(pairs, pair_id), legs_of(legs, pair_id)
        state = narrowed(state, legs_traded(pairs.values()))
        lot, start = lot_of(state, pair), size_of(held)
        others = {key: legs_of(legs, key) for key in pairs}
        together = (pair, *(pair_of(pairs, name) for name in growing if name != pair_id))

        def deltas_of(lots: int) -> Deltas:
            return deltas_to(pair, held, start + lots * lot)

        def after(lots: int) -> MarginState:
            return trade(state, deltas_of(lots), fee=fee)

        def now(lots: int) -> Iterator[Breach]:
            moved = after(lots)
            return self._now(state, moved, self.rule(moved, extrapolate=True), deltas_of(lots), limits, lines)

        def under(scenario: Scenario) -> _Check:
            return lambda lots: self._under(scenario, after(lots), limits, lines)

        def capped(lots: int) -> Iterator[Breach]:
            grown = legs_after(state, pair, held, deltas_of(lots), fee)
            return self._caps(
                after(lots), pairs, others | {pair_id: grown}, together, limits, book_notional_usd
            )

        # Where one lot borrows nothing yet, more of them may.
        scenarios = self._scenarios(after(1), borrowing=True)
        checks: list[_Check] = [now, *(under(row) for row in scenarios)]
        if lines is Lines.BOOK:
            checks.append(capped)
        lots, binding = _most(checks, lots_beyond(state, pair, lot))
        quantity = lots * lot
        return Headroom(
            pair_id=pair_id,
            quantity=quantity,
            target=start + quantity,
            notional_usd=quantity * leg_price_usd(state, pair),
            binding=binding,
        )

    def narrative_use(
        self, state: MarginState, pairs: Pairs, legs: Legs, targets: Mapping[PairId, Decimal]
    ) -> dict[Narrative, Decimal]:
        """Margin that one USD of one leg of each narrative consumes once pairs are at their targets.

        As narrative caps measure it, at reference leverage; narratives that consume none are left out.
        Arguments and errors as in `simulate`.
        """
        state = narrowed(state, legs_traded(pairs.values()))
        after, held, _, _ = _moved(state, pairs, legs, targets, Fee.TAKER)
        return narrative_rates(self.rule, after, pairs, held)

    def cut(self, state: MarginState, pair: PairSpec, legs: PairLegs, quantity: Decimal) -> Cut:
        """The account after a pair lost up to `quantity` coins, at taker fees, its debt repaid.

        The larger leg loses them; the other one follows to the same size. One trade and one valuation: cheap
        enough to walk the guard's ladder with, feeding each cut's `state` and `legs` to the next.

        Raises:
            InputError: the quantity is negative.
            MissingDataError: a price, a table, a fee or an instrument is absent.
        """
        if quantity < 0:
            raise InputError(f"A cut of {quantity} coins is negative.", field="quantity", allowed=">= 0")
        target = max(ZERO, size_of(legs) - quantity)
        deltas = {
            pair.long_leg: min(ZERO, target - legs.long_quantity),
            pair.short_leg: max(ZERO, legs.short_quantity - target),
        }
        after = trade(state, deltas, repay=True)
        return Cut(
            pair_id=pair.pair_id,
            quantity=size_of(legs) - target,
            state=after,
            legs=legs_after(state, pair, legs, deltas, Fee.TAKER),
            figures=self.rule(after, extrapolate=True).figures,
        )

    def _now(
        self,
        before: MarginState,
        after: MarginState,
        valuation: Valuation,
        deltas: Deltas,
        limits: RiskLimits,
        lines: Lines,
    ) -> Iterator[Breach]:
        yield from account_breaches(valuation.figures, limits, lines)
        yield from tier_breaches(after)
        line = self.mode.borrow_line(after.policy)
        yield from borrow_breaches(before, after, valuation, deltas, line)

    def _stressed(
        self,
        after: MarginState,
        figures: MarginFigures,
        scenarios: Sequence[Scenario],
        limits: RiskLimits,
        lines: Lines,
    ) -> tuple[StressResult, ...]:
        """In the order of the scenarios; see `stress_results`."""
        return stress_results(
            self.mode, after, figures, scenarios, lambda row: stress_lines(row, limits, lines)
        )

    def _under(
        self, scenario: Scenario, after: MarginState, limits: RiskLimits, lines: Lines
    ) -> Iterator[Breach]:
        if scenario.borrow_multiple is not None and not owed_coins(after):
            return iter(())  # not among the scenarios of an account that owes nothing
        figures = self.rule(stressed(after, scenario), extrapolate=True).figures
        return stress_breaches(scenario, figures, limits, lines)

    def _violated(
        self,
        before: MarginState,
        after: MarginState,
        valuation: Valuation,
        deltas: Deltas,
        scenarios: Sequence[Scenario],
        results: Sequence[StressResult],
        limits: RiskLimits,
        lines: Lines,
    ) -> Iterator[Breach]:
        """Lines of the account as it stands after, then under each of these stresses that binds."""
        yield from self._now(before, after, valuation, deltas, limits, lines)
        yield from stresses_broken(scenarios, results, limits, lines)

    def _caps(
        self,
        after: MarginState,
        pairs: Pairs,
        legs: Legs,
        of: Collection[PairSpec],
        limits: RiskLimits,
        book_notional_usd: Decimal,
    ) -> Iterator[Breach]:
        """Breached caps of these pairs and their narratives."""
        narratives = tuple(dict.fromkeys(row.narrative for row in of))
        yield from narrative_breaches(self.rule, after, pairs, legs, narratives, limits)
        equity = self.rule(after, extrapolate=True).figures.total_equity
        mine = {f"pair_share:{row.pair_id}" for row in of}
        for row in share_breaches(after, equity, pairs, legs, limits, book_notional_usd):
            if row.limit in mine:
                yield row


def _moved(
    state: MarginState, pairs: Pairs, legs: Legs, targets: Mapping[PairId, Decimal], fee: Fee
) -> _Moved:
    """All pairs moved in one trade, which repays debt as soon as one of them shrinks."""
    held = {pair_id: legs_of(legs, pair_id) for pair_id in pairs}
    moves = {pair_of(pairs, pair_id): to for pair_id, to in targets.items()}
    deltas = add_deltas(deltas_to(pair, held[pair.pair_id], to) for pair, to in moves.items())
    growing = tuple(pair for pair, to in moves.items() if to > size_of(held[pair.pair_id]))
    repay = any(to < size_of(held[pair.pair_id]) for pair, to in moves.items())
    after = trade(state, deltas, fee=fee, repay=repay)
    for pair, to in moves.items():
        was = held[pair.pair_id]
        held[pair.pair_id] = legs_after(state, pair, was, deltas_to(pair, was, to), fee)
    return _Moved(after, held, deltas, growing)


def _blocked_by(
    breaches: Sequence[Breach], caps: Sequence[Breach], growing: Sequence[PairSpec]
) -> tuple[str, ...]:
    """Limits that refuse a change: any line of the account, any cap of what grows; none if nothing grows."""
    if not growing:
        return ()
    own = {f"narrative:{row.narrative}" for row in growing}
    own |= {f"pair_share:{row.pair_id}" for row in growing}
    return (*(row.limit for row in breaches), *(row.limit for row in caps if row.limit in own))


def _most(checks: Sequence[_Check], refused: int) -> tuple[int, str]:
    """The most lots that pass every check, and the limit that refuses one more; `refused` lots fail one.

    Each check is bisected as if it failed for good once it fails. Where that is not so, the answer is still
    allowed and one lot more still refused. 0 lots, no trade, are always allowed.
    """
    best, binding = refused, ""
    while best > 0:
        failed = next((check for check in checks if _first(check, best) is not None), None)
        if failed is None:
            break
        good, bad = 0, best
        while bad - good > 1:
            middle = (good + bad) // 2
            if _first(failed, middle) is None:
                good = middle
            else:
                bad = middle
        breach = _first(failed, bad)
        assert breach is not None, "a check answers the same twice"
        best, binding = good, breach.limit
    return best, binding


def _first(check: _Check, lots: int) -> Breach | None:
    return next(check(lots), None)
