"""How an account's margin divides over its pairs on average, beside what each pair adds at the margin.

A coin may be leg of several pairs and collateral at once. It is valued once, over all of it, and everybody
who holds some of it bears the same average per coin, in whatever order they came. Per pair and figure:

- Positions: IM and MM of a perpetual go by the coins that each pair has of it, against the larger of the
  position and all pairs' coins together (pairs of opposite direction share the net margin by size).
- Haircuts: a pair is its spot coins, paid for at index prices: + coins of what it holds, - their worth in
  the quote coin. Each coin counts with the account's average haircut per coin of it.
- ECV: a pair paid for at today's prices is worth nothing but what it costs in haircuts. PnL of perpetuals is
  the treasury's: it would be there as well if the pair were closed now.
- Borrowing: who spends a coin bears its loan and the loan's margins by what he spends, at most his own; a
  loan beyond what all pairs spend is the treasury's.

Open orders, and what no pair holds, are the treasury's. Rule of the remainder: every pair's share is rounded
half to even to `STEP`, and the treasury's is the account's figure less all of these, exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.apply import spot_price
from portfolio.core.margin.exact import exact_sum, half_even
from portfolio.core.margin.lookups import instrument_of, usd_of
from portfolio.core.margin.pairing import legs_of
from portfolio.core.margin.results import MarginShare
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.valuation import Valuation
from portfolio.core.names import Coin, InstrumentId, PairId
from portfolio.core.pairs import PairLegs, PairSpec

#: USD; pairs' shares are multiples of it.
STEP = Decimal("1e-8")
_NAMES = tuple(field.name for field in fields(MarginShare))


@dataclass(frozen=True, slots=True)
class AccountShares:
    """The account, divided."""

    pairs: Mapping[PairId, MarginShare]
    #: Everything that is no pair's.
    treasury: MarginShare

    def total(self) -> MarginShare:
        """All shares together: the account, exactly."""
        rows = (*self.pairs.values(), self.treasury)
        return MarginShare(*(exact_sum([getattr(row, name) for row in rows]) for name in _NAMES))


def account_total(state: MarginState, valuation: Valuation) -> MarginShare:
    """What there is to divide.

    Raises:
        MissingDataError: a coin that is owed has no price.
    """
    owed = [row.borrowed * usd_of(state, row.coin) for row in valuation.coins if row.borrowed]
    return MarginShare(
        initial_margin=valuation.figures.initial_margin,
        maintenance_margin=valuation.figures.maintenance_margin,
        haircut_usd=valuation.haircut_usd,
        adjusted_equity=valuation.figures.adjusted_equity,
        borrowed_usd=sum(owed, start=ZERO),
    )


def average_shares(
    state: MarginState,
    valuation: Valuation,
    pairs: Mapping[PairId, PairSpec],
    legs: Mapping[PairId, PairLegs],
) -> AccountShares:
    """Divide an account over its pairs and the treasury.

    Args:
        state: The account.
        valuation: That of `state`, by any margin rule.
        pairs: Every pair of the book.
        legs: What each of them holds.

    Raises:
        MissingDataError: a pair's legs, an instrument or a price is absent.
    """
    books = {key: _Book(state, pair, legs_of(legs, key)) for key, pair in pairs.items()}
    _divide_positions(state, valuation, books)
    _divide_coins(state, valuation, books)
    shares = {key: book.share() for key, book in books.items()}
    whole = account_total(state, valuation)
    left = (
        exact_sum([getattr(whole, name), *(getattr(row, name).copy_negate() for row in shares.values())])
        for name in _NAMES
    )
    return AccountShares(shares, MarginShare(*left))


class _Book:
    """What one pair holds, and its share while it grows."""

    __slots__ = ("borrowed", "coins", "haircut", "initial", "maintenance", "perpetuals")

    def __init__(self, state: MarginState, pair: PairSpec, legs: PairLegs) -> None:
        #: Coins of each perpetual, >= 0.
        self.perpetuals: dict[InstrumentId, Decimal] = {}
        #: Spot coins held (+) and spent (-).
        self.coins: dict[Coin, Decimal] = {}
        self.initial = self.maintenance = self.haircut = self.borrowed = ZERO
        for leg, quantity in ((pair.long_leg, legs.long_quantity), (pair.short_leg, -legs.short_quantity)):
            instrument = instrument_of(state, leg)
            if instrument.kind is InstrumentKind.PERPETUAL:
                self.perpetuals[leg] = abs(quantity)
            elif quantity:
                self._hold(instrument.base, quantity)
                self._hold(instrument.quote, -quantity * spot_price(state, instrument))

    def _hold(self, coin: Coin, quantity: Decimal) -> None:
        self.coins[coin] = self.coins.get(coin, ZERO) + quantity

    def share(self) -> MarginShare:
        """Rounded, as the rule of the remainder says."""
        haircut = half_even(self.haircut, STEP)
        return MarginShare(
            initial_margin=half_even(self.initial, STEP),
            maintenance_margin=half_even(self.maintenance, STEP),
            haircut_usd=haircut,
            adjusted_equity=-haircut,
            borrowed_usd=half_even(self.borrowed, STEP),
        )


def _divide_positions(state: MarginState, valuation: Valuation, books: Mapping[PairId, _Book]) -> None:
    claimed: dict[InstrumentId, Decimal] = {}
    for book in books.values():
        for leg, quantity in book.perpetuals.items():
            claimed[leg] = claimed.get(leg, ZERO) + quantity
    positions = {row.instrument_id: row for row in valuation.legs}
    for book in books.values():
        for leg, quantity in book.perpetuals.items():
            row = positions.get(leg)
            if row is None or not quantity:
                continue
            part = usd_of(state, row.coin) * quantity / max(abs(row.quantity), claimed[leg])
            book.initial += row.initial_margin * part
            book.maintenance += row.maintenance_margin * part


def _divide_coins(state: MarginState, valuation: Valuation, books: Mapping[PairId, _Book]) -> None:
    spent: dict[Coin, Decimal] = {}
    for book in books.values():
        for coin, quantity in book.coins.items():
            spent[coin] = spent.get(coin, ZERO) + max(ZERO, -quantity)
    rows = {row.coin: row for row in valuation.coins}
    for book in books.values():
        for coin, quantity in book.coins.items():
            row = rows.get(coin)
            if row is None:
                continue
            if row.haircut_usd and row.equity:
                book.haircut += quantity * (row.haircut_usd / row.equity)
            if quantity < 0 < row.borrowed:
                part = -quantity / max(row.borrowed, spent[coin])
                book.initial += row.borrow_im * part
                book.maintenance += row.borrow_mm * part
                book.borrowed += row.borrowed * usd_of(state, coin) * part
