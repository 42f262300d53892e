"""One account through its market under one policy: the walk-forward loop.

A policy decides at its own steps, from what is known then. Between its trades the account is projected over
whole stretches at once; where a stretch meets a line of the guard, the guard acts before it goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from portfolio.backtest.account import AccountModel, Book, Stretch, project
from portfolio.backtest.costs import trade_costs
from portfolio.backtest.guarding import BacktestGuard
from portfolio.backtest.market import Bools, VenueMarket
from portfolio.backtest.result import Costs, GuardAction
from portfolio.core.carry import Floats
from portfolio.core.limits import RiskLimits
from portfolio.core.names import PairId

#: Steps that are projected at once; a trade inside throws the rest away.
_STRETCH = 90
#: Rounds of the guard within one interval, after which the interval is let pass.
_ROUNDS = 12
#: What a liquidation takes, and an exit that the end of a market forces: shares of notional, beside costs.
LIQUIDATION_SHARE = 0.02
DELISTING_SHARE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What a policy sees at a step: nothing of later."""

    step: int
    time_ns: int
    book: Book
    equity: float
    spot: Floats
    mark: Floats


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy wants: coins of one leg by column, for the pairs that change."""

    targets: Mapping[int, float] = field(default_factory=dict)
    #: The book's marginal carry beats marginal borrow plus costs from here on.
    paying: bool = False
    #: What keeps the book from being larger; None when nothing was sized.
    binding: str | None = None


class Policy(Protocol):
    """Decides one account's book."""

    @property
    def steps(self) -> Bools:
        """(T,): where it decides."""
        ...

    def decide(self, moment: Moment) -> Decision:
        """What to hold from this moment on."""
        ...

    def scores(self) -> Mapping[PairId, float]:
        """Quality by pair as of the last decision: what the guard ranks by."""
        ...


@dataclass(slots=True, eq=False)
class AccountRun:
    """What an account lived through; arrays over the steps first .. last of its market, shape (m,)."""

    market: VenueMarket
    first: int
    last: int
    equity: Floats
    gross: Floats
    health: Floats
    paying: Bools
    #: (m, n): coins of one leg after the step.
    coins: Floats
    #: (m, 4): fees, slippage, adverse selection, interest paid at the step.
    costs: Floats
    traded_usd: float = 0.0
    liquidations: int = 0
    actions: list[GuardAction] = field(default_factory=list)
    binding: dict[str, int] = field(default_factory=dict)
    #: (n, 6): funding, basis, borrow, fees, slippage, adverse selection by pair; signed, + is a gain.
    parts: Floats = field(default_factory=lambda: np.zeros((0, 6)))


