"""From wanted USD sizes to exact targets in coins, with price bounds, costs and carry.

Pure: everything it needs is in `DraftInput`. Quantities are rounded towards zero to the coarser lot of the
two legs, so a proposal never asks for more than was wanted. Bounds are the worst price at which each leg may
trade: the drift limit away from the reference price, in the direction that hurts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import (
    ONE,
    ZERO,
    round_down_to_step,
    round_toward_zero_to_step,
    round_up_to_step,
)
from portfolio.core.errors import InputError, MissingDataError, NumberError, UnknownNameError
from portfolio.core.instrument import Instrument
from portfolio.core.intents import DriftBounds, LegBound, Target
from portfolio.core.market import FundingOutlook
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.risk import FeeRates

#: More than this for one leg is a typing error, not a trade, whatever the account.
NOTIONAL_MAX_USD = Decimal("1e9")
_MINUTES_A_DAY = Decimal(24 * 60)


@dataclass(frozen=True, slots=True)
class DraftInput:
    """The desk's state as a draft needs it. Prices in quote per base."""

    pairs: Mapping[PairId, PairSpec]
    legs: Mapping[PairId, PairLegs]
    instruments: Mapping[InstrumentId, Instrument]
    #: Mark of a perpetual, index of a spot instrument.
    reference_prices: Mapping[InstrumentId, Decimal]
    fees: Mapping[InstrumentId, FeeRates]
    funding: Mapping[InstrumentId, FundingOutlook]
    drift: DriftBounds


@dataclass(frozen=True, slots=True)
class DraftChange:
    """One pair's change, exact.

    USD at reference prices; cost positive; carry signed, per day at the target.
    """

    target: Target
    from_usd: Decimal
    to_usd: Decimal
    cost_usd: Decimal
    #: Share of one leg's value earned per day at the predicted rate.
    carry_share_per_day: Decimal

    @property
    def carry_usd_per_day(self) -> Decimal:
        """At the target."""
        return self.to_usd * self.carry_share_per_day

    @property
    def carry_usd_per_day_before(self) -> Decimal:
        """As held now."""
        return self.from_usd * self.carry_share_per_day


@dataclass(frozen=True, slots=True)
class Draft:
    """All changes that remain, and the wanted pairs that do not with the reason."""

    changes: tuple[DraftChange, ...]
    skipped: tuple[tuple[PairId, str], ...]


def draft(wanted: Sequence[tuple[PairId, Decimal]], given: DraftInput, *, reduce_only: bool) -> Draft:
    """Turn wanted USD of one leg by pair (absolute) into exact changes.

    Raises:
        UnknownNameError: a pair this desk does not know.
        InputError: a pair named twice, or a larger size in a reduce-only request.
        NumberError: a size below zero or absurd.
        MissingDataError: a price, fee or funding outlook that is needed is not there.
    """
    seen: set[PairId] = set()
    changes: list[DraftChange] = []
    skipped: list[tuple[PairId, str]] = []
    for pair_id, usd in wanted:
        _check(pair_id, usd, seen, given)
        seen.add(pair_id)
        change = _change(given.pairs[pair_id], usd, given)
        why = _skip(change, given.pairs[pair_id], given)
        if why is not None:
            skipped.append((pair_id, why))
            continue
        if reduce_only and change.target.to_quantity > change.target.from_quantity:
            raise InputError(
                f"{pair_id}: {usd} USD is larger than what is held, in a reduce-only request.",
                field="targets",
                next_step="Lower the size or drop reduce_only.",
            )
        changes.append(change)
    return Draft(tuple(changes), tuple(skipped))


def _check(pair_id: PairId, usd: Decimal, seen: set[PairId], given: DraftInput) -> None:
    if pair_id not in given.pairs:
        raise UnknownNameError(
            f"{pair_id} is not a pair of this desk.",
            field="targets",
            allowed=", ".join(sorted(given.pairs)),
            next_step="Name one of these pairs.",
        )
    if pair_id in seen:
        raise InputError(f"{pair_id} is named twice.", field="targets", next_step="Name each pair once.")
    if not usd.is_finite() or usd < 0 or usd > NOTIONAL_MAX_USD:
        raise NumberError(
            f"{pair_id}: {usd} USD is not a possible size of one leg.",
            field="targets",
            allowed=f"0 to {NOTIONAL_MAX_USD:f}",
            next_step="Send the absolute size of one leg in USD; 0 closes the pair.",
        )


def _price(given: DraftInput, instrument_id: InstrumentId) -> Decimal:
    price = given.reference_prices.get(instrument_id)
    if price is None or price <= 0:
        raise MissingDataError(
            f"No usable price of {instrument_id}.",
            field="prices",
            next_step="Wait for the venue and try again.",
        )
    return price


def coarser_lot(pair: PairSpec, instruments: Mapping[InstrumentId, Instrument]) -> Decimal:
    """The step that both legs can trade, in base coins: the larger of the two lots."""
    return max(instruments[pair.long_leg].lot_size, instruments[pair.short_leg].lot_size)


def _change(pair: PairSpec, usd: Decimal, given: DraftInput) -> DraftChange:
    price = _price(given, pair.lead_leg)
    lot = coarser_lot(pair, given.instruments)
    held = given.legs[pair.pair_id].hedged
    wanted = round_toward_zero_to_step(usd / price, lot)
    moved = abs(wanted - held)
    growing = wanted > held
    bounds = tuple(
        _bound(given, leg, buying=growing == (leg == pair.long_leg))
        for leg in (pair.lead_leg, pair.hedge_leg)
    )
    cost = sum(
        (moved * _price(given, leg) * _fee(given, leg) for leg in (pair.long_leg, pair.short_leg)), ZERO
    )
    return DraftChange(
        target=Target(pair.pair_id, held, wanted, bounds),
        from_usd=held * price,
        to_usd=wanted * price,
        cost_usd=cost,
        carry_share_per_day=_carry_per_day(pair, given),
    )


def _bound(given: DraftInput, leg: InstrumentId, *, buying: bool) -> LegBound:
    price, tick = _price(given, leg), given.instruments[leg].tick_size
    if buying:
        return LegBound(leg, price, round_down_to_step(price * (ONE + given.drift.mark_move_max), tick))
    return LegBound(leg, price, round_up_to_step(price * (ONE - given.drift.mark_move_max), tick))


def _fee(given: DraftInput, leg: InstrumentId) -> Decimal:
    fees = given.fees.get(leg)
    if fees is None:
        raise MissingDataError(
            f"The fee rates of {leg} are unknown.", field="fees", next_step="Wait for the venue."
        )
    return fees.taker


def _carry_per_day(pair: PairSpec, given: DraftInput) -> Decimal:
    """Share of one leg's notional earned per day at the predicted rate; positive when the pair receives."""
    outlook = given.funding.get(pair.lead_leg)
    if outlook is None:
        raise MissingDataError(
            f"The funding of {pair.lead_leg} is unknown.", field="funding", next_step="Wait for the venue."
        )
    per_day = outlook.predicted_rate * _MINUTES_A_DAY / Decimal(outlook.interval_minutes)
    return per_day if pair.lead_leg == pair.short_leg else -per_day


def _skip(change: DraftChange, pair: PairSpec, given: DraftInput) -> str | None:
    moved = abs(change.target.to_quantity - change.target.from_quantity)
    if moved == 0:
        return "already there"
    for leg in (pair.long_leg, pair.short_leg):
        least = given.instruments[leg].notional_min
        if moved * _price(given, leg) < least:
            return f"the change is below the venue's minimum of {least} for {leg}"
    return None
