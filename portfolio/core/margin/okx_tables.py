"""What OKX's rules read beyond the generic risk tables.

No endpoint lists the parameters of the portfolio mode: they come from the venue's announcements (see
`okx_parameters`), and everything here is per account, as last fetched or decided.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from portfolio.core.names import Coin, InstrumentId


@dataclass(frozen=True, slots=True)
class OkxSizeTier:
    """A number that holds for the whole of a size that is at most `usd_to` (None: no end)."""

    usd_to: Decimal | None
    #: A multiplier (MR7) or a rate of the hedged value (MR9).
    factor: Decimal


@dataclass(frozen=True, slots=True)
class OkxUnit:
    """Portfolio-mode parameters of one risk unit: one underlying coin with all its contracts and its spot."""

    #: MR1: price moves that are tried, fractions, both directions and 0.
    shocks: tuple[Decimal, ...]
    #: MR6: the extreme move tried both ways, a fraction, and the share of its loss that is charged.
    extreme: Decimal
    extreme_share: Decimal
    #: MR4: of every perpetual's |delta|, a fraction.
    basis_rate: Decimal
    #: MR7: of every perpetual's |delta|, a fraction; its multipliers by the unit's gross delta, ascending.
    reduction_rate: Decimal
    reduction_tiers: tuple[OkxSizeTier, ...]


@dataclass(frozen=True, slots=True)
class OkxTables:
    """Settings and tables of one OKX account."""

    #: The account's own spot taker fee, a fraction >= 0: what buying back a liability would cost.
    spot_taker_fee: Decimal
    #: Leverage set per coin for borrowing it; the operator's borrow leverage where absent.
    borrow_leverage: Mapping[Coin, Decimal] = field(default_factory=dict)
    #: Coins over the venue's collateral cap (`colRes` 2): they count as margin, but back no new orders.
    restricted: frozenset[Coin] = field(default_factory=frozenset)
    #: Portfolio mode: parameters per underlying coin.
    units: Mapping[Coin, OkxUnit] = field(default_factory=dict)
    #: Portfolio mode: most spot that the operator lets offset contracts, coins; no cap where absent.
    spot_in_use_max: Mapping[Coin, Decimal] = field(default_factory=dict)
    #: Portfolio mode, MR9: rate by the value hedged between contracts of different quote coins, ascending.
    hedge_tiers: tuple[OkxSizeTier, ...] = ()
    #: Portfolio mode: largest position of a perpetual, base coins; none known where absent.
    position_max: Mapping[InstrumentId, Decimal] = field(default_factory=dict)
