"""Between pairs and the legs of an account: deltas that move a pair, its legs afterwards, its notional."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import InputError, MissingDataError, UnknownNameError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.apply import Fee
from portfolio.core.margin.lookups import fees_of, instrument_of, mark_of, usd_of
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.tiers import largest_value
from portfolio.core.market import Prices
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.pairs import PairLegs, PairSpec


def pair_of(pairs: Mapping[PairId, PairSpec], pair_id: PairId) -> PairSpec:
    """The pair.

    Raises:
        UnknownNameError: it is not among them.
    """
    found = pairs.get(pair_id)
    if found is None:
        raise UnknownNameError(f"{pair_id} is not a pair of this desk.", field="pair_id")
    return found


def legs_of(legs: Mapping[PairId, PairLegs], pair_id: PairId) -> PairLegs:
    """What the pair holds.

    Raises:
        MissingDataError: it is not known.
    """
    found = legs.get(pair_id)
    if found is None:
        raise MissingDataError(
            f"What {pair_id} holds is not known.",
            field=f"legs.{pair_id}",
            next_step="Read the account again.",
        )
    return found


def deltas_to(pair: PairSpec, legs: PairLegs, target: Decimal) -> dict[InstrumentId, Decimal]:
    """Signed base coins per leg that bring both legs to `target` coins.

    Raises:
        InputError: the target is negative.
    """
    if target < 0:
        raise InputError(
            f"{pair.pair_id}: a target of {target} coins is negative.",
            field="targets",
            allowed=">= 0",
            next_step="Use the reverse pair for the other direction.",
        )
    return {pair.long_leg: target - legs.long_quantity, pair.short_leg: legs.short_quantity - target}


def add_deltas(parts: Iterable[Mapping[InstrumentId, Decimal]]) -> dict[InstrumentId, Decimal]:
    """Sum per instrument: a pair and its reverse trade the same ones."""
    total: dict[InstrumentId, Decimal] = {}
    for part in parts:
        for instrument_id, delta in part.items():
            total[instrument_id] = total.get(instrument_id, ZERO) + delta
    return total


def legs_after(
    state: MarginState, pair: PairSpec, legs: PairLegs, deltas: Mapping[InstrumentId, Decimal], fee: Fee
) -> PairLegs:
    """What the pair holds after trading `deltas` for it: a spot purchase arrives without its fee."""
    return PairLegs(
        pair_id=pair.pair_id,
        long_quantity=legs.long_quantity + _arriving(state, pair.long_leg, deltas[pair.long_leg], fee),
        short_quantity=legs.short_quantity - _arriving(state, pair.short_leg, deltas[pair.short_leg], fee),
    )


def _arriving(state: MarginState, instrument_id: InstrumentId, delta: Decimal, fee: Fee) -> Decimal:
    if delta <= 0 or fee is Fee.NONE or instrument_of(state, instrument_id).kind is InstrumentKind.PERPETUAL:
        return delta
    rates = fees_of(state, instrument_id)
    return delta * (ONE - (rates.taker if fee is Fee.TAKER else rates.maker))


def leg_price_usd(state: MarginState, pair: PairSpec) -> Decimal:
    """USD per coin of one leg: the lead's mark, or its coin's index price when the lead is spot."""
    lead = instrument_of(state, pair.lead_leg)
    if lead.kind is InstrumentKind.SPOT:
        return usd_of(state, lead.base)
    return mark_of(state, pair.lead_leg) * usd_of(state, lead.quote)


def lot_of(state: MarginState, pair: PairSpec) -> Decimal:
    """The coarser of the two legs' lots, base coins."""
    return max(instrument_of(state, leg).lot_size for leg in (pair.long_leg, pair.short_leg))


def lots_beyond(state: MarginState, pair: PairSpec, lot: Decimal) -> int:
    """A number of lots that is certainly beyond the largest position in one of the pair's perpetuals."""
    found = []
    for leg in (pair.long_leg, pair.short_leg):
        if instrument_of(state, leg).kind is InstrumentKind.PERPETUAL:
            held = sum((abs(row.quantity) for row in state.positions if row.instrument_id == leg), start=ZERO)
            mark = mark_of(state, leg)
            found.append(int((largest_value(state.tables, leg, mark) / mark + held) / lot) + 1)
    if not found:
        raise InputError(f"{pair.pair_id} has no perpetual leg.", field="pair_id")
    return min(found)


def legs_traded(pairs: Iterable[PairSpec]) -> set[InstrumentId]:
    """Instruments of these pairs."""
    return {leg for pair in pairs for leg in (pair.long_leg, pair.short_leg)}


def narrowed(state: MarginState, instrument_ids: Iterable[InstrumentId]) -> MarginState:
    """The state with only the prices and ratios that these instruments and the account can touch.

    A venue lists hundreds of symbols; stressing all of them would cost more than valuing the account.
    """
    used = {row.instrument_id for row in state.positions} | {row.instrument_id for row in state.orders}
    used |= set(instrument_ids)
    coins = {row.coin for row in state.balances}
    for instrument_id in used:
        instrument = instrument_of(state, instrument_id)
        coins |= {instrument.base, instrument.quote}
    marks, usd, tables = state.prices.marks, state.prices.usd, state.tables
    return MarginState(
        balances=state.balances,
        positions=state.positions,
        orders=state.orders,
        prices=Prices(
            marks={key: marks[key] for key in sorted(used) if key in marks},
            usd={coin: usd[coin] for coin in sorted(coins) if coin in usd},
        ),
        tables=replace(
            tables, collateral={coin: row for coin, row in tables.collateral.items() if coin in coins}
        ),
        instruments=state.instruments,
        policy=state.policy,
    )
