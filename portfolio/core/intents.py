"""Intents and their approvals."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from portfolio.core.names import AccountId, InstrumentId, IntentId, PairId


class IntentStatus(StrEnum):
    """The life of an intent: proposed -> requested -> executing -> done; the others end it."""

    PROPOSED = "proposed"
    #: The agent asked for execution; the operator has not answered.
    REQUESTED = "requested"
    #: Approved: approval itself starts execution.
    EXECUTING = "executing"
    #: Unsent slices are dropped, hedges are being completed.
    CANCELLING = "cancelling"
    DONE = "done"
    #: Stopped hedged by a gate or a refusal; fills are kept.
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    #: The state moved beyond what the operator saw.
    VOID = "void"

    @property
    def final(self) -> bool:
        """Nothing more will happen."""
        return self not in _OPEN


_OPEN = frozenset(
    {IntentStatus.PROPOSED, IntentStatus.REQUESTED, IntentStatus.EXECUTING, IntentStatus.CANCELLING}
)


@dataclass(frozen=True, slots=True)
class LegBound:
    """Worst price at which the intent may trade a leg: highest for a buy, lowest for a sell, in quote."""

    instrument_id: InstrumentId
    #: The mark (perpetual) or index (spot) when the operator's text was written.
    reference_price: Decimal
    limit_price: Decimal


@dataclass(frozen=True, slots=True)
class Target:
    """One pair of an intent. Quantities are one leg in base coins, absolute, >= 0."""

    pair_id: PairId
    from_quantity: Decimal
    to_quantity: Decimal
    bounds: tuple[LegBound, ...]


@dataclass(frozen=True, slots=True)
class DriftBounds:
    """What voids an intent: fractions, and basis points for the basis (DESIGN 8)."""

    mark_move_max: Decimal = Decimal("0.01")
    basis_worsening_bps_max: Decimal = Decimal(15)
    health_drop_max: Decimal = Decimal("0.03")


@dataclass(frozen=True, slots=True)
class Intent:
    """A proposed change of targets, exactly as the operator sees it. Its life is in the journal."""

    intent_id: IntentId
    mode: str
    account: AccountId
    #: engine_target or changes.
    kind: str
    targets: tuple[Target, ...]
    reduce_only: bool
    #: Name of the token that proposed it, and its unverified words.
    proposed_by: str
    reason: str
    request_id: str | None
    #: Health after, as simulated when it was proposed.
    health_after: Decimal
    #: Hash of the positions that the proposal was computed from.
    fingerprint: str
    drift: DriftBounds
    #: The full rendered text that the operator approves; nothing cut.
    text: str
    #: SHA-256 over the canonical form of everything above; hex.
    digest: str
    created_wire_ns: int
    expires_wire_ns: int


@dataclass(frozen=True, slots=True)
class SignedApproval:
    """The operator's Ed25519 signature over mode, accounts, digest, expiry and nonce."""

    purpose: str
    mode: str
    accounts: tuple[AccountId, ...]
    digest: str
    expires_wire_ns: int
    nonce: str
    #: Hex of the raw 64 bytes.
    signature: str
