"""simulate_margin: the account before, after and under stress, without changing anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
from pydantic import BaseModel, Field

from portfolio.core.decimals import ZERO, plain
from portfolio.core.errors import AccessError, CarrydeskError, InputError, MissingDataError
from portfolio.core.margin.caps import size_of
from portfolio.core.margin.lines import stress_breaches
from portfolio.core.margin.modes import AccountMode
from portfolio.core.margin.pairing import leg_price_usd, lot_of
from portfolio.core.margin.results import (
    Headroom,
    Lines,
    LiquidationPrices,
    MarginShare,
    PairMargin,
    Simulation,
)
from portfolio.core.margin.shares import AccountShares
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario
from portfolio.core.margin.tilt import Tilt, tilt
from portfolio.core.names import Coin, PairId
from portfolio.service import DeskService, DeskSnapshot, OrderCheck, Principal, Scope
from tools.account_mode import sim_of
from tools.headroom import headroom, usd_of_coins
from tools.inputs import Detail, PairName, TargetArgument
from tools.liquidation import found_prices
from tools.results import Common, MarginBlock, head, margin_block, ratio, usd
from tools.simulate_text import simulation_text
from tools.spec import READING, Arguments, Tool
from tools.tilt import JointMoveBlock, joint_move
from tools.venue_check import VenueCheckBlock, perpetual_changes, venue_check
from tools.what_if import ScenarioArgument, own_scenarios, wanted_targets

#: Stresses shown without `detail: full`.
_CONCISE_MAX = 3


class SimulateArguments(Arguments):
    """Input. Without targets it values the account as it is."""

    targets: Annotated[tuple[TargetArgument, ...], Field(max_length=40)] = ()
    only: Annotated[
        bool, Field(description="true: the targets are the whole book, pairs not named are closed.")
    ] = False
    stress: Annotated[
        bool, Field(description="Show the standard stresses; they decide whether it is allowed in any case.")
    ] = True
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
    maintenance_margin_usd: str
    keeps_lines: bool = Field(description="Whether it keeps the lines that the book is held to under stress.")
    own: bool = Field(description="One of your scenarios: told, never a reason to refuse.")


class ShareBlock(BaseModel):
    """What somebody bears when everybody bears the average."""

    initial_margin_usd: str
    maintenance_margin_usd: str
    haircut_usd: str
    adjusted_equity_usd: str
    borrowed_usd: str


class SharesBlock(BaseModel):
    """The account, divided: pairs' averages and the treasury add up to it exactly, to the cent."""

    treasury: ShareBlock = Field(description="What no pair bears; cents of rounding are in it.")
    account: ShareBlock


class PairMarginBlock(BaseModel):
    """What one pair adds to the account after the change: with it less without it."""

    pair: str
    notional_usd: str = Field(description="One leg.")
    quantity_coins: str
    initial_margin_usd: str
    maintenance_margin_usd: str
    haircut_usd: str
    average: ShareBlock = Field(description="Of all pairs and the treasury: the account, see shares.")
    liquidation_below_usd: str | None = Field(
        description="Price of the coin alone at which the ACCOUNT liquidates, on the way down; null: none."
    )
    liquidation_above_usd: str | None = Field(description="The same on the way up, to ten times; null: none.")


class FindMaxBlock(BaseModel):
    """The largest size of one pair."""

    pair: str
    max_notional_usd: str = Field(description="One leg, absolute; as a target it is allowed.")
    max_quantity_coins: str = Field(description="One leg.")
    lot_coins: str = Field(description="One lot more is refused.")
    more_usd: str = Field(description="On top of its size in this simulation.")
    binding_limit: str


