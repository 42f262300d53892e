"""What a caller wants to be simulated: sizes of pairs, scenarios of its own. Checked, in coins."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from portfolio.core.decimals import ONE, ZERO, round_toward_zero_to_step
from portfolio.core.errors import InputError, UnknownNameError
from portfolio.core.margin.caps import size_of
from portfolio.core.margin.pairing import leg_price_usd, legs_of, lot_of
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import (
    FACTOR_MIN,
    STABLE_COINS,
    Scenario,
    followed_betas,
    market_factors,
)
from portfolio.core.names import Coin, InstrumentId, PairId
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.staking import UNDERLYING
from tools.inputs import Amount, TargetArgument
from tools.spec import Arguments

Move = Annotated[Amount, Field(gt=-1, le=9, description="Fraction by which the price moves: -0.3 is -30 %.")]
Beta = Annotated[Amount, Field(ge=-10, le=10)]
Depeg = Annotated[Amount, Field(gt=-1, le=0, description="Fraction that it loses: -0.05 is -5 %.")]
RatioShift = Annotated[
    Amount, Field(ge=-1, le=0, description="Added to collateral ratios: -0.1 is 90 % to 80 %.")
]


class ScenarioArgument(Arguments):
    """A stress of your own; its parts add up. Staked tokens follow their coin unless they are in moves."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    moves: Annotated[dict[str, Move], Field(max_length=40, description="Move by coin, such as SOL.")] = Field(
        default_factory=dict
    )
    market_move: Annotated[
        Move | None,
        Field(description="Every coin that is not stable and has no move of its own, times its beta."),
    ] = None
    betas: Annotated[
        dict[str, Beta], Field(max_length=40, description="Move per market move, by coin; 1 if not named.")
    ] = Field(default_factory=dict)
    depegs: Annotated[
        dict[str, Depeg], Field(max_length=10, description="By staked token, besides what its coin does.")
    ] = Field(default_factory=dict)
    collateral_ratio_shift: RatioShift = ZERO
    collateral_ratio_shifts: Annotated[
        dict[str, RatioShift], Field(max_length=40, description="By coin, besides the shift of all.")
    ] = Field(default_factory=dict)
    borrow_rate_multiple: Annotated[
        Amount | None, Field(ge=0, le=1000, description="A day's interest at so many times today's rates.")
    ] = None


def wanted_targets(
    state: MarginState,
    pairs: Mapping[PairId, PairSpec],
    legs: Mapping[PairId, PairLegs],
    wanted: Sequence[TargetArgument],
    *,
    only: bool,
    find_max: str | None = None,
) -> dict[PairId, Decimal]:
    """Coins of one leg by pair, whole lots, never more than asked for.

    Args:
        state: Prices and lots.
        pairs: Every pair of the desk.
        legs: What each of them holds.
        wanted: As the caller sent it.
        only: Pairs that are not named are closed.
        find_max: The pair whose largest size on top of them is asked for: it must be able to grow.

    Raises:
        UnknownNameError: not a pair of this desk.
        InputError: a pair is named twice, or two that cancel each other out are both wanted.
        MissingDataError: a price or what a pair holds is not known.
    """
    targets = dict.fromkeys(pairs, ZERO) if only else {}
    named: set[PairId] = set()
    for target in wanted:
        pair = pairs.get(PairId(target.pair))
        if pair is None:
            raise UnknownNameError(
                f"{target.pair} is not a pair of this desk.",
                field="targets",
                allowed=", ".join(sorted(pairs)),
                next_step="Name one of these.",
            )
        if pair.pair_id in named:
            raise InputError(
                f"{pair.pair_id} is named twice.", field="targets", next_step="Name its final size once."
            )
        named.add(pair.pair_id)
        coins = target.notional_usd / leg_price_usd(state, pair)
        targets[pair.pair_id] = round_toward_zero_to_step(coins, lot_of(state, pair))
    _refuse_opposites(pairs, legs, targets, "targets")
    grown = None if find_max is None else pairs.get(PairId(find_max))
    if grown is not None:
        _refuse_opposites(pairs, legs, {**targets, grown.pair_id: ONE}, "find_max")
    return targets


def _refuse_opposites(
    pairs: Mapping[PairId, PairSpec],
    legs: Mapping[PairId, PairLegs],
    targets: Mapping[PairId, Decimal],
    field: str,
) -> None:
    """A pair and its reverse net to nothing at the venue: no account can hold both."""
    long: dict[InstrumentId, PairId] = {}
    short: dict[InstrumentId, PairId] = {}
    for pair_id, pair in pairs.items():
        if targets[pair_id] if pair_id in targets else size_of(legs_of(legs, pair_id)):
            long[pair.long_leg] = short[pair.short_leg] = pair_id
    for instrument_id in long.keys() & short.keys():
        first, second = sorted((long[instrument_id], short[instrument_id]))
        if {first, second} & targets.keys():
            raise InputError(
                f"{first} and {second} cancel each other out on {instrument_id}.",
                field=field,
                next_step="Set one of them to 0.",
            )


