"""Whether a proposal that comes again under the same request id is the one that was stored.

An agent whose call got lost repeats it, and must get the same intent; one that asks for something else under
an old id must not be told that this was stored.
"""

from collections.abc import Sequence
from decimal import Decimal

from portfolio.core.decimals import round_toward_zero_to_step
from portfolio.core.intents import Intent, Target
from portfolio.core.names import PairId
from portfolio.core.proposing import DraftInput, coarser_lot, draft


def difference(
    intent: Intent,
    *,
    kind: str,
    reduce_only: bool,
    wanted: Sequence[tuple[PairId, Decimal]],
    given: DraftInput,
) -> str | None:
    """What the repeated request says otherwise than the stored intent; None: they are the same.

    Sizes are compared at the prices of the stored intent. The engine's own targets move with the market, so
    of them only the kind is compared. A wanted pair that the intent does not name was left out when it was
    written, because it was there already or too small to trade; one that holds nothing, and would be entered
    now, cannot have been.

    Args:
        intent: As stored.
        kind: engine_target or changes.
        reduce_only: As asked for now.
        wanted: USD of one leg by pair, absolute.
        given: The desk's state now.

    Raises:
        UnknownNameError: a pair this desk does not know.
        InputError: a pair named twice, or an impossible size.
        MissingDataError: a price, fee or funding outlook that is needed is not there.
    """
    if intent.kind != kind:
        return f"it was {intent.kind}, this one is {kind}"
    if intent.reduce_only != reduce_only:
        return "one of them is reduce-only and the other is not"
    if kind == "engine_target":
        return None
    changes = draft(wanted, given, reduce_only=False).changes
    sizes = dict(wanted)
    for target in intent.targets:
        usd = sizes.pop(target.pair_id, None)
        if usd is None:
            return f"{target.pair_id} is in it and not in this one"
        if _quantity(target, usd, given) != target.to_quantity:
            return f"{target.pair_id} goes to {target.to_quantity} coins in it, which {usd} USD were not"
    entered = (change.target for change in changes if change.target.from_quantity == 0)
    added = (target.pair_id for target in entered if target.pair_id in sizes)
    return next((f"{pair_id} is in this one and not in it" for pair_id in added), None)


def _quantity(target: Target, usd: Decimal, given: DraftInput) -> Decimal:
    """Coins that these USD were when the intent was written."""
    pair = given.pairs[target.pair_id]
    price = next(row.reference_price for row in target.bounds if row.instrument_id == pair.lead_leg)
    return round_toward_zero_to_step(usd / price, coarser_lot(pair, given.instruments))
