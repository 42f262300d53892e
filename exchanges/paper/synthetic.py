"""A replay without files for simulation and tests: everything in it is made, from a seed.

A price is its start times 1 + a sum of octaves of smooth noise, whose amplitudes grow with the square root of
their period, so that it wanders like a market over minutes to days. It is a pure function of time, so a run
may start anywhere and thousands of runs cost nothing to open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from exchanges.paper.config import HOUR_NS, MINUTE_NS
from exchanges.paper.replay import FundingPoint
from exchanges.paper.seeded import signed
from portfolio.core.decimals import ONE
from portfolio.core.errors import MissingDataError
from portfolio.core.names import Coin

#: (period in ns, amplitude per unit of daily volatility: about the square root of period / day).
_OCTAVES = (
    (96 * HOUR_NS, Decimal("1.6")),
    (24 * HOUR_NS, Decimal("0.8")),
    (6 * HOUR_NS, Decimal("0.4")),
    (90 * MINUTE_NS, Decimal("0.2")),
    (20 * MINUTE_NS, Decimal("0.1")),
    (5 * MINUTE_NS, Decimal("0.05")),
)
_FLOOR = Decimal("0.05")
_RATE_STEP = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class SyntheticCoin:
    """How one made market behaves."""

    #: Price at the start, in quote.
    price: Decimal
    #: Size of a usual day's move, a fraction.
    volatility: Decimal = Decimal("0.03")
    #: Mean settled rate per interval, a fraction, and how far single rates stray from it.
    funding_rate: Decimal = Decimal("0.0001")
    funding_spread: Decimal = Decimal("0.00005")
    interval_minutes: int = 480
    #: Mean of perpetual / spot - 1, a fraction.
    basis: Decimal = Decimal("0")


#: Prices of early 2025 rounded: the shape of a real book without its data.
DEFAULT_COINS: Mapping[Coin, SyntheticCoin] = {
    Coin("BTC"): SyntheticCoin(Decimal(60000), Decimal("0.025")),
    Coin("ETH"): SyntheticCoin(Decimal(3000), Decimal("0.035")),
    Coin("SOL"): SyntheticCoin(Decimal(150), Decimal("0.045")),
    Coin("XRP"): SyntheticCoin(Decimal("0.6"), Decimal("0.04")),
    Coin("DOGE"): SyntheticCoin(Decimal("0.15"), Decimal("0.05"), interval_minutes=240),
    Coin("BNB"): SyntheticCoin(Decimal(600), Decimal("0.03")),
    Coin("AVAX"): SyntheticCoin(Decimal(30), Decimal("0.05"), interval_minutes=60),
}


class SyntheticReplay:
    """See the module. Prices hold in [start, end)."""

    def __init__(
        self,
        *,
        seed: int,
        start_ns: int,
        hours: int,
        coins: Mapping[Coin, SyntheticCoin] = DEFAULT_COINS,
    ) -> None:
        self._seed = seed
        self._start_ns = start_ns
        self._end_ns = start_ns + hours * HOUR_NS
        self._coins = dict(coins)
        self._nodes: dict[tuple[Coin, int, int], Decimal] = {}
        #: The latest answer per coin: a venue asks for last, mark and spot of one moment together.
        self._lasts: dict[Coin, tuple[int, Decimal]] = {}
        self._base = {coin: self._noise(coin, start_ns) for coin in self._coins}
        self._funding = {coin: self._settlements(coin, made) for coin, made in self._coins.items()}

    @property
    def coins(self) -> tuple[Coin, ...]:
        """As given."""
        return tuple(self._coins)

    @property
    def start_ns(self) -> int:
        """As given."""
        return self._start_ns

    @property
    def end_ns(self) -> int:
        """Start plus the hours given."""
        return self._end_ns

    def last(self, coin: Coin, at_ns: int) -> Decimal:
        """MADE."""
        known = self._lasts.get(coin)
        if known is None or known[0] != at_ns:
            made = self._made(coin, at_ns)
            wander = (self._noise(coin, at_ns) - self._base[coin]) * made.volatility
            known = self._lasts[coin] = (at_ns, made.price * max(_FLOOR, ONE + wander))
        return known[1]

    def mark(self, coin: Coin, at_ns: int) -> Decimal:
        """MADE: the last price."""
        return self.last(coin, at_ns)

    def spot(self, coin: Coin, at_ns: int) -> Decimal:
        """MADE: the last price without the mean basis."""
        return self.last(coin, at_ns) / (ONE + self._made(coin, at_ns).basis)

    def funding(self, coin: Coin) -> Sequence[FundingPoint]:
        """MADE: at whole intervals since the epoch, as venues do."""
        return self._funding[coin]

    def _made(self, coin: Coin, at_ns: int) -> SyntheticCoin:
        if coin not in self._coins or not self._start_ns <= at_ns <= self._end_ns:
            raise MissingDataError(f"The replay has no {coin} at {at_ns} ns.", field="at_ns")
        return self._coins[coin]

    def _noise(self, coin: Coin, at_ns: int) -> Decimal:
        total = Decimal(0)
        for octave, (period, amplitude) in enumerate(_OCTAVES):
            index, offset = divmod(at_ns, period)
            left, right = self._node(coin, octave, index), self._node(coin, octave, index + 1)
            total += amplitude * (left + (right - left) * offset / period)
        return total

    def _node(self, coin: Coin, octave: int, index: int) -> Decimal:
        key = (coin, octave, index)
        value = self._nodes.get(key)
        if value is None:
            value = self._nodes[key] = signed(self._seed, "noise", coin, octave, index)
        return value

    def _settlements(self, coin: Coin, made: SyntheticCoin) -> tuple[FundingPoint, ...]:
        step = made.interval_minutes * MINUTE_NS
        first = self._start_ns // step
        last = self._end_ns // step + 1
        return tuple(
            FundingPoint(
                index * step,
                (
                    made.funding_rate + made.funding_spread * signed(self._seed, "funding", coin, index)
                ).quantize(_RATE_STEP),
                made.interval_minutes,
            )
            for index in range(first, last + 1)
        )
