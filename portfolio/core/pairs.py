"""Carry pairs: long one leg, short another of the same coin; price cancels and funding is earned."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from portfolio.core.names import Coin, InstrumentId, Narrative, PairId


@dataclass(frozen=True, slots=True)
class PairSpec:
    """What a pair is made of. `SOL@bybit` is long spot, short perpetual; `:reverse` the other way round."""

    pair_id: PairId
    coin: Coin
    narrative: Narrative
    long_leg: InstrumentId
    short_leg: InstrumentId
    #: The perpetual that leads entries and exits in normal mode (one of the two legs).
    lead_leg: InstrumentId

    @property
    def hedge_leg(self) -> InstrumentId:
        """The leg that follows the lead."""
        return self.long_leg if self.lead_leg == self.short_leg else self.short_leg


class PairStatus(StrEnum):
    """Where a pair is in its life."""

    FLAT = "flat"
    ENTERING = "entering"
    HELD = "held"
    EXITING = "exiting"
    #: A lead whose hedge was refused is being taken back.
    UNWINDING = "unwinding"
    #: The guard has it; the engine may not touch it.
    GUARDED = "guarded"


@dataclass(frozen=True, slots=True)
class PairLegs:
    """What a pair holds now, in base coins. Both sides are magnitudes, >= 0."""

    pair_id: PairId
    long_quantity: Decimal
    short_quantity: Decimal

    @property
    def hedged(self) -> Decimal:
        """Coins held on both sides."""
        return min(self.long_quantity, self.short_quantity)

    @property
    def unhedged(self) -> Decimal:
        """Net delta in coins: + when the long side is larger."""
        return self.long_quantity - self.short_quantity


@dataclass(frozen=True, slots=True)
class ArbitragePair:
    """A pair in the book."""

    spec: PairSpec
    symbol: str
    #: Target size of one leg, in base coins, absolute.
    size: Decimal
    #: 0..; None while it cannot be scored, which also makes it untradable.
    quality_score: Decimal | None
    status: PairStatus
    narrative: Narrative
