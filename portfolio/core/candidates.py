"""From the desk's state to the selector's candidates. Pure; what is missing stays missing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from portfolio.core.carry import CarrySeries, carry_series
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import MissingDataError
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.limits import BookLimits, TradeLimits
from portfolio.core.market import FundingOutlook, Level, Quote, Settlement
from portfolio.core.names import Coin, InstrumentId, PairId
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.risk import LeveragePolicy, RiskTables
from portfolio.core.scoring import PairFacts
from portfolio.core.selection import Candidate
from portfolio.core.staking import UNDERLYING
from portfolio.core.trade_cost import slippage_bps, trade_cost_bps

#: At the reference utilisation of 4x, half of the spot leg is paid with borrowed quote coin.
BORROWED_SHARE = 0.5
_HOURS_A_YEAR = 24 * 365
_BPS = 10_000.0


@dataclass(frozen=True, slots=True)
class CandidateInput:
    """What candidates are built from, at one moment."""

    pairs: Mapping[PairId, PairSpec]
    legs: Mapping[PairId, PairLegs]
    instruments: Mapping[InstrumentId, Instrument]
    #: By the pair's perpetual, oldest first; a pair without an entry has no history.
    settlements: Mapping[InstrumentId, tuple[Settlement, ...]]
    quotes: Mapping[InstrumentId, Quote]
    funding: Mapping[InstrumentId, FundingOutlook]
    tables: RiskTables
    #: Mark or index by instrument, for what is held.
    reference_prices: Mapping[InstrumentId, Decimal]
    #: Yield of holding a liquid-staking token, a fraction a year, by token; None or absent: not known.
    staking_aprs: Mapping[Coin, Decimal | None] = field(default_factory=dict)
    #: Largest share of the visible depth that a pair may be.
    depth_share_max: Decimal = BookLimits().depth_share_max
    #: What the engine trades at a time, USD of one leg.
    slice_usd: Decimal = TradeLimits().slice_notional_max
    leverage: LeveragePolicy = field(default_factory=LeveragePolicy)


def candidates(given: CandidateInput) -> tuple[Candidate, ...]:
    """One candidate per pair, in the order of the pairs.

    Raises:
        MissingDataError: something held has no price.
    """
    return tuple(_candidate(pair, given) for pair in given.pairs.values())


def _candidate(pair: PairSpec, given: CandidateInput) -> Candidate:
    perpetual = given.instruments[pair.lead_leg]
    short = pair.lead_leg == pair.short_leg
    held = given.legs[pair.pair_id].hedged
    series, missing = _series(given.settlements.get(pair.lead_leg, ()), short_perpetual=short)
    return Candidate(
        pair_id=pair.pair_id,
        narrative=pair.narrative,
        series=series,
        missing=missing,
        interval_minutes=perpetual.funding_interval_minutes,
        facts=PairFacts(
            predicted_apr=predicted_apr(given.funding.get(pair.lead_leg), short_perpetual=short),
            borrow_apr=_borrow_apr(pair, given),
            leverage_apr=_borrow_apr(pair, given) if short else 0.0,
            staking_apr=_staking_apr(pair, given),
            basis_bps=_basis_bps(pair, given),
        ),
        round_trip_cost_bps=round_trip_cost_bps(pair, given),
        held_usd=held if held == 0 else held * _reference(given, pair.lead_leg),
        liquidity_usd=float(given.depth_share_max * _depth_usd(pair, given.quotes)),
        narrative_use=margin_share(pair, given),
    )


def _series(rows: tuple[Settlement, ...], *, short_perpetual: bool) -> tuple[CarrySeries | None, str]:
    """The history, or why there is none: one unusable history must not stop the other pairs."""
    if not rows:
        return None, "the venue has no settlements of it"
    try:
        return carry_series(rows, short_perpetual=short_perpetual), ""
    except MissingDataError as error:
        return None, error.message


def _reference(given: CandidateInput, leg: InstrumentId) -> Decimal:
    price = given.reference_prices.get(leg)
    if price is None:
        raise MissingDataError(f"No price of {leg}, which is held.", field="prices")
    return price


def predicted_apr(outlook: FundingOutlook | None, *, short_perpetual: bool) -> float | None:
    """The running estimate as a fraction a year in the pair's direction; None when unknown."""
    if outlook is None:
        return None
    apr = float(outlook.predicted_rate) * _HOURS_A_YEAR * 60 / outlook.interval_minutes
    return apr if short_perpetual else -apr


def _borrow_apr(pair: PairSpec, given: CandidateInput) -> float:
    """Interest on what the pair borrows, a share of one leg a year: quote forward, the coin in reverse.

    An unknown rate counts as infinite: such a pair never pays.
    """
    spot = given.instruments[pair.hedge_leg]
    coin: Coin = spot.quote if pair.lead_leg == pair.short_leg else spot.base
    table = given.tables.borrow.get(coin)
    if table is None:
        return float("inf")
    share = BORROWED_SHARE if coin == spot.quote else 1.0
    return float(table.hourly_rate) * _HOURS_A_YEAR * share


