"""The operator's signature: passphrase -> scrypt -> Ed25519, and the check against the pinned public key.

1. Only salt, scrypt parameters and public key are stored, in a file of their own, outside of the journal.
2. What is signed is one canonical text under a domain prefix: purpose, mode, accounts, digest, expiry, nonce.
3. The verifier answers whether the operator signed exactly this; that a nonce works once is the journal's
   part.
"""

import json
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portfolio.codec import from_json, to_json
from portfolio.core.errors import ApprovalError, InputError, SettingsError
from portfolio.core.intents import SignedApproval
from portfolio.core.names import AccountId

#: What an operator can sign. A signature for one is worthless for another.
PURPOSES = frozenset({"intent", "resume", "limits", "mandate", "golive"})
DOMAIN = b"carrydesk-approval-v1\n"
PASSPHRASE_MIN = 8

_HEX_16 = re.compile(r"[0-9a-f]{32}")
_HEX_32 = re.compile(r"[0-9a-f]{64}")
_HEX_64 = re.compile(r"[0-9a-f]{128}")
_ASK_AGAIN = "Read the intent again and approve what it says now."


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """The public half of the operator's key and how the passphrase becomes the other half; all hex."""

    #: 16 random bytes.
    salt: str
    #: The raw 32 bytes of the Ed25519 public key.
    public_key: str
    #: scrypt's cost: 128 * n * r bytes of memory (32 MiB).
    scrypt_n: int = 2**15
    scrypt_r: int = 8
    scrypt_p: int = 1


def derive_private_key(
    passphrase: str, salt: bytes, *, n: int = 2**15, r: int = 8, p: int = 1
) -> Ed25519PrivateKey:
    """The signing key that this passphrase stands for. Takes about 0.1 s on purpose.

    Raises:
        InputError: the passphrase is shorter than 8 characters.
    """
    text = unicodedata.normalize("NFKC", passphrase)
    if len(text) < PASSPHRASE_MIN:
        raise InputError("The passphrase is too short.", field="passphrase", allowed=">= 8 characters")
    return Ed25519PrivateKey.from_private_bytes(
        Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(text.encode("utf-8", "surrogatepass"))
    )


def create_operator_key(passphrase: str, *, scrypt_n: int = 2**15) -> OperatorKey:
    """A new key with a salt of its own.

    Raises:
        InputError: the passphrase is shorter than 8 characters.
    """
    salt = secrets.token_bytes(16)
    private = derive_private_key(passphrase, salt, n=scrypt_n)
    return OperatorKey(salt=salt.hex(), public_key=_public_hex(private), scrypt_n=scrypt_n)


def unlock(key: OperatorKey, passphrase: str) -> Ed25519PrivateKey:
    """The signing key behind `key`.

    Raises:
        ApprovalError: it is not this key's passphrase.
    """
    wrong = ApprovalError(
        "The passphrase is wrong.", field="passphrase", next_step="Nothing was signed; try again."
    )
    if len(unicodedata.normalize("NFKC", passphrase)) < PASSPHRASE_MIN:
        raise wrong
    private = derive_private_key(
        passphrase, bytes.fromhex(key.salt), n=key.scrypt_n, r=key.scrypt_r, p=key.scrypt_p
    )
    if _public_hex(private) != key.public_key:
        raise wrong
    return private


def _public_hex(private: Ed25519PrivateKey) -> str:
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def save_operator_key(key: OperatorKey, path: Path, *, replace: bool = False) -> None:
    """Write the key file, 0600, complete or not at all.

    Raises:
        SettingsError: it exists already (unless `replace`), or cannot be written.
    """
    if path.exists() and not replace:
        raise SettingsError(
            f"The operator key {path} exists already.",
            next_step="Keep it: a new key makes every earlier signature worthless.",
        )
    part = path.with_name(path.name + ".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(to_json(key) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise SettingsError(
            f"The operator key {path} cannot be written: {error.strerror}.",
            next_step="Check that the folder exists and may be written.",
        ) from error