class Simulation:
    """Runs one policy over one account."""

    def __init__(
        self,
        market: VenueMarket,
        model: AccountModel,
        policy: Policy,
        limits: RiskLimits,
        equity: float,
        first: int,
        last: int,
    ) -> None:
        count, pairs = last - first + 1, len(market.pair_ids)
        self._market, self._model, self._policy, self._limits = market, model, policy, limits
        self._book = Book(np.zeros(pairs), np.zeros(pairs), equity)
        self._guard = BacktestGuard(model, limits)
        self._peak = equity
        self._first, self._last = first, last
        self._paying = False
        self._passed = first
        self._rounds = 0
        self.run = AccountRun(
            market=market,
            first=first,
            last=last,
            equity=np.full(count, equity),
            gross=np.zeros(count),
            health=np.ones(count),
            paying=np.zeros(count, dtype=np.bool_),
            coins=np.zeros((count, pairs)),
            costs=np.zeros((count, 4)),
            parts=np.zeros((pairs, 6)),
        )

    def __call__(self) -> AccountRun:
        """From the first step to the last."""
        step = self._first
        decides = self._policy.steps
        if decides[step]:
            self._decided(step, self._policy.decide(self._moment(step, self._book.cash)))
        while step < self._last:
            step = self._stretch(step)
        return self.run

    def _stretch(self, step: int) -> int:
        """Go on until something is traded, or to the end of a stretch; the step reached."""
        market = self._market
        until = min(self._last, step + _STRETCH, self._first_end(step))
        ahead = project(market, self._model, self._book, step, until)
        event = self._event(ahead)
        stop = until if event is None else event - 1
        for at in range(step + 1, stop + 1):
            if not self._policy.steps[at]:
                continue
            cash = self._book.cash
            self._book.cash = float(ahead.cash[at - step - 1])
            moment = self._moment(at, float(ahead.equity[at - step - 1]))
            decision = self._policy.decide(moment)
            self._book.cash = cash
            if decision.targets:
                self._commit(ahead, at)
                self._decided(at, decision)
                return at
            self._note(decision)
            self.run.paying[at - self._first :] = self._paying
        self._commit(ahead, stop)
        if event is not None:
            self._guarded(event)
        elif market.ends.any():
            self._delisted(stop)
        return stop

    def _first_end(self, step: int) -> int:
        """The next step at which a pair that is held ends."""
        ending = self._market.last[(self._book.coins > 0) & self._market.ends]
        later = ending[ending > step]
        return int(later.min()) if len(later) else self._last

    def _moment(self, step: int, equity: float) -> Moment:
        market = self._market
        return Moment(
            step, int(market.times_ns[step]), self._book, equity, market.spot[step], market.mark[step]
        )

    def _event(self, ahead: Stretch) -> int | None:
        """The first step whose interval the guard has to look at."""
        guard = self._limits.guard
        peak = np.maximum(np.maximum.accumulate(ahead.equity), self._peak)
        crossed = (
            (ahead.health < float(guard.reduce_below_health))
            | ~(ahead.usage <= float(guard.reduce_above_usage))
            | (ahead.equity < peak * (1.0 - float(guard.drawdown_max)))
        )
        crossed &= np.arange(ahead.first + 1, ahead.first + 1 + len(crossed)) > self._passed
        if not len(self._book.held()) or not crossed.any():
            return None
        return ahead.first + 1 + int(np.argmax(crossed))

    def _commit(self, ahead: Stretch, until: int) -> None:
        """Take over the stretch up to a step."""
        count = until - ahead.first
        if count <= 0:
            return
        run, market, book = self.run, self._market, self._book
        here = slice(ahead.first + 1 - self._first, until + 1 - self._first)
        run.equity[here] = ahead.equity[:count]
        run.gross[here] = ahead.gross[:count]
        run.health[here] = np.minimum(run.health[here], ahead.health[:count])
        run.coins[here.start :] = book.coins
        run.costs[here, 3] += ahead.interest[:count]
        steps = slice(ahead.first + 1, until + 1)
        run.parts[:, 0] += book.coins * market.funding[steps].sum(axis=0)
        held = book.held()
        if len(held):
            start = market.spot[ahead.first, held] - market.mark[ahead.first, held]
            end = market.spot[until, held] - market.mark[until, held]
            run.parts[held, 1] += book.coins[held] * (end - start)
            sizes = book.coins[held] * market.mark[ahead.first, held]
            run.parts[held, 2] -= float(ahead.interest[:count].sum()) * sizes / sizes.sum()
        book.cash = float(ahead.cash[count - 1])
        self._peak = max(self._peak, float(ahead.equity[:count].max()))

    def _note(self, decision: Decision) -> None:
        self._paying = decision.paying
        if decision.binding is not None:
            self.run.binding[decision.binding] = self.run.binding.get(decision.binding, 0) + 1

    def _decided(self, step: int, decision: Decision) -> None:
        """Trade what a policy decided; entries only where the guard lets them."""
        self._note(decision)
        time_ns = int(self._market.times_ns[step])
        spot, mark = self._market.spot[step], self._market.mark[step]
        for column, coins in decision.targets.items():
            # A policy may want what ended hours ago: nobody trades it any more.
            if not self._market.alive[step, column]:
                continue
            if coins > self._book.coins[column] and self._guard.veto(column, time_ns) is not None:
                continue
            self._trade(step, column, coins, spot, mark, urgent=False)
        if self._guard.restarts_peak():
            self._peak = self._book.equity(spot, mark)
        # A decision may fall on the last settlement of a market, and cannot know that it is the last one.
        self._delisted(step)

    def _refresh(self, step: int) -> None:
        """Figures of a step after trading at it."""
        market, book = self._market, self._book
        here = step - self._first
        self.run.equity[here] = book.equity(market.spot[step], market.mark[step])
        self.run.gross[here] = float(book.coins @ (market.spot[step] + market.mark[step]))
        self.run.coins[here:] = book.coins
        self.run.paying[here:] = self._paying

    def _trade(
        self,
        step: int,
        column: int,
        coins: float,
        spot: Floats,
        mark: Floats,
        *,
        urgent: bool,
        lost: float = 0.0,
    ) -> None:
        """Bring a pair to so many coins; `lost` is a share of the notional that is gone besides."""
        before = float(self._book.coins[column])
        notional = abs(coins - before) * float(mark[column])
        if notional == 0.0:
            return
        market = self._market
        costs = trade_costs(
            market.venue, market.coins[column], notional, int(market.times_ns[step]), urgent=urgent
        )
        costs = Costs(costs.fees + lost * notional, costs.slippage, costs.adverse_selection)
        self._book.trade(column, coins, float(spot[column]), float(mark[column]), costs.total)
        paid = np.array([costs.fees, costs.slippage, costs.adverse_selection])
        self.run.costs[step - self._first, :3] += paid
        self.run.parts[column, 3:] -= paid
        self.run.traded_usd += 2.0 * notional

    def _guarded(self, step: int) -> None:
        """The guard acts inside the interval that ends at `step`, from the state one step earlier."""
        self._rounds = self._rounds + 1
        if self._rounds > _ROUNDS:
            self._passed, self._rounds = step, 0
            return
        market, book = self._market, self._book
        spot, mark = self._guard.crossing(market, book, step)
        time_ns = int(market.times_ns[step])
        verdict = self._guard.act(book, spot, mark, time_ns, self._peak, self._policy.scores())
        # What the guard found counts, whatever is left of it at the end of the interval.
        here = step - self._first
        self.run.health[here] = min(float(self.run.health[here]), verdict.health)
        if verdict.liquidated:
            self.run.liquidations += 1
            for column in book.held().tolist():
                self._forced(
                    step,
                    column,
                    0.0,
                    verdict.spot,
                    verdict.mark,
                    "liquidation",
                    "MM reached ECV",
                    LIQUIDATION_SHARE,
                )
        for cut in verdict.cuts:
            self._forced(
                step, cut.column, cut.to_coins, verdict.spot, verdict.mark, cut.rule, cut.reason, 0.0
            )
        if not verdict.cuts and not verdict.liquidated:
            self._passed, self._rounds = step, 0

    def _forced(
        self,
        step: int,
        column: int,
        coins: float,
        spot: Floats,
        mark: Floats,
        rule: str,
        reason: str,
        lost: float,
    ) -> None:
        market = self._market
        before = float(self._book.coins[column])
        # What moved between the last committed step and the price of the cut belongs to the pair's basis.
        moved = (spot[column] - mark[column]) - (
            market.spot[step - 1, column] - market.mark[step - 1, column]
        )
        self.run.parts[column, 1] += (before - coins) * moved
        self._trade(step, column, coins, spot, mark, urgent=True, lost=lost)
        price = float(mark[column])
        self.run.actions.append(
            GuardAction(
                int(market.times_ns[step]),
                market.venue,
                market.pair_ids[column],
                rule,
                reason,
                before * price,
                coins * price,
            )
        )

    def _delisted(self, step: int) -> None:
        """Leave what has no market any more, at its last price."""
        market = self._market
        for column in self._book.held().tolist():
            if market.ends[column] and market.last[column] == step:
                self._exit_at_end(step, column)
        self._refresh(step)

    def _exit_at_end(self, step: int, column: int) -> None:
        market = self._market
        before = float(self._book.coins[column]) * float(market.mark[step, column])
        self._trade(
            step, column, 0.0, market.spot[step], market.mark[step], urgent=True, lost=DELISTING_SHARE
        )
        self.run.actions.append(
            GuardAction(
                int(market.times_ns[step]),
                market.venue,
                market.pair_ids[column],
                "delisted",
                "its history ends here",
                before,
                0.0,
            )
        )