def own_scenarios(state: MarginState, wanted: Sequence[ScenarioArgument]) -> tuple[Scenario, ...]:
    """The caller's stresses: answered, never a reason to refuse.

    Raises:
        UnknownNameError: a coin that has no price or no collateral table here.
        InputError: a name is used twice or is a standard stress's; a scenario contradicts itself or changes
            nothing.
    """
    found: dict[str, Scenario] = {}
    for number, one in enumerate(wanted):
        field = f"scenarios.{number}"
        if one.name in found:
            raise InputError(
                f"Two scenarios are named {one.name!r}.",
                field=f"{field}.name",
                next_step="Give each its own name.",
            )
        _known(state, one, field)
        _consistent(one, field)
        found[one.name] = Scenario(
            one.name,
            _factors(state, one),
            ratio_shift=one.collateral_ratio_shift,
            ratio_shifts={Coin(coin): shift for coin, shift in one.collateral_ratio_shifts.items()},
            borrow_multiple=one.borrow_rate_multiple,
            binding=False,
        )
    return tuple(found.values())


def _known(state: MarginState, one: ScenarioArgument, field: str) -> None:
    """Every name in a scenario stands for something here."""
    for part, names in (("moves", one.moves), ("betas", one.betas), ("depegs", one.depegs)):
        for coin in names:
            if Coin(coin) not in state.prices.usd:
                raise UnknownNameError(
                    f"{coin} has no price here.", field=f"{field}.{part}", next_step="Name coins such as SOL."
                )
    for coin in one.collateral_ratio_shifts:
        if Coin(coin) not in state.tables.collateral:
            raise UnknownNameError(
                f"{coin} has no collateral ratio here.",
                field=f"{field}.collateral_ratio_shifts",
                next_step="Name a coin that the venue takes as collateral.",
            )
    for token in one.depegs:
        if Coin(token) not in UNDERLYING:
            raise InputError(
                f"{token} is no staked token: it cannot leave a coin's price.",
                field=f"{field}.depegs",
                allowed=", ".join(UNDERLYING),
                next_step="Name it in moves.",
            )


def _consistent(one: ScenarioArgument, field: str) -> None:
    """A scenario says something, and says it once."""
    if one.betas and one.market_move is None:
        raise InputError(
            "Betas without a market move change nothing.",
            field=f"{field}.betas",
            next_step="Give market_move as well.",
        )
    fixed = sorted(STABLE_COINS.intersection(map(Coin, one.betas)))
    if fixed:
        raise InputError(
            f"{fixed[0]} is stable: it does not move with the market.",
            field=f"{field}.betas",
            next_step="Name it in moves.",
        )
    twice = sorted(one.moves.keys() & (one.depegs.keys() | one.betas.keys()))
    if twice:
        raise InputError(
            f"{twice[0]} has a move of its own, and a beta or a depeg besides.",
            field=f"{field}.moves",
            next_step="Name it once.",
        )
    whole = (one.moves, one.depegs, one.collateral_ratio_shifts, one.collateral_ratio_shift)
    if one.market_move is None and one.borrow_rate_multiple is None and not any(whole):
        raise InputError(
            f"Scenario {one.name!r} changes nothing.",
            field=field,
            allowed="moves, market_move, depegs, collateral_ratio_shift(s), borrow_rate_multiple",
            next_step="Say what it moves.",
        )


def _factors(state: MarginState, one: ScenarioArgument) -> dict[Coin, Decimal]:
    """Price factors by coin."""
    factors: dict[Coin, Decimal] = {}
    if one.market_move is not None:
        betas = followed_betas({Coin(coin): beta for coin, beta in one.betas.items()}, UNDERLYING)
        factors = market_factors(state.prices.usd, one.market_move, betas)
    own = {Coin(coin): ONE + move for coin, move in one.moves.items()}
    tokens = ((token, own[base]) for token, base in UNDERLYING.items() if base in own)
    factors |= {token: factor for token, factor in tokens if token in state.prices.usd}
    factors |= own
    for name, depeg in one.depegs.items():
        token = Coin(name)
        factors[token] = max(FACTOR_MIN, factors.get(token, ONE) * (ONE + depeg))
    return factors