class SimulateResult(Common):
    """Output."""

    before: MarginBlock
    after: MarginBlock
    allowed: bool = Field(
        description="No limit refuses it. What else is in the way (old data, freeze, halt): see warnings."
    )
    blocked_by: list[str] = Field(description="Names of the limits that refuse it.")
    find_max: FindMaxBlock | None
    per_pair: list[PairMarginBlock]
    shares: SharesBlock
    worst_stress: StressBlock | None = Field(
        description="Of the standard ones; of your own where those are not shown."
    )
    stresses: list[StressBlock]
    joint_move: JointMoveBlock
    liquidates_at_ratio: str = Field(
        description="Adjusted equity over maintenance margin at which this venue liquidates."
    )
    venue_check: VenueCheckBlock | None
    assumptions: list[str]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was computed."""

    simulation: Simulation
    room: Headroom | None
    tilt: Tilt
    ends: Mapping[Coin, LiquidationPrices]
    #: What the stresses' names stand for.
    scenarios: Mapping[str, Scenario]
    mode: AccountMode


async def simulate_margin(
    desk: DeskService, principal: Principal, arguments: SimulateArguments
) -> SimulateResult:
    """Simulate on the desk's snapshot; meanwhile the venue is asked about the perpetual legs.

    Raises:
        AccessError: the token lacks the scope.
        MissingDataError: an input is not there.
        InputError: a pair, coin or scenario that does not exist here, is named twice, or contradicts another.
    """
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
    pairs = {pair.spec.pair_id: pair.spec for pair in snapshot.pairs}
    targets = wanted_targets(
        state, pairs, snapshot.legs, arguments.targets, only=arguments.only, find_max=arguments.find_max
    )
    scenarios = own_scenarios(state, arguments.scenarios)
    changes = perpetual_changes(snapshot, state, pairs, targets)
    checks: list[OrderCheck] = []

    async def ask() -> None:
        try:
            checks.extend(await desk.check_orders(principal, changes))
        except CarrydeskError as error:
            absent = [
                OrderCheck(row.instrument_id, row.quantity, None, None, error.message) for row in changes
            ]
            checks.extend(absent)

    work = partial(_simulated, snapshot, state, arguments, targets, scenarios)
    answer: _Answer | CarrydeskError
    async with anyio.create_task_group() as tasks:
        if changes:
            tasks.start_soon(ask)
        try:
            answer = await anyio.to_thread.run_sync(work)
        except CarrydeskError as error:
            answer = error  # raised below: a task group would wrap it
            tasks.cancel_scope.cancel()
    if isinstance(answer, CarrydeskError):
        raise answer
    return _result(snapshot, arguments, answer, checks)


def _simulated(
    snapshot: DeskSnapshot,
    state: MarginState,
    arguments: SimulateArguments,
    targets: Mapping[PairId, Decimal],
    scenarios: Sequence[Scenario],
) -> _Answer:
    sim = sim_of(snapshot)
    pairs = {pair.spec.pair_id: pair.spec for pair in snapshot.pairs}
    simulation = sim.simulate(state, pairs, snapshot.legs, targets, also=scenarios, limits=snapshot.limits)
    after = simulation.state
    standard = {row.name: row for row in sim.scenarios(after)}
    for row in scenarios:
        if row.name in standard:
            raise InputError(
                f"{row.name!r} is the name of a standard stress.",
                field="scenarios",
                next_step="Give yours another name.",
            )
    room = None
    if arguments.find_max is not None:
        growing = [name for name, to in targets.items() if to > size_of(snapshot.legs[name])]
        room = headroom(snapshot, after, simulation.legs, PairId(arguments.find_max), growing)
    coins = sorted({pairs[row.pair_id].coin for row in simulation.pairs if row.quantity > 0})
    search = sim.search(after)
    return _Answer(
        simulation=simulation,
        room=room,
        tilt=tilt(sim.rule, after, search.factors),
        ends=found_prices(search, coins),
        scenarios=standard | {row.name: row for row in scenarios},
        mode=sim.mode,
    )


def _result(
    snapshot: DeskSnapshot, arguments: SimulateArguments, answer: _Answer, checks: Sequence[OrderCheck]
) -> SimulateResult:
    simulation, room = answer.simulation, answer.room
    full = arguments.detail == "full"
    stresses = _stresses(snapshot, answer, standard=arguments.stress)
    told = [row for number, row in enumerate(stresses) if full or row.own or number < _CONCISE_MAX]
    shown = [row for row in simulation.pairs if full or row.quantity > 0]
    coins = {pair.spec.pair_id: pair.spec.coin for pair in snapshot.pairs}
    return SimulateResult(
        **head(snapshot, _summary(snapshot, simulation, stresses), _next(snapshot, simulation)),
        before=margin_block(simulation.before),
        after=margin_block(simulation.after),
        allowed=simulation.allowed,
        blocked_by=list(simulation.blocked_by),
        find_max=None if room is None else _find_max(snapshot, room),
        per_pair=[_pair(row, answer.ends.get(coins[row.pair_id])) for row in shown],
        shares=_shares(simulation),
        worst_stress=_worst(stresses),
        stresses=told,
        joint_move=joint_move(answer.tilt, simulation),
        liquidates_at_ratio=plain(answer.mode.liquidation_line),
        venue_check=venue_check(snapshot, checks, full=full),
        assumptions=[*_ASSUMPTIONS, *answer.mode.assumptions],
    )


def _pair(row: PairMargin, end: LiquidationPrices | None) -> PairMarginBlock:
    return PairMarginBlock(
        pair=row.pair_id,
        notional_usd=usd(row.notional_usd),
        quantity_coins=plain(row.quantity),
        initial_margin_usd=usd(row.initial_margin),
        maintenance_margin_usd=usd(row.maintenance_margin),
        haircut_usd=usd(row.haircut_usd),
        average=_share(row.average),
        liquidation_below_usd=None if end is None else _price(end.below),
        liquidation_above_usd=None if end is None else _price(end.above),
    )


def _share(row: MarginShare) -> ShareBlock:
    return ShareBlock(
        initial_margin_usd=usd(row.initial_margin),
        maintenance_margin_usd=usd(row.maintenance_margin),
        haircut_usd=usd(row.haircut_usd),
        adjusted_equity_usd=usd(row.adjusted_equity),
        borrowed_usd=usd(row.borrowed_usd),
    )


def _shares(simulation: Simulation) -> SharesBlock:
    """To the cent, by the rule of the remainder: the treasury's is the account's less what pairs show."""
    pairs = [_share(row.average) for row in simulation.pairs]
    account = _share(
        AccountShares({row.pair_id: row.average for row in simulation.pairs}, simulation.treasury).total()
    )
    left = {
        name: plain(
            Decimal(getattr(account, name)) - sum((Decimal(getattr(row, name)) for row in pairs), start=ZERO)
        )
        for name in ShareBlock.model_fields
    }
    return SharesBlock(treasury=ShareBlock(**left), account=account)


def _price(value: Decimal | None) -> str | None:
    """A price with six digits: coins cost from 1e-6 to 1e5 USD."""
    return None if value is None else plain(Decimal(f"{value:.6g}"))


_ASSUMPTIONS = (
    "Trades fill at mark and index prices and pay the account's taker fees.",
    "A spot purchase borrows what the wallet lacks; a sale repays debt of its coin.",
    "Open orders stay in place. Each stress is immediate and without transfers.",
    "Market stresses move every coin alike (beta 1) and leave stable ones; betas are yours, in scenarios.",
    (
        "borrow rates x3 books a day's interest on every debt at three times today's rates at once: no "
        "margin rule reads a rate."
    ),
    "A coin without a price or a collateral table that is only held counts nothing.",
    "venue_check.orders: the venue answers for each perpetual leg alone, taken as filled at once.",
)


def _worst(stresses: Sequence[StressBlock]) -> StressBlock | None:
    """The worst of the standard stresses, or of the caller's own where those are not shown."""
    standard = [row for row in stresses if not row.own]
    return next(iter(standard or stresses), None)


