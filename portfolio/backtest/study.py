"""The whole backtest: the portfolio, its baselines, its ablations, what borrowing assumptions change.

Every run is `Simulation` over the same markets; what distinguishes runs is in their `PolicyOptions`. Accounts
are independent: equity is split at the start and nothing is transferred, because a key that can withdraw is
refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np

from portfolio.backtest.account import AccountModel
from portfolio.backtest.candles import Candles
from portfolio.backtest.combine import combine
from portfolio.backtest.history import History
from portfolio.backtest.market import VenueMarket, borrow_proxy, venue_market
from portfolio.backtest.notices import assumptions, data_notice, honesty
from portfolio.backtest.peers import NO_PEERS, Peer, Peers
from portfolio.backtest.policies import CarryPolicy, PolicyOptions, StaticPolicy
from portfolio.backtest.ranking import Ranker, Variant
from portfolio.backtest.result import BacktestResult, RunResult, Sensitivity, Settings
from portfolio.backtest.simulate import AccountRun, Policy, Simulation
from portfolio.core.allocation import AllocationPolicy
from portfolio.core.errors import InputError
from portfolio.core.limits import RiskLimits, TradeLimits
from portfolio.core.names import Coin, PairId, Venue
from portfolio.core.rebalance import Pacing

#: Equity of one account at the start, USD: the paper venue's.
ACCOUNT_USD = 100_000.0
SEED = 7
STATIC_COIN = "BTC"
BORROW_MULTIPLES = (0.5, 2.0)

#: Compiles a venue's account for these coins, in the order of the pairs.
Accounts = Callable[[Venue, Sequence[PairId], Sequence[Coin]], AccountModel]


@dataclass(frozen=True, slots=True)
class Request:
    """What to run."""

    from_ns: int | None = None
    to_ns: int | None = None
    account_usd: float = ACCOUNT_USD
    seed: int = SEED
    limits: RiskLimits = field(default_factory=RiskLimits)


@dataclass(frozen=True, slots=True, eq=False)
class _Stage:
    """One venue, ready to run on."""

    market: VenueMarket
    model: AccountModel
    ranker: Ranker
    first: int
    last: int


class Timer:
    """Seconds by part, by a clock that the caller owns."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = self._last = clock()
        self.parts: dict[str, float] = {}

    def done(self, part: str) -> None:
        """Everything since the last call was this part."""
        now = self._clock()
        self.parts[part] = self.parts.get(part, 0.0) + now - self._last
        self._last = now

    @property
    def total(self) -> float:
        """Since the beginning."""
        return self._clock() - self._started


def run_backtest(
    history: History,
    candles: Mapping[PairId, Candles],
    accounts: Accounts,
    request: Request,
    timer: Timer,
    progress: Callable[[str, int, int], None],
    peers: Peers = NO_PEERS,
) -> BacktestResult:
    """Run everything.

    Args:
        history: The pairs, already narrowed to the venues that are wanted.
        candles: By pair, where there are any.
        accounts: Compiles a venue's account.
        request: Period, equity, limits.
        timer: Told when each part is done.
        progress: Called with what runs now, how many runs are done, and of how many.
        peers: Reference portfolios to run beside ours.

    Raises:
        InputError: the period has no two days of history.
    """
    return _Study(history, candles, accounts, request, timer, progress, peers)()


