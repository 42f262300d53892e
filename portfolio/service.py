"""What the desk offers to the other processes: the DeskService protocol and the values that cross it.

Two doors. `DeskService` is for the front (agents, through a token); `OperatorService` for the operator's
socket. Every
value here is a frozen dataclass that the codec can carry; nothing else crosses a process border. The front
computes
what-ifs and scores on a `DeskSnapshot`; whatever changes something is computed again by the desk from its
own state,
because the front is not trusted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from portfolio.core.account import AccountSnapshot, MarginFigures
from portfolio.core.guard.gap_sample import GapSample
from portfolio.core.intents import SignedApproval
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.state import MarginState
from portfolio.core.market import FundingOutlook, Quote, Settlement
from portfolio.core.names import AccountId, Coin, InstrumentId, IntentId, PairId
from portfolio.core.pairs import ArbitragePair, PairLegs
from portfolio.core.table_changes import TableChange
from portfolio.core.venue_check import VenueCheck
from portfolio.ports import Freeze, IntentRow, Recorded, TokenRow


class Scope(StrEnum):
    """What an agent token may do; each includes nothing of the others."""

    READ = "read"
    SIMULATE = "simulate"
    PROPOSE = "propose"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: the token's name and its scopes. Checked again by the desk at every call."""

    name: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataAges:
    """Ages of the inputs in integer ns on the wire clock; None: never seen."""

    account_ns: int | None
    prices_ns: int | None
    funding_ns: int | None
    tables_ns: int | None


@dataclass(frozen=True, slots=True)
class GuardReport:
    """The guard as its watchers see it."""

    #: ok, frozen, reducing, flattening, halted.
    state: str
    #: Ours; None while it cannot be computed.
    figures: MarginFigures | None
    #: The venue's own, from the last account read.
    venue_figures: MarginFigures | None
    #: |ours - venue| / venue over MM and ECV, the larger; None while either is missing.
    margin_gap: Decimal | None
    #: Pairs that the guard has taken from their engines.
    held_pairs: tuple[PairId, ...]
    last_actions: tuple[Recorded, ...]
    #: Age of the guard's last completed loop on the wire clock, integer ns.
    heartbeat_age_ns: int | None
    #: The last comparisons of ours with the venue's, oldest first.
    gap_samples: tuple[GapSample, ...] = ()
    #: How many of the newest samples are over the line in a row; `gap_freeze_samples` of them freeze entries.
    gap_over: int = 0
    #: Who decides reductions now: ours, venue or none; None where that is not known.
    basis: str | None = None


@dataclass(frozen=True, slots=True)
class DeskSnapshot:
    """Everything the front may know, read at one moment."""

    mode: str
    #: separated or same-user (DESIGN 8).
    install: str
    account: AccountId
    uid: str
    wire_ns: int
    market_ns: int
    #: None until the account has been read once.
    venue: AccountSnapshot | None
    #: None while an input is missing; `stale` names what.
    state: MarginState | None
    stale: tuple[str, ...]
    ages: DataAges
    pairs: tuple[ArbitragePair, ...]
    legs: Mapping[PairId, PairLegs]
    quotes: Mapping[InstrumentId, Quote]
    funding: Mapping[InstrumentId, FundingOutlook]
    guard: GuardReport
    freezes: tuple[Freeze, ...]
    halted: bool
    #: Open intents, then recent ones, newest first, at most 20.
    intents: tuple[IntentRow, ...]
    limits: RiskLimits
    #: False until everything in flight at the last stop has been accounted for.
    recovered: bool
    #: The last change of the risk tables since the desk started; None: there was none.
    tables_changed: TableChange | None = None
    #: Coins that are held and count nothing, because the venue has no price or no collateral table of them.
    uncounted: tuple[Coin, ...] = ()


@dataclass(frozen=True, slots=True)
class WantedTarget:
    """One pair's wanted size: USD of one leg, absolute, >= 0."""

    pair_id: PairId
    notional_usd: Decimal


@dataclass(frozen=True, slots=True)
class ProposalRequest:
    """What an agent (or the engine's own allocation, computed by the front) wants."""

    #: engine_target or changes.
    kind: str
    targets: tuple[WantedTarget, ...]
    reason: str
    request_id: str | None
    expires_in_minutes: int
    reduce_only: bool
    #: The caller's own, tighter minimum for health after; None: the desk's.
    min_health: Decimal | None