def _summary(snapshot: DeskSnapshot, simulation: Simulation, stresses: Sequence[StressBlock]) -> str:
    before, after = simulation.before.health_score, simulation.after.health_score
    text = f"Health {ratio(before, 3)} to {ratio(after, 3)}"
    worst = _worst(stresses)
    if worst is not None and not worst.own:
        text += f"; worst stress {worst.scenario}: {ratio(Decimal(worst.health_score), 3)}"
    for row in [row for row in stresses if row.own][:_CONCISE_MAX]:
        text += f"; your {row.scenario}: {ratio(Decimal(row.health_score), 3)}"
    verdict = "allowed" if simulation.allowed else f"refused by {_some(simulation.blocked_by)}"
    if snapshot.stale:
        verdict += " on data that is missing or too old"
    return f"{text}; {verdict}."


def _some(names: Sequence[str]) -> str:
    """A few of them, and how many more there are."""
    more = len(names) - _CONCISE_MAX
    return ", ".join(names[:_CONCISE_MAX]) + (f" and {more} more" if more > 0 else "")


def _next(snapshot: DeskSnapshot, simulation: Simulation) -> str:
    if snapshot.stale:
        late = ", ".join(snapshot.stale)
        return f"Wait until the data is fresh ({late}), then call again; until then no risk can be added."
    if simulation.allowed:
        return "propose_rebalance stores it for the operator, if the user wants it."
    return "Lower the sizes; find_max gives the largest that fits."


