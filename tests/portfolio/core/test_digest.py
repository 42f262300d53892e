from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

from portfolio.core.account import Balance, Position
from portfolio.core.digest import (
    canonical_text,
    fingerprint,
    intent_digest,
    operator_digest,
    sealed,
    sha256_hex,
)
from portfolio.core.intents import DriftBounds, Intent, LegBound, Target
from portfolio.core.names import AccountId, Coin, InstrumentId, IntentId, PairId
from portfolio.core.orders import Side

BTC = InstrumentId("bybit:linear:BTCUSDT")
ETH = InstrumentId("bybit:linear:ETHUSDT")
LEG = LegBound(BTC, Decimal("64000.5"), Decimal(64320))
INTENT = Intent(
    intent_id=IntentId("i1"),
    mode="paper",
    account=AccountId("bybit:main"),
    kind="changes",
    targets=(Target(PairId("BTC@bybit"), Decimal(0), Decimal("0.50"), (LEG,)),),
    reduce_only=False,
    proposed_by="agent",
    reason="carry",
    request_id=None,
    health_after=Decimal("0.9"),
    fingerprint="f",
    drift=DriftBounds(),
    text="Buy",
    digest="",
    created_wire_ns=1,
    expires_wire_ns=2,
)
CHANGES: dict[str, Any] = {
    "intent_id": "i2",
    "mode": "live",
    "account": "bybit:b",
    "kind": "engine_target",
    "targets": (),
    "reduce_only": True,
    "proposed_by": "other",
    "reason": "",
    "request_id": "r",
    "health_after": Decimal("0.8"),
    "fingerprint": "g",
    "drift": DriftBounds(health_drop_max=Decimal("0.04")),
    "text": "Sell",
    "created_wire_ns": 3,
    "expires_wire_ns": 4,
}


def position(instrument_id: InstrumentId, quantity: str, mark_price: str = "1") -> Position:
    return Position(instrument_id, Decimal(quantity), Decimal(1), Decimal(mark_price), Decimal(10))


def balance(coin: str, wallet: str, spot_borrow: str = "0") -> Balance:
    return Balance(Coin(coin), Decimal(wallet), Decimal(spot_borrow), Decimal(0), Decimal(0))


def test_the_digest_is_this_number_for_ever() -> None:
    assert intent_digest(INTENT) == "0d3c8a7a73c5cac397e0a38d6531472a9974fabfcce8b5f879f72a922be00251"


def test_every_field_of_an_intent_but_the_digest_changes_it() -> None:
    assert set(CHANGES) == {field.name for field in fields(Intent)} - {"digest"}
    digests = {intent_digest(replace(INTENT, **{name: value})) for name, value in CHANGES.items()}
    assert len(digests | {intent_digest(INTENT)}) == len(CHANGES) + 1


def test_a_sealed_intent_carries_its_digest_and_sealing_again_changes_nothing() -> None:
    assert sealed(INTENT).digest == intent_digest(INTENT)
    assert sealed(sealed(INTENT)) == sealed(INTENT)


def test_equal_numbers_written_differently_have_one_digest() -> None:
    leg = LegBound(BTC, Decimal("64000.50"), Decimal("6.432E+4"))
    target = Target(PairId("BTC@bybit"), Decimal("0.00"), Decimal("0.5"), (leg,))
    assert intent_digest(replace(INTENT, targets=(target,))) == intent_digest(INTENT)


def test_canonical_text_is_sorted_compact_and_plain() -> None:
    value = {"b": Decimal("1.50"), "a": (Side.BUY, None, True, 3), "c": ["\u00fc"]}
    assert canonical_text(value) == '{"a":["buy",null,true,3],"b":"1.5","c":["\\u00fc"]}'


@pytest.mark.parametrize("value", [1.5, {"a": 1.5}, b"", object(), DriftBounds])
def test_what_has_no_exact_text_has_no_digest(value: object) -> None:
    with pytest.raises(TypeError, match="no canonical text"):
        canonical_text(value)


def test_a_command_without_text_is_bound_to_purpose_account_and_mode() -> None:
    digests = {
        operator_digest(purpose, account, mode)
        for purpose in ("resume", "limits")
        for account in ("bybit:main", "bybit:b")
        for mode in ("paper", "live")
    }
    assert len(digests) == 8


def test_a_text_hashes_as_utf_8() -> None:
    assert sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_fingerprint_knows_what_is_held_but_not_its_price_or_order() -> None:
    before = fingerprint(
        [position(BTC, "-0.5"), position(ETH, "1")], [balance("BTC", "0.5"), balance("SOL", "0")]
    )
    after = fingerprint([position(ETH, "1.0", "9"), position(BTC, "-0.50")], [balance("BTC", "0.7", "0.2")])
    assert before == after


@pytest.mark.parametrize(
    ("positions", "balances"),
    [
        ([position(BTC, "-0.4")], [balance("BTC", "0.5")]),
        ([position(ETH, "-0.5")], [balance("BTC", "0.5")]),
        ([position(BTC, "-0.5")], [balance("BTC", "0.6")]),
        ([position(BTC, "-0.5")], [balance("BTC", "0.5", "0.1")]),
        ([position(BTC, "-0.5")], []),
        ([], [balance("BTC", "0.5")]),
    ],
)
def test_the_fingerprint_changes_with_any_quantity(
    positions: list[Position], balances: list[Balance]
) -> None:
    assert fingerprint(positions, balances) != fingerprint([position(BTC, "-0.5")], [balance("BTC", "0.5")])