@dataclass(frozen=True, slots=True)
class ProposedChange:
    """One pair of a proposal. Quantities in base coins of one leg; USD at reference prices."""

    pair_id: PairId
    from_quantity: Decimal
    to_quantity: Decimal
    from_usd: Decimal
    to_usd: Decimal
    #: Taker cost of both legs in USD, positive.
    cost_usd: Decimal
    #: Expected carry per day at the target, USD; from the predicted rate.
    carry_usd_per_day: Decimal
    #: The gates' verdict in one line.
    note: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A wanted pair that is not part of the proposal, and why."""

    pair_id: PairId
    why: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """The desk's answer to a ProposalRequest."""

    #: proposed, or no_change.
    status: str
    #: None when nothing changes.
    row: IntentRow | None
    changes: tuple[ProposedChange, ...]
    skipped: tuple[Skipped, ...]
    cost_usd: Decimal
    carry_usd_per_day: Decimal
    before: MarginFigures
    after: MarginFigures
    worst_stress: str
    worst_stress_health: Decimal
    #: Equal request_id: the same intent was returned, nothing new was stored. The id with another proposal is
    #: refused, and never comes to this.
    repeated: bool


@dataclass(frozen=True, slots=True)
class PairProgress:
    """How far one pair of an intent is, in base coins of one leg."""

    pair_id: PairId
    from_quantity: Decimal
    target: Decimal
    hedged: Decimal
    unhedged: Decimal


@dataclass(frozen=True, slots=True)
class IntentProgress:
    """An intent and what has come of it."""

    row: IntentRow
    pairs: tuple[PairProgress, ...]
    orders: int
    fills: int
    fees_usd: Decimal
    unknown_orders: int
    #: Guard actions on its pairs since it started, newest first.
    guard_actions: tuple[Recorded, ...]


#: Most orders that the venue is asked about in one call.
CHECKS_MAX = 3


@dataclass(frozen=True, slots=True)
class LegChange:
    """A perpetual that a what-if trades: signed base coins."""

    instrument_id: InstrumentId
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class OrderCheck:
    """What one order alone would do to the account's rates, by our rule and by the venue's own answer."""

    instrument_id: InstrumentId
    quantity: Decimal
    #: None while it cannot be computed.
    ours: VenueCheck | None
    #: None: no answer; `note` says why.
    venue: VenueCheck | None
    note: str


class DeskService(Protocol):
    """The front's door. Every method raises CarrydeskError with what to do next."""

    async def authenticate(self, token: str) -> Principal:
        """Who owns this token. Raises AccessError when nobody does or it was revoked."""
        ...

    async def read(self, principal: Principal) -> DeskSnapshot:
        """Scope read."""
        ...

    async def settlements(
        self, principal: Principal, instrument_id: InstrumentId, since_market_ns: int
    ) -> tuple[Settlement, ...]:
        """Scope read. Settled funding of a perpetual, from the desk's cache."""
        ...

    async def check_orders(
        self, principal: Principal, changes: tuple[LegChange, ...]
    ) -> tuple[OrderCheck, ...]:
        """Scope simulate. Asks the venue what at most CHECKS_MAX perpetual orders would do, each alone."""
        ...

    async def propose(self, principal: Principal, request: ProposalRequest) -> Proposal:
        """Scope propose. Stores the exact targets, the operator's text and its digest."""
        ...

    async def request_execution(self, principal: Principal, intent_id: IntentId, digest: str) -> IntentRow:
        """Scope request. Asks the operator; never the model."""
        ...

    async def intent(
        self, principal: Principal, intent_id: IntentId | None, request_id: str | None, wait_ns: int
    ) -> IntentProgress:
        """Scope read. Waits up to `wait_ns` (at most 25 s) for a final status."""
        ...

    async def cancel(self, principal: Principal, intent_id: IntentId, reason: str) -> IntentRow:
        """Scope propose. Its own intents only."""
        ...


class OperatorService(Protocol):
    """The operator's door (operator.sock, 0600)."""

    async def status(self) -> DeskSnapshot:
        """The book and its guard."""
        ...

    async def progress(self, intent_id: IntentId) -> IntentProgress:
        """One intent with its full text."""
        ...

    async def approve(self, intent_id: IntentId, approval: SignedApproval) -> IntentRow:
        """Burn the approval and start, one transaction. Raises ApprovalError, ConflictError."""
        ...

    async def reject(self, intent_id: IntentId, note: str) -> IntentRow:
        """No passphrase needed; the agent can read the note."""
        ...

    async def halt(self, note: str) -> None:
        """Cancel entries; only hedges and reductions run. No passphrase needed."""
        ...

    async def resume(self, approval: SignedApproval) -> None:
        """Lift the halt and the operator's freezes. Signed."""
        ...

    async def add_token(self, name: str, token_hash: str, scopes: tuple[str, ...]) -> None:
        """Store the hash of a new token."""
        ...

    async def tokens(self) -> tuple[TokenRow, ...]:
        """All tokens."""
        ...

    async def revoke_token(self, name: str) -> None:
        """That token opens nothing any more, at once."""
        ...

    async def recorded(self, after_seq: int, limit: int) -> tuple[Recorded, ...]:
        """Journal entries, for audit."""
        ...

    async def stop(self) -> None:
        """Finish hedges in flight, then end the desk in good order."""
        ...
