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
from portfolio.core.margin.stress import Scenario
from portfolio.core.names import Coin, InstrumentId, PairId
from portfolio.core.pairs import PairLegs, PairSpec
from tools.inputs import Amount, TargetArgument
from tools.spec import Arguments

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


def wanted_targets(
    state: MarginState,
    pairs: Mapping[PairId, PairSpec],
    legs: Mapping[PairId, PairLegs],
    wanted: Sequence[TargetArgument],
    *,
    only: bool,
) -> dict[PairId, Decimal]:
    """Coins of one leg by pair, whole lots, never more than asked for.

    Args:
        state: Prices and lots.
        pairs: Every pair of the desk.
        legs: What each of them holds.
        wanted: As the caller sent it.
        only: Pairs that are not named are closed.

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
    _refuse_opposites(pairs, legs, targets)
    return targets


def _refuse_opposites(
    pairs: Mapping[PairId, PairSpec], legs: Mapping[PairId, PairLegs], targets: Mapping[PairId, Decimal]
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
                field="targets",
                next_step="Set one of them to 0.",
            )


def own_scenarios(state: MarginState, wanted: Sequence[ScenarioArgument]) -> tuple[Scenario, ...]:
    """The caller's stresses.

    Raises:
        UnknownNameError: a coin that has no price here.
        InputError: a name is used twice.
    """
    found: dict[str, Scenario] = {}
    for one in wanted:
        for coin in one.moves:
            if Coin(coin) not in state.prices.usd:
                raise UnknownNameError(
                    f"{coin} has no price here.", field="scenarios", next_step="Name coins such as SOL."
                )
        if one.name in found:
            raise InputError(
                f"Two scenarios are named {one.name!r}.",
                field="scenarios",
                next_step="Give each its own name.",
            )
        factors = {Coin(coin): ONE + move for coin, move in one.moves.items()}
        found[one.name] = Scenario(one.name, factors, ratio_shift=one.collateral_ratio_shift)
    return tuple(found.values())
