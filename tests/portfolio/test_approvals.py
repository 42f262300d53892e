import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portfolio.approvals import (
    PURPOSES,
    OperatorKey,
    PinnedVerifier,
    create_operator_key,
    derive_private_key,
    load_operator_key,
    save_operator_key,
    sign_approval,
    signed_bytes,
    unlock,
)
from portfolio.core.errors import ApprovalError, InputError, SettingsError
from portfolio.core.intents import SignedApproval
from portfolio.core.names import AccountId
from portfolio.ports import ApprovalVerifier

PASSPHRASE = "correct horse battery"
DIGEST = "d1" * 32
NONCE = "0f" * 16
ACCOUNTS = (AccountId("bybit:main"), AccountId("bybit:sub"))
#: Ed25519's group order: adding it to S gives a second encoding that a careless verifier would take.
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.fixture(scope="module")
def key() -> OperatorKey:
    return create_operator_key(PASSPHRASE, scrypt_n=2**4)


@pytest.fixture(scope="module")
def private(key: OperatorKey) -> Ed25519PrivateKey:
    return unlock(key, PASSPHRASE)


@pytest.fixture(scope="module")
def good(private: Ed25519PrivateKey) -> SignedApproval:
    return signed(private)


def signed(private: Ed25519PrivateKey, **changes: Any) -> SignedApproval:
    fields: dict[str, Any] = {
        "purpose": "intent",
        "mode": "paper",
        "accounts": ACCOUNTS,
        "digest": DIGEST,
        "expires_wire_ns": 1_000,
        "nonce": NONCE,
    }
    return sign_approval(private, **{**fields, **changes})


def check(key: OperatorKey, approval: SignedApproval, **changes: Any) -> None:
    expected: dict[str, Any] = {
        "purpose": "intent",
        "digest": DIGEST,
        "account": ACCOUNTS[0],
        "mode": "paper",
        "now_wire_ns": 999,
    }
    verifier: ApprovalVerifier = PinnedVerifier(key)
    verifier.verify(approval, **{**expected, **changes})


def test_what_the_operator_signed_is_good_for_each_account_it_names(
    key: OperatorKey, good: SignedApproval
) -> None:
    for account in ACCOUNTS:
        check(key, good, account=account)


@pytest.mark.parametrize("purpose", sorted(PURPOSES))
def test_a_signature_is_good_for_its_purpose_only(
    key: OperatorKey, private: Ed25519PrivateKey, purpose: str
) -> None:
    approval = signed(private, purpose=purpose)
    check(key, approval, purpose=purpose)
    for other in PURPOSES - {purpose}:
        with pytest.raises(ApprovalError, match="another purpose"):
            check(key, approval, purpose=other)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"mode": "live"}, "another mode: 'paper', not 'live'"),
        ({"digest": "d2" * 32}, "another digest"),
        ({"account": "bybit:third"}, "for account bybit:main, bybit:sub, not bybit:third"),
        ({"now_wire_ns": 1_000}, "expired"),
    ],
)
def test_an_approval_for_something_else_says_what_it_is_for(
    key: OperatorKey, good: SignedApproval, wanted: dict[str, Any], message: str
) -> None:
    with pytest.raises(ApprovalError, match=message):
        check(key, good, **wanted)


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "resume"},
        {"mode": "live"},
        {"accounts": ACCOUNTS[:1]},
        {"accounts": tuple(reversed(ACCOUNTS))},
        {"accounts": ("bybit:main,bybit:sub",)},
        {"digest": "d2" * 32},
        {"expires_wire_ns": 2_000},
        {"nonce": "1f" * 16},
        {"nonce": NONCE.upper()},
        {"nonce": ""},
        {"signature": ""},
        {"signature": "zz" * 64},
        {"signature": "00" * 64},
        {"signature": "00" * 63},
        {"signature": "00" * 65},
    ],
)
def test_a_changed_field_makes_an_approval_forged(
    key: OperatorKey, good: SignedApproval, changes: dict[str, Any]
) -> None:
    changed = replace(good, **changes)
    wanted = {name: getattr(changed, name) for name in ("purpose", "mode", "digest")}
    with pytest.raises(ApprovalError, match="not signed by the operator"):
        check(key, changed, **wanted)


def test_a_second_encoding_of_a_good_signature_is_forged(key: OperatorKey, good: SignedApproval) -> None:
    raw = bytes.fromhex(good.signature)
    scalar = int.from_bytes(raw[32:], "little") + ORDER
    twin = (raw[:32] + scalar.to_bytes(32, "little")).hex()
    for signature in (twin, good.signature.upper()):
        with pytest.raises(ApprovalError, match="not signed by the operator"):
            check(key, replace(good, signature=signature))