def _stresses(snapshot: DeskSnapshot, answer: _Answer, *, standard: bool) -> list[StressBlock]:
    """Worst health first; the caller's own always."""
    found = []
    for row in answer.simulation.stresses:
        scenario, usage = answer.scenarios[row.scenario], row.figures.margin_usage
        own = not scenario.binding
        if standard or own:
            breaches = stress_breaches(scenario, row.figures, snapshot.limits, Lines.BOOK)
            block = StressBlock(
                scenario=row.scenario,
                health_score=ratio(row.figures.health_score),
                margin_usage=None if usage is None else ratio(usage),
                adjusted_equity_usd=usd(row.figures.adjusted_equity),
                maintenance_margin_usd=usd(row.figures.maintenance_margin),
                keeps_lines=next(breaches, None) is None,
                own=own,
            )
            found.append(block)
    return found


def _find_max(snapshot: DeskSnapshot, room: Headroom) -> FindMaxBlock:
    assert snapshot.state is not None, "a simulation was made from it"
    pair = next(pair.spec for pair in snapshot.pairs if pair.spec.pair_id == room.pair_id)
    price, lot = leg_price_usd(snapshot.state, pair), lot_of(snapshot.state, pair)
    return FindMaxBlock(
        pair=room.pair_id,
        max_notional_usd=plain(usd_of_coins(room.target, price, lot)),
        max_quantity_coins=plain(room.target),
        lot_coins=plain(lot),
        more_usd=usd(room.notional_usd),
        binding_limit=room.binding,
    )


TOOL = Tool(
    name="simulate_margin",
    title="Margin what-if",
    description=(
        "What the whole account's margin would be after moving pairs to these sizes (USD of ONE leg, "
        "absolute), and under stress: each coin +-30 %, the market +-20 and +-40 %, collateral ratios -5 "
        "points, staked coins -5 %, borrow rates x3, and your own scenarios. Says whether the desk would "
        "allow it and which limit refuses, which way the account is hurt, where it liquidates, what each "
        "pair bears, and how far our figures are from the venue's; find_max gives the largest size of one "
        "pair and what binds. Changes nothing, asks nobody. Use it before propose_rebalance."
    ),
    arguments=SimulateArguments,
    result=SimulateResult,
    hints=READING,
    run=simulate_margin,
    text=simulation_text,
)
