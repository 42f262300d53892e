"""What a desk with an empty journal takes as treasury: coins that were there before it and hedge nothing."""

from collections.abc import Collection
from decimal import Decimal

from portfolio.core.account import AccountSnapshot
from portfolio.core.decimals import ZERO
from portfolio.core.entries import TreasuryAdopted
from portfolio.core.instrument import Instrument
from portfolio.core.names import Coin

REASON = "held before the desk's first start"


def first_treasury(
    snapshot: AccountSnapshot, instruments: Collection[Instrument]
) -> tuple[TreasuryAdopted, ...]:
    """Coins of the account that belong to no pair, one entry per traded coin that has any.

    Spot that stands against a perpetual is left out: it is a leg of a pair whose journal was lost or renamed.
    Adopted, it would leave the perpetual naked in the desk's eyes, and the guard would close the hedge of
    coins that stay. Left out, both legs are orphans: entries freeze and the operator decides.
    """
    base_of = {row.instrument_id: row.base for row in instruments}
    contracts: dict[Coin, Decimal] = {}
    for position in snapshot.positions:
        base = base_of.get(position.instrument_id)
        if base is not None:
            contracts[base] = contracts.get(base, ZERO) + position.quantity
    entries = []
    for row in snapshot.balances:
        if row.coin not in base_of.values():
            continue
        own = row.wallet - row.spot_borrow
        rest = own - _hedged(own, contracts.get(row.coin, ZERO))
        if rest:
            entries.append(TreasuryAdopted(row.coin, rest, REASON))
    return tuple(entries)


def _hedged(own: Decimal, contracts: Decimal) -> Decimal:
    """The part of `own` that contracts of the other sign stand against; signed like `own`."""
    if own > 0:
        return min(own, max(ZERO, -contracts))
    return max(own, min(ZERO, -contracts))
