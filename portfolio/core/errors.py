"""The one error tree.

    CarrydeskError
    +-- InputError            what was asked for is not a valid request
    |   +-- NumberError       a text is not a finite decimal, or is outside its range
    |   +-- UnknownNameError  an instrument, pair, intent or coin that does not exist here
    +-- MissingDataError      an input that is needed is absent (a price, a risk table, an interval)
    |   +-- StaleDataError    it is there but older than its limit
    +-- RefusedError          the desk will not do it: veto, freeze, halt, limit, gate
    |   +-- ApprovalError     an approval is absent, expired, foreign, repeated or forged
    |   +-- AccessError       a token without the scope, or on the wrong socket
    |   +-- ConflictError     the state changed under the caller (compare-and-set failed)
    +-- SettingsError         the operator's file cannot be used
    +-- JournalError          the journal cannot be trusted or written
    |   +-- JournalCorruptError   a torn or altered entry
    |   +-- JournalForeignError   the journal of another account or run
    |   +-- JournalFencedError    another desk owns it now
    +-- VenueError            a venue call failed; `effect` says whether it may have happened

Every error says what happened, which field it concerns, what is allowed and what to do next, because an
LLM, a script
and an operator all read the same text. No text may contain a secret.
"""

from enum import StrEnum


class CarrydeskError(Exception):
    """Base of everything this project raises on purpose."""

    code = "error"

    def __init__(
        self, message: str, *, field: str | None = None, allowed: str | None = None, next_step: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.allowed = allowed
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".rstrip()


class InputError(CarrydeskError):
    """What was asked for is not a valid request; asking again unchanged will fail again."""

    code = "bad_input"


class NumberError(InputError):
    """A text is not a finite decimal, or is outside its range."""

    code = "bad_number"


class UnknownNameError(InputError):
    """The instrument, pair, intent or coin does not exist here."""

    code = "unknown_name"


class MissingDataError(CarrydeskError):
    """An input that is needed is absent: never replaced by zero or by a default."""

    code = "missing_data"


class StaleDataError(MissingDataError):
    """The input is there but older than its limit."""

    code = "stale_data"


class RefusedError(CarrydeskError):
    """The desk will not do this: a veto, a freeze, a halt, a limit or a gate."""

    code = "refused"


class ApprovalError(RefusedError):
    """An approval is absent, expired, foreign, repeated or forged."""

    code = "bad_approval"


class AccessError(RefusedError):
    """The token is wrong, revoked or lacks the scope, or the socket is the wrong one."""

    code = "access_denied"


class ConflictError(RefusedError):
    """The state changed under the caller: read it again before deciding."""

    code = "conflict"


class SettingsError(CarrydeskError):
    """The operator's settings file is missing, unreadable, or says something unknown."""

    code = "bad_settings"


class JournalError(CarrydeskError):
    """The journal cannot be read, written or trusted."""

    code = "journal"


class JournalCorruptError(JournalError):
    """An entry is torn or was altered: the hash chain breaks at it."""

    code = "journal_corrupt"


class JournalForeignError(JournalError):
    """The journal belongs to another account or run."""

    code = "journal_foreign"


class JournalFencedError(JournalError):
    """Another desk owns this journal now; this one must stop writing."""

    code = "journal_fenced"


#: Errors after which a journal must not be used again; any other JournalError may pass.
JOURNAL_FATAL = (JournalCorruptError, JournalForeignError, JournalFencedError)


class Effect(StrEnum):
    """Whether a failed venue call may have taken effect."""

    NOT_SENT = "not_sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class VenueError(CarrydeskError):
    """A venue call failed. Only `not_sent` may be repeated blindly; `unknown` must be looked up by id."""

    code = "venue"

    def __init__(
        self,
        message: str,
        *,
        effect: Effect,
        venue_code: str | None = None,
        retry_after_ns: int | None = None,
        next_step: str = "",
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.effect = effect
        self.venue_code = venue_code
        self.retry_after_ns = retry_after_ns
