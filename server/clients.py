"""The desk's services as the other processes see them: the same protocols over a link."""

from portfolio.core.intents import SignedApproval
from portfolio.core.market import Settlement
from portfolio.core.names import InstrumentId, IntentId
from portfolio.ports import IntentRow, Recorded, TokenRow
from portfolio.service import (
    DeskService,
    DeskSnapshot,
    IntentProgress,
    LegChange,
    OperatorService,
    OrderCheck,
    Principal,
    Proposal,
    ProposalRequest,
)
from server.rpc_client import RpcLink
from server.rpc_wire import methods_of

DESK_DOOR = "desk"
OPERATOR_DOOR = "operator"
DESK_METHODS = methods_of(DeskService)
OPERATOR_METHODS = methods_of(OperatorService)


class DeskClient:
    """Implements `DeskService` for the holder of one token.

    The principal that callers pass is for show: the desk finds out again from the token who is asking.
    """

    def __init__(self, link: RpcLink, token: str) -> None:
        self._link = link
        self._token = token

    async def authenticate(self, token: str) -> Principal:
        """See `DeskService`."""
        principal: Principal = await self._link.call(DESK_METHODS["authenticate"], {"token": token})
        return principal

    async def read(self, principal: Principal) -> DeskSnapshot:
        """See `DeskService`."""
        snapshot: DeskSnapshot = await self._link.call(DESK_METHODS["read"], {}, self._token)
        return snapshot

    async def settlements(
        self, principal: Principal, instrument_id: InstrumentId, since_market_ns: int
    ) -> tuple[Settlement, ...]:
        """See `DeskService`."""
        arguments = {"instrument_id": instrument_id, "since_market_ns": since_market_ns}
        rows: tuple[Settlement, ...] = await self._link.call(
            DESK_METHODS["settlements"], arguments, self._token
        )
        return rows

    async def check_orders(
        self, principal: Principal, changes: tuple[LegChange, ...]
    ) -> tuple[OrderCheck, ...]:
        """See `DeskService`."""
        rows: tuple[OrderCheck, ...] = await self._link.call(
            DESK_METHODS["check_orders"], {"changes": changes}, self._token
        )
        return rows

    async def propose(self, principal: Principal, request: ProposalRequest) -> Proposal:
        """See `DeskService`."""
        proposal: Proposal = await self._link.call(DESK_METHODS["propose"], {"request": request}, self._token)
        return proposal

    async def request_execution(self, principal: Principal, intent_id: IntentId, digest: str) -> IntentRow:
        """See `DeskService`."""
        arguments = {"intent_id": intent_id, "digest": digest}
        row: IntentRow = await self._link.call(DESK_METHODS["request_execution"], arguments, self._token)
        return row

    async def intent(
        self, principal: Principal, intent_id: IntentId | None, request_id: str | None, wait_ns: int
    ) -> IntentProgress:
        """See `DeskService`."""
        arguments = {"intent_id": intent_id, "request_id": request_id, "wait_ns": wait_ns}
        progress: IntentProgress = await self._link.call(DESK_METHODS["intent"], arguments, self._token)
        return progress

    async def cancel(self, principal: Principal, intent_id: IntentId, reason: str) -> IntentRow:
        """See `DeskService`."""
        arguments = {"intent_id": intent_id, "reason": reason}
        row: IntentRow = await self._link.call(DESK_METHODS["cancel"], arguments, self._token)
        return row


class OperatorClient:
    """Implements `OperatorService`."""

    def __init__(self, link: RpcLink) -> None:
        self._link = link

    async def status(self) -> DeskSnapshot:
        """See `OperatorService`."""
        snapshot: DeskSnapshot = await self._link.call(OPERATOR_METHODS["status"], {})
        return snapshot

    async def progress(self, intent_id: IntentId) -> IntentProgress:
        """See `OperatorService`."""
        progress: IntentProgress = await self._link.call(
            OPERATOR_METHODS["progress"], {"intent_id": intent_id}
        )
        return progress

    async def approve(self, intent_id: IntentId, approval: SignedApproval) -> IntentRow:
        """See `OperatorService`."""
        arguments = {"intent_id": intent_id, "approval": approval}
        row: IntentRow = await self._link.call(OPERATOR_METHODS["approve"], arguments)
        return row

    async def reject(self, intent_id: IntentId, note: str) -> IntentRow:
        """See `OperatorService`."""
        row: IntentRow = await self._link.call(
            OPERATOR_METHODS["reject"], {"intent_id": intent_id, "note": note}
        )
        return row

    async def halt(self, note: str) -> None:
        """See `OperatorService`."""
        await self._link.call(OPERATOR_METHODS["halt"], {"note": note})

    async def resume(self, approval: SignedApproval) -> None:
        """See `OperatorService`."""
        await self._link.call(OPERATOR_METHODS["resume"], {"approval": approval})

    async def add_token(self, name: str, token_hash: str, scopes: tuple[str, ...]) -> None:
        """See `OperatorService`."""
        arguments = {"name": name, "token_hash": token_hash, "scopes": scopes}
        await self._link.call(OPERATOR_METHODS["add_token"], arguments)

    async def tokens(self) -> tuple[TokenRow, ...]:
        """See `OperatorService`."""
        rows: tuple[TokenRow, ...] = await self._link.call(OPERATOR_METHODS["tokens"], {})
        return rows

    async def revoke_token(self, name: str) -> None:
        """See `OperatorService`."""
        await self._link.call(OPERATOR_METHODS["revoke_token"], {"name": name})

    async def recorded(self, after_seq: int, limit: int) -> tuple[Recorded, ...]:
        """See `OperatorService`."""
        arguments = {"after_seq": after_seq, "limit": limit}
        rows: tuple[Recorded, ...] = await self._link.call(OPERATOR_METHODS["recorded"], arguments)
        return rows

    async def stop(self) -> None:
        """See `OperatorService`."""
        await self._link.call(OPERATOR_METHODS["stop"], {})
