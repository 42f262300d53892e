"""simulate_margin: the account before, after and under stress, without changing anything."""

from decimal import Decimal
from typing import Annotated

import anyio.to_thread
from pydantic import BaseModel, Field

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ONE, ZERO, plain, round_toward_zero_to_step
from portfolio.core.errors import AccessError, MissingDataError, UnknownNameError
from portfolio.core.margin.pairing import leg_price_usd, lot_of
from portfolio.core.margin.results import Headroom, Simulation
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario
from portfolio.core.names import Coin, PairId
from portfolio.core.pairs import PairSpec
from portfolio.service import DeskService, DeskSnapshot, Principal, Scope
from tools.headroom import headroom
from tools.inputs import Amount, Detail, PairName, TargetArgument
from tools.results import Common, MarginBlock, head, margin_block, ratio, seconds, usd
from tools.spec import READING, Arguments, Tool

#: Stresses shown without `detail: full`.
_CONCISE_MAX = 3

Move = Annotated[Amount, Field(gt=-1, le=9, description="Fraction by which the price moves: -0.3 is -30 %.")]


class ScenarioArgument(Arguments):
    """A stress of your own."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    moves: Annotated[dict[str, Move], Field(max_length=40, description="Move by coin, such as SOL.")] = Field(
        default_factory=dict
    )
    collateral_ratio_shift: Annotated[
        Amount, Field(ge=-1, le=0, description="Added to every collateral ratio, a fraction.")
    ] = ZERO


class SimulateArguments(Arguments):
    """Input. Without targets it values the account as it is."""

    targets: Annotated[tuple[TargetArgument, ...], Field(max_length=40)] = ()
    only: Annotated[
        bool, Field(description="true: the targets are the whole book, pairs not named are closed.")
    ] = False
    stress: Annotated[bool, Field(description="Run the standard stresses.")] = True
    scenarios: Annotated[tuple[ScenarioArgument, ...], Field(max_length=20)] = ()
    find_max: Annotated[
        PairName | None,
        Field(description="Also find how large this pair can be on top of the targets, and what binds."),
    ] = None
    detail: Detail = "concise"


class StressBlock(BaseModel):
    """The account after one scenario."""

    scenario: str
    health_score: str
    margin_usage: str | None
    adjusted_equity_usd: str


class PairMarginBlock(BaseModel):
    """What one pair adds to the account after the change."""

    pair: str
    notional_usd: str = Field(description="One leg.")
    quantity_coins: str
    initial_margin_usd: str
    maintenance_margin_usd: str
    haircut_usd: str


class FindMaxBlock(BaseModel):
    """The largest size of one pair."""

    pair: str
    max_notional_usd: str = Field(description="One leg, absolute.")
    more_usd: str = Field(description="On top of its size in this simulation.")
    binding_limit: str


class VenueCheck(BaseModel):
    """Our figures against the venue's own, as the account is now."""

    ours: MarginBlock
    venue: MarginBlock
    gap: str | None = Field(description="Larger relative difference of maintenance margin and equity.")
    venue_age_s: float | None


class SimulateResult(Common):
    """Output."""

    before: MarginBlock
    after: MarginBlock
    allowed: bool
    blocked_by: list[str] = Field(description="Names of the limits that refuse it.")
    find_max: FindMaxBlock | None
    per_pair: list[PairMarginBlock]
    worst_stress: StressBlock | None
    stresses: list[StressBlock]
    venue_check: VenueCheck | None
    assumptions: list[str]


async def simulate_margin(
    desk: DeskService, principal: Principal, arguments: SimulateArguments
) -> SimulateResult:
    """Simulate on the desk's snapshot."""
    if Scope.SIMULATE not in principal.scopes:
        raise AccessError(
            f"Token {principal.name} lacks the scope simulate.", next_step="Ask the operator for it."
        )
    snapshot = await desk.read(principal)
    state = snapshot.state
    if state is None:
        raise MissingDataError(
            f"A simulation needs complete data; missing: {', '.join(snapshot.stale) or 'the account'}.",
            field="data",
            next_step="Call get_portfolio for the ages and try again.",
        )
    simulation, room = await anyio.to_thread.run_sync(_simulated, snapshot, state, arguments)
    return _result(snapshot, arguments, simulation, room)


def _simulated(
    snapshot: DeskSnapshot, state: MarginState, arguments: SimulateArguments
) -> tuple[Simulation, Headroom | None]:
    sim = MarginSim()
    pairs = {pair.spec.pair_id: pair.spec for pair in snapshot.pairs}
    targets = _targets(state, pairs, arguments)
    stresses: list[Scenario] | None = [_scenario(state, one) for one in arguments.scenarios]
    if arguments.stress:
        probe = sim.simulate(state, pairs, snapshot.legs, targets, stresses=())
        stresses = [*sim.scenarios(probe.state), *(stresses or [])]
    simulation = sim.simulate(state, pairs, snapshot.legs, targets, stresses=stresses, limits=snapshot.limits)
    room = None
    if arguments.find_max is not None:
        room = headroom(snapshot, simulation.state, PairId(arguments.find_max), targets)
    return simulation, room


