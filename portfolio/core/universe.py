"""The pairs that a venue allows: every coin with a spot and a perpetual market in the same quote."""

from collections.abc import Iterable, Mapping

from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.names import Coin, Narrative, PairId, Venue
from portfolio.core.pairs import PairSpec


def carry_pairs(
    instruments: Iterable[Instrument], narratives: Mapping[Coin, Narrative] | None = None
) -> Mapping[PairId, PairSpec]:
    """Long spot, short perpetual for each coin, by pair id, coins in alphabetical order.

    A coin without a narrative is its own: nothing is known to move with it.
    """
    spots: dict[tuple[Venue, Coin, Coin], Instrument] = {}
    perpetuals: dict[tuple[Venue, Coin, Coin], Instrument] = {}
    for row in instruments:
        side = spots if row.kind is InstrumentKind.SPOT else perpetuals
        side[(row.venue, row.base, row.quote)] = row
    found = {}
    for venue, coin, quote in sorted(spots.keys() & perpetuals.keys()):
        spot, perpetual = spots[(venue, coin, quote)], perpetuals[(venue, coin, quote)]
        pair_id = PairId(f"{coin}@{venue}")
        found[pair_id] = PairSpec(
            pair_id=pair_id,
            coin=coin,
            narrative=(narratives or {}).get(coin, Narrative(coin)),
            long_leg=spot.instrument_id,
            short_leg=perpetual.instrument_id,
            lead_leg=perpetual.instrument_id,
        )
    return found