class _Study:
    def __init__(
        self,
        history: History,
        candles: Mapping[PairId, Candles],
        accounts: Accounts,
        request: Request,
        timer: Timer,
        progress: Callable[[str, int, int], None],
        peers: Peers,
    ) -> None:
        self._history, self._candles, self._accounts = history, candles, accounts
        self._request, self._timer, self._progress, self._peers = request, timer, progress, peers
        self._stages: tuple[_Stage, ...] = ()
        self._stages = self._prepared(1.0)
        timer.done("markets")
        self._period = _period(self._stages)
        self._base = PolicyOptions(variant=Variant(limits=request.limits))
        self._done = 0

    def __call__(self) -> BacktestResult:
        ablations = _ablations(self._base)
        self._planned = 4 + len(ablations) + len(self._peers.by_name) + len(BORROW_MULTIPLES)
        portfolio = self._run("portfolio", "The whole policy.", self._stages, self._base)
        self._timer.done("portfolio")
        single = self._run(
            "single_pair",
            "The single-pair bot: the same signals, the best pair only, the same caps off.",
            self._widest(),
            _single(self._base),
        )
        static = self._static()
        equal = self._run(
            "equal_weight",
            "Every eligible pair weighs the same.",
            self._stages,
            replace(self._base, equal=True),
        )
        self._timer.done("baselines")
        ablation = tuple(
            self._run(name, description, self._stages, options)
            for name, (description, options) in ablations.items()
        )
        self._timer.done("ablation")
        peers = tuple(self._beside(name, peer) for name, peer in self._peers.by_name.items())
        self._timer.done("peers")
        sensitivity = tuple(self._with_borrow(multiple) for multiple in BORROW_MULTIPLES)
        self._timer.done("sensitivity")
        return BacktestResult(
            settings=self._settings(),
            data=data_notice(self._history, [row.market for row in self._stages], self._period),
            portfolio=portfolio,
            single_pair=single,
            btc_static=static,
            equal_weight=equal,
            ablation=ablation,
            peers=peers,
            peers_missing=self._peers.missing,
            sensitivity=sensitivity,
            honesty=honesty(self._history, self._total_usd()),
            seconds=self._timer.total,
            seconds_by_part=dict(self._timer.parts),
        )

    def _prepared(self, borrow_multiple: float) -> tuple[_Stage, ...]:
        borrow = borrow_proxy(self._history.pairs, borrow_multiple)
        stages = []
        walks = {row.market.venue: row.ranker.walks for row in self._stages}
        for venue in self._history.venues:
            pairs = self._history.of(venue).pairs
            market = venue_market(venue, pairs, self._candles, borrow)
            model = self._accounts(venue, market.pair_ids, market.coins)
            first, last = _steps(market, self._request)
            if last > first:
                book = self._request.limits.book
                ranker = Ranker(market, model, self._request.account_usd, walks.get(venue), book)
                stages.append(_Stage(market, model, ranker, first, last))
        return tuple(stages)

    def _total_usd(self) -> float:
        return self._request.account_usd * len(self._stages)

    def _widest(self) -> tuple[_Stage, ...]:
        """The account with the most pairs: a single-pair bot has one account."""
        return (max(self._stages, key=lambda row: (len(row.market.pair_ids), row.market.venue)),)

    def _run(
        self, name: str, description: str, stages: Sequence[_Stage], options: PolicyOptions
    ) -> RunResult:
        return self._played(
            name,
            description,
            stages,
            lambda row: CarryPolicy(row.market, row.model, row.ranker, options),
            options.variant.limits,
        )

    def _static(self) -> RunResult:
        stages = [row for row in self._stages if STATIC_COIN in row.market.coins] or list(self._stages)
        coin = STATIC_COIN if STATIC_COIN in stages[0].market.coins else stages[0].market.coins[0]
        return self._played(
            "btc_static",
            f"{coin} carry entered once, one leg as large as the equity, never traded again.",
            stages,
            lambda row: StaticPolicy(row.market, coin),
            self._request.limits,
        )

    def _played(
        self,
        name: str,
        description: str,
        stages: Sequence[_Stage],
        policy: Callable[[_Stage], Policy],
        limits: RiskLimits,
    ) -> RunResult:
        self._progress(name, self._done, self._planned)
        usd = self._total_usd() / len(stages)
        runs: list[AccountRun] = [
            Simulation(row.market, row.model, policy(row), limits, usd, row.first, row.last)()
            for row in stages
        ]
        self._done += 1
        self._progress(name, self._done, self._planned)
        return combine(name, description, runs, [usd] * len(runs), self._period, self._request.seed)

    def _beside(self, name: str, peer: Peer) -> RunResult:
        return self._run(name, peer.description, self._stages, replace(self._base, weigher=peer.weigher))

    def _with_borrow(self, multiple: float) -> Sensitivity:
        name = f"borrow_x{multiple:g}"
        run = self._run(name, f"The borrow proxy x {multiple:g}.", self._prepared(multiple), self._base)
        return Sensitivity(name, run)

    def _settings(self) -> Settings:
        venues = tuple(row.market.venue for row in self._stages)
        return Settings(
            from_ns=self._period[0],
            to_ns=self._period[1],
            venues=venues,
            equity_shares={venue: 1.0 / len(venues) for venue in venues},
            equity_usd=self._total_usd(),
            seed=self._request.seed,
            assumptions=assumptions(),
        )


