"""What a signature and a proposal are bound to: hashes over canonical text.

Canonical text is JSON with sorted keys and no spaces, decimals as plain text: equal values, equal text.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum

from portfolio.core.account import Balance, Position
from portfolio.core.decimals import plain
from portfolio.core.intents import Intent


def canonical_text(value: object) -> str:
    """Canonical JSON of a value made of dataclasses, mappings with text keys, tuples, Decimals and scalars.

    Raises:
        TypeError: anything else, floats included.
    """
    return json.dumps(_data(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _data(value: object) -> object:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Enum):
        return _data(value.value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, tuple | list):
        return [_data(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _data(item) for key, item in value.items()}
    if is_dataclass(value):
        return {field.name: _data(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no canonical text")


def sha256_hex(text: str) -> str:
    """SHA-256 of the text's UTF-8 bytes, 64 lower-case hex digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def intent_digest(intent: Intent) -> str:
    """SHA-256 over everything in the intent but the digest itself, whatever that holds now; hex."""
    return sha256_hex(canonical_text(replace(intent, digest="")))


def sealed(intent: Intent) -> Intent:
    """The same intent with its digest filled in."""
    return replace(intent, digest=intent_digest(intent))


def fingerprint(positions: Iterable[Position], balances: Iterable[Balance]) -> str:
    """SHA-256 over what is held: position quantities, and per coin wallet minus debt; hex.

    Prices, entry prices and leverage are not part of it, and neither is order. Flat coins do not count.
    Pass the balances of coins that are legs: a settlement coin changes with every funding payment.
    """
    held = sorted((position.instrument_id, plain(position.quantity)) for position in positions)
    coins = sorted(
        (balance.coin, plain(balance.wallet - balance.spot_borrow))
        for balance in balances
        if balance.wallet != balance.spot_borrow
    )
    return sha256_hex(canonical_text({"balances": coins, "positions": held}))


def operator_digest(purpose: str, account: str, mode: str) -> str:
    """What the operator signs for a command that has no text of its own (resume); SHA-256, hex."""
    return sha256_hex(canonical_text({"purpose": purpose, "account": account, "mode": mode}))
