"""Prices of the paper venue at a moment: the replay, the operator's shocks, and a made jitter, as Decimals.

MADE: the jitter, a zigzag of at most `JITTER` around the path with a corner at every grid time, common to a
coin's spot and perpetual so that it does not move the basis. It gives resting orders the two-sided market
that straight lines between hourly corners lack. Mark and index prices have none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from exchanges.paper.replay import Replay
from exchanges.paper.seeded import signed
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import Coin

JITTER = Decimal("0.00015")
_DIGITS = Decimal("1e-12")
#: Corners kept at hand; all are recomputed from the seed when needed again.
_CORNERS_CACHED = 2048


@dataclass(frozen=True, slots=True)
class ActiveShock:
    """A shock as it stands from `at_ns`: reached linearly over `ramp_ns`."""

    at_ns: int
    ramp_ns: int
    multipliers: Mapping[Coin, Decimal]
    premium: Mapping[Coin, Decimal]

    def _share(self, at_ns: int) -> Decimal:
        if at_ns >= self.at_ns + self.ramp_ns:
            return ONE
        return max(ZERO, Decimal(at_ns - self.at_ns) / self.ramp_ns) if self.ramp_ns else ZERO

    def multiplier(self, coin: Coin, at_ns: int) -> Decimal:
        """Factor on every price of the coin."""
        full = self.multipliers.get(coin)
        return ONE if full is None else ONE + (full - ONE) * self._share(at_ns)

    def premium_of(self, coin: Coin, at_ns: int) -> Decimal:
        """Fraction added to the perpetual alone."""
        full = self.premium.get(coin)
        return ZERO if full is None else full * self._share(at_ns)


class Market:
    """Unrounded prices at any moment; the caller rounds to its tick."""

    def __init__(self, replay: Replay, *, seed: int, grid_ns: int) -> None:
        self.replay = replay
        self.shocks: list[ActiveShock] = []
        self._seed = seed
        self._grid_ns = grid_ns
        self._corners: dict[tuple[Coin, int], Decimal] = {}

    def middle(self, coin: Coin, kind: InstrumentKind, at_ns: int) -> Decimal:
        """Middle of the book."""
        if kind is InstrumentKind.SPOT:
            price = self.replay.spot(coin, at_ns) * self._factor(coin, at_ns)
        else:
            price = self.replay.last(coin, at_ns) * self._factor(coin, at_ns) * self._premium(coin, at_ns)
        return (price * (ONE + self._jitter(coin, at_ns))).quantize(_DIGITS)

    def mark(self, coin: Coin, at_ns: int) -> Decimal:
        """Mark price of the perpetual."""
        price = self.replay.mark(coin, at_ns) * self._factor(coin, at_ns) * self._premium(coin, at_ns)
        return price.quantize(_DIGITS)

    def index(self, coin: Coin, at_ns: int) -> Decimal:
        """Index price: the spot path."""
        return (self.replay.spot(coin, at_ns) * self._factor(coin, at_ns)).quantize(_DIGITS)

    def _factor(self, coin: Coin, at_ns: int) -> Decimal:
        factor = ONE
        for shock in self.shocks:
            factor *= shock.multiplier(coin, at_ns)
        return factor

    def _premium(self, coin: Coin, at_ns: int) -> Decimal:
        return ONE + sum((shock.premium_of(coin, at_ns) for shock in self.shocks), ZERO)

    def _jitter(self, coin: Coin, at_ns: int) -> Decimal:
        index, offset = divmod(at_ns, self._grid_ns)
        left, right = self._corner(coin, index), self._corner(coin, index + 1)
        return left + (right - left) * offset / self._grid_ns

    def _corner(self, coin: Coin, index: int) -> Decimal:
        key = (coin, index)
        value = self._corners.get(key)
        if value is None:
            if len(self._corners) >= _CORNERS_CACHED:
                self._corners.clear()
            value = self._corners[key] = JITTER * signed(self._seed, "jitter", coin, index)
        return value