def _single(base: PolicyOptions) -> PolicyOptions:
    """A book with one place, caps that spread a book off; everything else stays, the gate on swaps too."""
    limits = base.variant.limits
    book = replace(
        limits.book,
        pairs_max=1,
        pair_book_share_max=Decimal(1),
        narrative_equity_share_max=Decimal("Infinity"),
    )
    return replace(base, single=True, variant=replace(base.variant, limits=replace(limits, book=book)))


def _ablations(base: PolicyOptions) -> dict[str, tuple[str, PolicyOptions]]:
    """One piece off at a time."""
    policy, limits = base.variant.allocation, base.variant.limits

    def weighing(changed: AllocationPolicy) -> PolicyOptions:
        return replace(base, variant=replace(base.variant, allocation=changed))

    def trading(trade: TradeLimits) -> PolicyOptions:
        return replace(base, variant=replace(base.variant, limits=replace(limits, trade=trade)))

    still = Pacing(Decimal(1), Decimal(1), Decimal(0), base.pacing.daily_share)
    return {
        "softmax_off": (
            "Weights ignore Sharpe: stability alone weighs.",
            weighing(replace(policy, temperature=float("inf"))),
        ),
        "stability_off": ("The stability multiplier is 1.", weighing(replace(policy, stability=False))),
        "dcc_penalty_off": ("No penalty on correlation.", weighing(replace(policy, penalty=0.0))),
        "dcc_garch_off": (
            "Risk by EWMA in place of DCC-GARCH, in the Sharpe ratio, the weights and the size.",
            replace(base, variant=replace(base.variant, risk="ewma")),
        ),
        "band_off": (
            "No pair band, no size band: every difference is traded.",
            replace(trading(replace(limits.trade, band=Decimal(0))), pacing=still),
        ),
        "cost_gate_off": (
            "Pairs are entered whatever the round trip costs.",
            trading(replace(limits.trade, gain_over_cost_min=Decimal(0))),
        ),
        "pace_off": (
            "Changes are traded at once instead of over days.",
            replace(base, pacing=replace(base.pacing, daily_share=Decimal(100))),
        ),
        "volatility_budget_off": (
            "The book is as large as carry and margin allow.",
            replace(base, volatility_budget=1e9),
        ),
    }


def _steps(market: VenueMarket, request: Request) -> tuple[int, int]:
    """First and last step inside the period."""
    first = 0 if request.from_ns is None else market.index_of(request.from_ns)
    last = len(market.times_ns) - 1
    if request.to_ns is not None:
        last = int(np.searchsorted(market.times_ns, request.to_ns, side="right")) - 1
    return first, last


def _period(stages: Sequence[_Stage]) -> tuple[int, int]:
    if not stages:
        raise InputError(
            "The period has no two settlements of any pair.", field="from", allowed="a period with history"
        )
    first = min(int(row.market.times_ns[row.first]) for row in stages)
    last = max(int(row.market.times_ns[row.last]) for row in stages)
    # Days before the archive begins are no days in cash: they are not there.
    return first, last