def load_operator_key(path: Path) -> OperatorKey:
    """Read the key file that `save_operator_key` wrote.

    Raises:
        SettingsError: missing, unreadable, changed by hand, or writable by other users.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise SettingsError(f"There is no operator key {path}.", next_step="Run `carrydesk init`.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The operator key {path} cannot be read: {error}.") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingsError(
            f"The operator key {path} may be changed by other users.", next_step=f"Run `chmod 600 {path}`."
        )
    try:
        key = from_json(OperatorKey, text)
    except InputError as error:
        raise SettingsError(f"The operator key {path} is damaged: {error.message}") from error
    if not _HEX_16.fullmatch(key.salt) or not _HEX_32.fullmatch(key.public_key):
        raise SettingsError(
            f"The operator key {path} is damaged: salt or public key is not hex of its length."
        )
    return key


def signed_bytes(approval: SignedApproval) -> bytes:
    """Exactly what the signature covers: the domain, then canonical JSON of all fields but the signature."""
    fields = {
        "accounts": list(approval.accounts),
        "digest": approval.digest,
        "expires_wire_ns": approval.expires_wire_ns,
        "mode": approval.mode,
        "nonce": approval.nonce,
        "purpose": approval.purpose,
    }
    return DOMAIN + json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode(
        "ascii"
    )


def sign_approval(
    private: Ed25519PrivateKey,
    *,
    purpose: str,
    mode: str,
    accounts: Sequence[AccountId],
    digest: str,
    expires_wire_ns: int,
    nonce: str | None = None,
) -> SignedApproval:
    """Sign; `nonce` None draws 16 random bytes.

    Raises:
        InputError: an unknown purpose, no account, a digest that is not SHA-256 hex, or a malformed nonce.
    """
    nonce = secrets.token_hex(16) if nonce is None else nonce
    if purpose not in PURPOSES:
        raise InputError(
            f"{purpose!r} cannot be signed.", field="purpose", allowed=", ".join(sorted(PURPOSES))
        )
    if not accounts:
        raise InputError("An approval names at least one account.", field="accounts")
    if not _HEX_32.fullmatch(digest):
        raise InputError("The digest is not 64 lower-case hex digits.", field="digest")
    if not _HEX_16.fullmatch(nonce):
        raise InputError("The nonce is not 32 lower-case hex digits.", field="nonce")
    unsigned = SignedApproval(purpose, mode, tuple(accounts), digest, expires_wire_ns, nonce, signature="")
    signature = private.sign(signed_bytes(unsigned)).hex()
    return SignedApproval(purpose, mode, tuple(accounts), digest, expires_wire_ns, nonce, signature)


class PinnedVerifier:
    """`ports.ApprovalVerifier` against one public key, fixed when the desk starts."""

    def __init__(self, key: OperatorKey) -> None:
        self._public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public_key))

    def verify(
        self,
        approval: SignedApproval,
        *,
        purpose: str,
        digest: str,
        account: AccountId,
        mode: str,
        now_wire_ns: int,
    ) -> None:
        """Return if the operator signed exactly this and it has not expired.

        Raises:
            ApprovalError: forged or malformed; else for another purpose, mode, account or digest; else
            expired.
        """
        self._check_signature(approval)
        for field, found, wanted in (
            ("purpose", approval.purpose, purpose),
            ("mode", approval.mode, mode),
            ("digest", approval.digest, digest),
        ):
            if found != wanted:
                raise ApprovalError(
                    f"The approval is for another {field}: {found!r}, not {wanted!r}.",
                    field=field,
                    next_step=_ASK_AGAIN,
                )
        if account not in approval.accounts:
            raise ApprovalError(
                f"The approval is for account {', '.join(approval.accounts)}, not {account}.",
                field="accounts",
                next_step=_ASK_AGAIN,
            )
        if now_wire_ns >= approval.expires_wire_ns:
            raise ApprovalError("The approval has expired.", field="expires_wire_ns", next_step=_ASK_AGAIN)

    def _check_signature(self, approval: SignedApproval) -> None:
        forged = ApprovalError(
            "The approval was not signed by the operator of this desk.",
            field="signature",
            next_step="Approve with `carrydesk approve` and the operator's passphrase.",
        )
        if not _HEX_64.fullmatch(approval.signature) or not _HEX_16.fullmatch(approval.nonce):
            raise forged
        try:
            self._public.verify(bytes.fromhex(approval.signature), signed_bytes(approval))
        except InvalidSignature:
            raise forged from None