def _staking_apr(pair: PairSpec, given: CandidateInput) -> float | None:
    """What holding the spot leg yields a year; negative when the leg is short and its lender is owed it.

    A plain coin yields nothing. The unknown yield of a token that is held is None; of one that is owed it
    counts as infinite, like an unknown borrow rate: such a pair never pays.
    """
    coin = given.instruments[pair.hedge_leg].base
    if coin not in UNDERLYING:
        return 0.0
    known = given.staking_aprs.get(coin)
    if pair.hedge_leg == pair.long_leg:
        return None if known is None else float(known)
    return float("-inf") if known is None else -float(known)


def _basis_bps(pair: PairSpec, given: CandidateInput) -> float | None:
    """Perpetual over spot in bps, in the pair's direction; None while a price is missing."""
    perpetual, spot = given.quotes.get(pair.lead_leg), given.quotes.get(pair.hedge_leg)
    if perpetual is None or spot is None or not (perpetual.bids and spot.asks):
        return None
    basis = float(perpetual.bids[0].price / spot.asks[0].price) - 1.0
    return (basis if pair.lead_leg == pair.short_leg else -basis) * _BPS


def round_trip_cost_bps(pair: PairSpec, given: CandidateInput) -> float | None:
    """Entering and leaving in normal mode at this account's fees and the books seen now, bps of one leg.

    Slippage is that of one slice, because the engine waits for the book between slices. None while a fee or
    a side of a book is missing.
    """
    lead, hedge = given.quotes.get(pair.lead_leg), given.quotes.get(pair.hedge_leg)
    lead_fees, hedge_fees = given.tables.fees.get(pair.lead_leg), given.tables.fees.get(pair.hedge_leg)
    if lead is None or hedge is None or lead_fees is None or hedge_fees is None:
        return None
    size = min(given.slice_usd, given.depth_share_max * _depth_usd(pair, given.quotes))
    slips = (slippage_bps(lead, size), slippage_bps(hedge, size)) if size > 0 else (None, None)
    if slips[0] is None or slips[1] is None:
        return None
    lead_buy, lead_sell = slips[0]
    hedge_buy, hedge_sell = slips[1]
    one_way = trade_cost_bps(lead_fees, hedge_fees, lead_sell, hedge_buy)
    return one_way + trade_cost_bps(lead_fees, hedge_fees, lead_buy, hedge_sell)


def _depth_usd(pair: PairSpec, quotes: Mapping[InstrumentId, Quote]) -> Decimal:
    """Value of the thinnest side of the two books as far as they are seen; 0 while one is missing.

    A pair without a book is refused by its unknown cost already; held, it may not grow.
    """
    sides: list[tuple[Level, ...]] = []
    for leg in (pair.long_leg, pair.short_leg):
        quote = quotes.get(leg)
        sides += [(), ()] if quote is None else [quote.bids, quote.asks]
    return min(sum((level.price * level.quantity for level in side), ZERO) for side in sides)


def margin_share(pair: PairSpec, given: CandidateInput) -> float | None:
    """Margin that one USD of the pair consumes at the lowest tiers: initial margin + haircut + borrow margin.

    An estimate at reference leverage for sharing out a narrative's budget; the margin simulation decides.
    None while a table is missing.
    """
    tables, spot = given.tables, given.instruments[pair.hedge_leg]
    forward = pair.lead_leg == pair.short_leg
    tiers, borrow = (
        tables.positions.get(pair.lead_leg),
        tables.borrow.get(spot.quote if forward else spot.base),
    )
    collateral = tables.collateral.get(spot.base)
    if not tiers or borrow is None or not borrow.tiers or collateral is None or not collateral.tiers:
        return None
    initial = max(tiers[0].initial_rate, ONE / given.leverage.perpetual)
    lent = max(borrow.tiers[0].initial_rate, ONE / given.leverage.borrow)
    if not forward:
        return float(initial + lent)
    haircut = ONE - (collateral.tiers[0].ratio if collateral.enabled else ZERO)
    return float(initial + haircut) + BORROWED_SHARE * float(lent)


def perpetuals(
    pairs: Mapping[PairId, PairSpec], instruments: Mapping[InstrumentId, Instrument]
) -> frozenset[InstrumentId]:
    """The perpetuals whose settlements the candidates need."""
    legs = {leg for pair in pairs.values() for leg in (pair.long_leg, pair.short_leg)}
    return frozenset(leg for leg in legs if instruments[leg].kind is InstrumentKind.PERPETUAL)
