"""Rolling one-second limits per endpoint and category, with what the headers say of them."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000

#: Requests (orders, for batches) a second by endpoint: linear, spot. Source: docs/v5/rate-limit (2026-07-24).
ORDER_LIMITS: Mapping[str, tuple[int, int]] = {
    "order/create": (10, 20),
    "order/amend": (10, 10),
    "order/cancel": (10, 20),
    "order/cancel-all": (10, 20),
    "order/pre-check": (10, 20),
    "order/create-batch": (10, 20),
    "order/amend-batch": (10, 20),
    "order/cancel-batch": (10, 20),
}
#: The other private endpoints, whatever the category; what is not listed has the default.
OTHER_LIMITS: Mapping[str, int] = {
    "position/set-leverage": 10,
    "account/transaction-log": 25,
    "account/fee-rate": 5,
    "account/borrow": 1,
    "account/repay": 1,
    "account/no-convert-repay": 1,
    "user/query-api": 10,
    "spot-margin-trade/set-leverage": 5,
    "spot-margin-trade/switch-mode": 5,
    "asset/coin/query-info": 5,
    "asset/transfer/query-account-coins-balance": 5,
}
DEFAULT_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Taken:
    """How much of a limit was granted, and the three values that the venue shows."""

    granted: int
    limit: int
    remaining: int
    reset_ms: int

    def headers(self) -> dict[str, str]:
        """As in REST answers and in the acks of the trade socket."""
        return {
            "X-Bapi-Limit": str(self.limit),
            "X-Bapi-Limit-Status": str(self.remaining),
            "X-Bapi-Limit-Reset-Timestamp": str(self.reset_ms),
        }


class Limits:
    """What was used of each limit in the last second. REST and the trade socket share it."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], deque[int]] = {}

    def take(self, endpoint: str, category: str, count: int, now_ns: int) -> Taken:
        """Use up to `count`; less is granted when less is left."""
        if endpoint in ORDER_LIMITS:
            linear, spot = ORDER_LIMITS[endpoint]
            limit, key = (spot if category == "spot" else linear), (endpoint, category)
        else:
            limit, key = OTHER_LIMITS.get(endpoint, DEFAULT_LIMIT), (endpoint, "")
        used = self._used.setdefault(key, deque())
        while used and used[0] <= now_ns - SECOND_NS:
            used.popleft()
        granted = min(count, limit - len(used))
        used.extend([now_ns] * granted)
        full = granted < count or len(used) >= limit
        # Rounded up: a client that waits until then must find room, and one SDK dies of a reset in the past.
        reset_ns = used[0] + SECOND_NS if full and used else now_ns
        return Taken(granted, limit, limit - len(used), -(-reset_ns // MS_NS))
