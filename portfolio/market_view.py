"""The latest prices and funding outlooks of every instrument: the market half of `AccountView`.

What was never seen raises `MissingDataError`. Prices from before a gap of a public stream stay readable
(reducing must stay possible on stale data) but have no age, so that nothing that adds risk may use them.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

from portfolio.core.errors import MissingDataError, UnknownNameError
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.market import CoinPrice, FundingOutlook, Mark, Prices, Quote
from portfolio.core.names import Coin, InstrumentId
from portfolio.ports import MarketSnapshot

_NEVER = -1

V = TypeVar("V")


class MarketView:
    """Prices of one venue now. Mutated only by `AccountView`."""

    def __init__(self, instruments: Mapping[InstrumentId, Instrument]) -> None:
        self.instruments: Mapping[InstrumentId, Instrument] = MappingProxyType(dict(instruments))
        self._quotes: dict[InstrumentId, Quote] = {}
        self._marks: dict[InstrumentId, Mark] = {}
        self._coins: dict[Coin, CoinPrice] = {}
        self._funding: dict[InstrumentId, FundingOutlook] = {}
        self._gap_wire_ns = _NEVER

    def apply(self, event: Quote | Mark | CoinPrice | FundingOutlook) -> None:
        """Take in one price, unless a later one is known: streams may overtake each other."""
        match event:
            case Quote():
                _newer(self._quotes, event.instrument_id, event)
            case Mark():
                _newer(self._marks, event.instrument_id, event)
            case CoinPrice():
                _newer(self._coins, event.coin, event)
            case FundingOutlook():
                _newer(self._funding, event.instrument_id, event)

    def load(self, market: MarketSnapshot) -> None:
        """Take in every price of one read."""
        for group in (market.quotes, market.marks, market.coins, market.funding):
            for event in group:
                self.apply(event)

    def doubt(self, wire_ns: int) -> None:
        """A public stream had a gap: prices seen until then have no age any more."""
        self._gap_wire_ns = wire_ns

    def instrument(self, instrument_id: InstrumentId) -> Instrument:
        """An instrument by id.

        Raises:
            UnknownNameError: this desk does not trade it.
        """
        found = self.instruments.get(instrument_id)
        if found is None:
            raise UnknownNameError(
                f"{instrument_id} is not an instrument of this desk.", field="instrument_id"
            )
        return found

    def quote(self, instrument_id: InstrumentId) -> Quote:
        """The last book.

        Raises:
            MissingDataError: none was seen.
        """
        return _present(self._quotes.get(instrument_id), "quote", instrument_id)

    def mark(self, instrument_id: InstrumentId) -> Mark:
        """The last mark and index price of a perpetual.

        Raises:
            MissingDataError: none was seen.
        """
        return _present(self._marks.get(instrument_id), "mark", instrument_id)

    def coin_price(self, coin: Coin) -> CoinPrice:
        """The last USD index price of a coin.

        Raises:
            MissingDataError: none was seen.
        """
        return _present(self._coins.get(coin), "coin_price", coin)

    def funding(self, instrument_id: InstrumentId) -> FundingOutlook:
        """The last funding outlook.

        Raises:
            MissingDataError: none was seen.
        """
        return _present(self._funding.get(instrument_id), "funding", instrument_id)

    def reference_price(self, instrument_id: InstrumentId) -> Decimal:
        """Worth in quote: the mark of a perpetual; for spot the index, else the middle of the book.

        Raises:
            MissingDataError: no price was seen, or a side of the book is empty and there is no index.
        """
        instrument = self.instrument(instrument_id)
        if instrument.kind is InstrumentKind.PERPETUAL:
            return self.mark(instrument_id).mark_price
        for other_id, mark in self._marks.items():
            other = self.instruments.get(other_id)
            if other is not None and (other.base, other.quote) == (instrument.base, instrument.quote):
                return mark.index_price
        quote = self.quote(instrument_id)
        if not quote.bids or not quote.asks:
            raise MissingDataError(f"{instrument_id} has no two-sided book.", field="quote")
        return (quote.bids[0].price + quote.asks[0].price) / 2

    def prices(self) -> Prices:
        """A copy of every mark and coin price."""
        return Prices(
            marks={key: mark.mark_price for key, mark in self._marks.items()},
            usd={coin: price.usd for coin, price in self._coins.items()},
        )

    def seen_of_marks(self, instruments: Collection[InstrumentId]) -> list[int | None]:
        """When each mark was seen, wire ns; None: never, or in doubt."""
        return [self._seen(self._marks.get(key)) for key in instruments]

    def seen_of_quotes(self, instruments: Collection[InstrumentId]) -> list[int | None]:
        """When each book was seen, wire ns; None: never, or in doubt."""
        return [self._seen(self._quotes.get(key)) for key in instruments]

    def seen_of_coins(self, coins: Collection[Coin]) -> list[int | None]:
        """When each coin price was seen, wire ns; None: never, or in doubt."""
        return [self._seen(self._coins.get(coin)) for coin in coins]

    def seen_of_funding(self, instruments: Collection[InstrumentId]) -> list[int | None]:
        """When each funding outlook was seen, wire ns; None: never, or in doubt."""
        return [self._seen(self._funding.get(key)) for key in instruments]

    def _seen(self, price: Quote | Mark | CoinPrice | FundingOutlook | None) -> int | None:
        if price is None or price.seen_wire_ns <= self._gap_wire_ns:
            return None
        return price.seen_wire_ns


K = TypeVar("K")
P = TypeVar("P", Quote, Mark, CoinPrice, FundingOutlook)


def _newer(known: dict[K, P], key: K, event: P) -> None:
    """Keep the one that the venue says is later; of the same moment, the one that came later."""
    old = known.get(key)
    if old is None or event.event_market_ns >= old.event_market_ns:
        known[key] = event


def _present(value: V | None, field: str, name: str) -> V:
    if value is None:
        raise MissingDataError(
            f"No {field} of {name} was seen yet.", field=field, next_step="Wait for the venue."
        )
    return value