def _targets(
    state: MarginState, pairs: dict[PairId, PairSpec], arguments: SimulateArguments
) -> dict[PairId, Decimal]:
    """Coins of one leg by pair."""
    targets = dict.fromkeys(pairs, ZERO) if arguments.only else {}
    for target in arguments.targets:
        pair = pairs.get(PairId(target.pair))
        if pair is None:
            raise UnknownNameError(
                f"{target.pair} is not a pair of this desk.",
                field="targets",
                allowed=", ".join(sorted(pairs)),
                next_step="Name one of these.",
            )
        coins = target.notional_usd / leg_price_usd(state, pair)
        targets[pair.pair_id] = round_toward_zero_to_step(coins, lot_of(state, pair))
    return targets


def _scenario(state: MarginState, argument: ScenarioArgument) -> Scenario:
    for coin in argument.moves:
        if Coin(coin) not in state.prices.usd:
            raise UnknownNameError(
                f"{coin} has no price here.", field="scenarios", next_step="Name coins such as SOL."
            )
    factors = {Coin(coin): ONE + move for coin, move in argument.moves.items()}
    return Scenario(argument.name, factors, ratio_shift=argument.collateral_ratio_shift)


def _result(
    snapshot: DeskSnapshot, arguments: SimulateArguments, simulation: Simulation, room: Headroom | None
) -> SimulateResult:
    stresses = [_stress(row.scenario, row.figures) for row in simulation.stresses]
    full = arguments.detail == "full"
    shown = [row for row in simulation.pairs if full or row.quantity > 0]
    return SimulateResult(
        **head(snapshot, _summary(simulation), _next(simulation)),
        before=margin_block(simulation.before),
        after=margin_block(simulation.after),
        allowed=simulation.allowed,
        blocked_by=list(simulation.blocked_by),
        find_max=None if room is None else _find_max(room, room.target * _price(snapshot, room.pair_id)),
        per_pair=[
            PairMarginBlock(
                pair=row.pair_id,
                notional_usd=usd(row.notional_usd),
                quantity_coins=plain(row.quantity),
                initial_margin_usd=usd(row.initial_margin),
                maintenance_margin_usd=usd(row.maintenance_margin),
                haircut_usd=usd(row.haircut_usd),
            )
            for row in shown
        ],
        worst_stress=stresses[0] if stresses else None,
        stresses=stresses if full else stresses[:_CONCISE_MAX],
        venue_check=_venue_check(snapshot),
        assumptions=_ASSUMPTIONS,
    )


_ASSUMPTIONS = [
    "Trades fill at mark and index prices and pay the account's taker fees.",
    "A spot purchase borrows what the wallet lacks; a sale repays debt of its coin.",
    "Open orders stay in place. Each stress is immediate and without transfers.",
]


def _summary(simulation: Simulation) -> str:
    before, after = simulation.before.health_score, simulation.after.health_score
    text = f"Health {ratio(before, 3)} to {ratio(after, 3)}"
    worst = simulation.worst_stress
    if worst is not None:
        text += f"; worst stress {worst.scenario}: {ratio(worst.figures.health_score, 3)}"
    verdict = "allowed" if simulation.allowed else f"refused by {', '.join(simulation.blocked_by[:3])}"
    return f"{text}; {verdict}."


def _next(simulation: Simulation) -> str:
    if simulation.allowed:
        return "propose_rebalance stores it for the operator, if the user wants it."
    return "Lower the sizes; find_max gives the largest that fits."


def _stress(name: str, figures: MarginFigures) -> StressBlock:
    usage = figures.margin_usage
    return StressBlock(
        scenario=name,
        health_score=ratio(figures.health_score),
        margin_usage=None if usage is None else ratio(usage),
        adjusted_equity_usd=usd(figures.adjusted_equity),
    )


def _find_max(room: Headroom, total_usd: Decimal) -> FindMaxBlock:
    return FindMaxBlock(
        pair=room.pair_id,
        max_notional_usd=usd(total_usd),
        more_usd=usd(room.notional_usd),
        binding_limit=room.binding,
    )


def _price(snapshot: DeskSnapshot, pair_id: PairId) -> Decimal:
    assert snapshot.state is not None, "a simulation was made from it"
    pair = next(pair.spec for pair in snapshot.pairs if pair.spec.pair_id == pair_id)
    return leg_price_usd(snapshot.state, pair)


def _venue_check(snapshot: DeskSnapshot) -> VenueCheck | None:
    guard = snapshot.guard
    if guard.figures is None or guard.venue_figures is None:
        return None
    return VenueCheck(
        ours=margin_block(guard.figures),
        venue=margin_block(guard.venue_figures),
        gap=None if guard.margin_gap is None else ratio(guard.margin_gap, 6),
        venue_age_s=seconds(snapshot.ages.account_ns),
    )


TOOL = Tool(
    name="simulate_margin",
    title="Margin what-if",
    description=(
        "What the whole account's margin would be after moving pairs to these sizes (USD of ONE leg, "
        "absolute), and under stress: each coin +-30 %, the market +-20 and +-40 %, collateral ratios -5 "
        "points, and your own scenarios. Says whether the desk would allow it and which limit refuses; "
        "find_max gives the largest size of one pair and what binds. Changes nothing, asks nobody. Use it "
        "before propose_rebalance."
    ),
    arguments=SimulateArguments,
    result=SimulateResult,
    hints=READING,
    run=simulate_margin,
)
