"""Bybit's constant facts as the paper venue enforces them (reference 1.2, 2.5, 3)."""

from exchanges.paper.bybit_tables import BYBIT
from exchanges.paper.config import SECOND_NS
from portfolio.core.instrument import InstrumentKind
from portfolio.ports import RateLimit, VenueTraits

_COUNTS = {InstrumentKind.PERPETUAL: 10, InstrumentKind.SPOT: 20}

BYBIT_TRAITS = VenueTraits(
    venue=BYBIT,
    batch_max={InstrumentKind.PERPETUAL: 20, InstrumentKind.SPOT: 10},
    rate_limits={
        (operation, kind): RateLimit(f"{operation}.{kind.value}", count, SECOND_NS)
        for operation in ("place", "cancel")
        for kind, count in _COUNTS.items()
    },
    reduce_only=frozenset({InstrumentKind.PERPETUAL}),
    spot_borrow=True,
    send_deadline_ns=2 * SECOND_NS,
    clock_skew_ns=SECOND_NS // 2,
    visibility_lag_ns=2 * SECOND_NS,
    repay_blackout_seconds=(240, 330),
    repay_every_ns=SECOND_NS,
    limit_codes=frozenset({"10006"}),
)
#: Repayments per second (reference 3.2).
REPAY_LIMIT = RateLimit("repay", 1, BYBIT_TRAITS.repay_every_ns)
