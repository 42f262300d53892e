"""Made-up numbers, the same on every machine: hashes of a seed and a name, never a generator with state."""

from decimal import Decimal
from hashlib import blake2b

_SCALE = 1_000_000_000


def digest(seed: int, *parts: object, size: int = 8) -> bytes:
    """`size` (<= 64) bytes that depend on the seed and the parts alone."""
    text = ":".join(str(part) for part in (seed, *parts))
    return blake2b(text.encode(), digest_size=size).digest()


def billionths(seed: int, *parts: object) -> int:
    """A whole number in [0, 1e9)."""
    return int.from_bytes(digest(seed, *parts), "big") % _SCALE


def fraction(seed: int, *parts: object) -> Decimal:
    """A number in [0, 1) with nine digits."""
    return Decimal(billionths(seed, *parts)).scaleb(-9)


def signed(seed: int, *parts: object) -> Decimal:
    """A number in [-1, 1) with nine digits."""
    return fraction(seed, *parts) * 2 - 1