def test_another_operator_s_signature_is_forged(key: OperatorKey) -> None:
    with pytest.raises(ApprovalError, match="not signed by the operator"):
        check(key, signed(Ed25519PrivateKey.generate()))


def test_the_signed_bytes_are_these_for_ever(good: SignedApproval) -> None:
    assert signed_bytes(good) == (
        b"carrydesk-approval-v1\n"
        b'{"accounts":["bybit:main","bybit:sub"],"digest":"' + DIGEST.encode() + b'","expires_wire_ns":1000,'
        b'"mode":"paper","nonce":"' + NONCE.encode() + b'","purpose":"intent"}'
    )


def test_a_passphrase_gives_this_key_for_ever() -> None:
    private = derive_private_key(PASSPHRASE, bytes(16), n=2**4)
    assert (
        private.public_key().public_bytes_raw().hex()
        == "1717dd9d6cbf98eb072e9cd367d1326ba43d37fc9247f3b1b6e450a85d1aead5"
    )


def test_a_passphrase_typed_in_another_unicode_form_is_the_same() -> None:
    composed, decomposed = "caf\u00e9 passphrase", "cafe\u0301 passphrase"
    first, second = (derive_private_key(text, bytes(16), n=2**4) for text in (composed, decomposed))
    assert first.private_bytes_raw() == second.private_bytes_raw()


def test_two_keys_of_one_passphrase_differ_by_their_salt(key: OperatorKey) -> None:
    other = create_operator_key(PASSPHRASE, scrypt_n=2**4)
    assert (other.salt, other.public_key) != (key.salt, key.public_key)
    assert len(other.salt) == 32


@pytest.mark.parametrize("passphrase", ["", "short", "correct horse batterz"])
def test_a_wrong_passphrase_unlocks_nothing(key: OperatorKey, passphrase: str) -> None:
    with pytest.raises(ApprovalError, match="passphrase is wrong"):
        unlock(key, passphrase)


def test_a_short_passphrase_makes_no_key() -> None:
    with pytest.raises(InputError, match="too short"):
        create_operator_key("seven77", scrypt_n=2**4)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"purpose": "everything"}, "purpose"),
        ({"accounts": ()}, "accounts"),
        ({"digest": "abc"}, "digest"),
        ({"digest": DIGEST.upper()}, "digest"),
        ({"nonce": "abc"}, "nonce"),
    ],
)
def test_only_a_complete_approval_is_signed(
    private: Ed25519PrivateKey, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError) as caught:
        signed(private, **changes)
    assert caught.value.field == field


def test_every_signature_draws_its_own_nonce(private: Ed25519PrivateKey) -> None:
    assert signed(private, nonce=None).nonce != signed(private, nonce=None).nonce


def test_the_key_file_is_the_owner_s_alone_and_holds_no_secret(key: OperatorKey, tmp_path: Path) -> None:
    path = tmp_path / "operator.json"
    save_operator_key(key, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_operator_key(path) == key
    assert PASSPHRASE not in path.read_text()
    assert [one.name for one in tmp_path.iterdir()] == ["operator.json"]


def test_an_existing_key_is_replaced_only_on_purpose(key: OperatorKey, tmp_path: Path) -> None:
    path = tmp_path / "operator.json"
    save_operator_key(key, path)
    other = create_operator_key(PASSPHRASE, scrypt_n=2**4)
    with pytest.raises(SettingsError, match="exists already"):
        save_operator_key(other, path)
    assert load_operator_key(path) == key
    save_operator_key(other, path, replace=True)
    assert load_operator_key(path) == other


def test_a_key_file_that_cannot_be_written_says_what_to_do(key: OperatorKey, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Check that the folder exists"):
        save_operator_key(key, tmp_path / "nowhere" / "operator.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"salt":"00","public_key":"00","scrypt_n":16,"scrypt_r":8,"scrypt_p":1}',
        '{"salt":"' + "00" * 16 + '","public_key":"' + "zz" * 32 + '"}',
        '{"salt":"' + "00" * 16 + '","public_key":"' + "00" * 32 + '","extra":1}',
    ],
)
def test_a_damaged_key_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "operator.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="damaged"):
        load_operator_key(path)


def test_a_missing_unreadable_or_shared_key_file_is_refused(key: OperatorKey, tmp_path: Path) -> None:
    path = tmp_path / "operator.json"
    with pytest.raises(SettingsError, match="carrydesk init"):
        load_operator_key(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_operator_key(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_operator_key(path)
    save_operator_key(key, path, replace=True)
    path.chmod(0o620)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_operator_key(path)
