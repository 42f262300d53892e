"""Entries and journals for tests, as short as they can be said."""

from decimal import Decimal
from pathlib import Path

from portfolio.core.digest import sealed
from portfolio.core.entries import FillBooked, IntentApproved, IntentMoved, IntentProposed, OrderPlanned
from portfolio.core.intents import DriftBounds, Intent, IntentStatus, LegBound, SignedApproval, Target
from portfolio.core.names import AccountId, ClientOrderId, Coin, InstrumentId, IntentId, PairId, VenueOrderId
from portfolio.core.orders import Fill, OrderClass, OrderRequest, Side, TimeInForce
from portfolio.journal import SqlJournal, open_journal
from portfolio.journal.open import WHOLE_ENTRIES_MAX

ACCOUNT = AccountId("bybit:main")
PAIR = PairId("BTC@bybit")
SPOT = InstrumentId("bybit:spot:BTCUSDT")
PERPETUAL = InstrumentId("bybit:linear:BTCUSDT")
INTENT = IntentId("i1")


def opened(
    path: str | Path = ":memory:", *, uid: str = "u1", mode: str = "paper", whole_max: int = WHOLE_ENTRIES_MAX
) -> SqlJournal:
    return open_journal(
        path, account=ACCOUNT, uid=uid, mode=mode, wire_ns=1, version="0.1.0", whole_max=whole_max
    )


def order(
    client_order_id: str = "c1",
    *,
    instrument_id: InstrumentId = SPOT,
    side: Side = Side.BUY,
    quantity: str = "0.1",
    intent_id: str = INTENT,
    pair_id: str = PAIR,
) -> OrderRequest:
    return OrderRequest(
        client_order_id=ClientOrderId(client_order_id),
        instrument_id=instrument_id,
        side=side,
        quantity=Decimal(quantity),
        limit_price=Decimal("64000"),
        time_in_force=TimeInForce.IOC,
        reduce_only=False,
        borrow=False,
        order_class=OrderClass.ENTRY,
        pair_id=PairId(pair_id),
        intent_id=IntentId(intent_id),
    )


def planned(client_order_id: str = "c1", **changes: str) -> OrderPlanned:
    return OrderPlanned(order(client_order_id, **changes), deadline_wire_ns=99)  # type: ignore[arg-type]


def fill(
    fill_id: str = "e1",
    client_order_id: str = "c1",
    *,
    instrument_id: InstrumentId = SPOT,
    side: Side = Side.BUY,
    quantity: str = "0.1",
    price: str = "64000",
    fee: str = "0.0001",
    fee_coin: str = "BTC",
) -> Fill:
    return Fill(
        fill_id=fill_id,
        client_order_id=ClientOrderId(client_order_id),
        venue_order_id=VenueOrderId("v" + client_order_id),
        instrument_id=instrument_id,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
        fee_coin=Coin(fee_coin),
        maker=False,
        event_market_ns=7,
    )


def booked(one: Fill, *, pair_id: str = PAIR, intent_id: str = INTENT) -> FillBooked:
    return FillBooked(one, PairId(pair_id), IntentId(intent_id))


def intent(
    intent_id: str = INTENT,
    *,
    request_id: str | None = None,
    proposed_by: str = "agent",
    account: str = ACCOUNT,
) -> Intent:
    target = Target(PAIR, Decimal(0), Decimal("0.5"), (LegBound(SPOT, Decimal(64000), Decimal(64320)),))
    return sealed(
        Intent(
            intent_id=IntentId(intent_id),
            mode="paper",
            account=AccountId(account),
            kind="changes",
            targets=(target,),
            reduce_only=False,
            proposed_by=proposed_by,
            reason="carry is \u00fcber 10 %",
            request_id=request_id,
            health_after=Decimal("0.9"),
            fingerprint="f" * 64,
            drift=DriftBounds(),
            text="Buy 0.5 BTC",
            digest="",
            created_wire_ns=10,
            expires_wire_ns=1_000,
        )
    )


def proposed(
    intent_id: str = INTENT,
    *,
    request_id: str | None = None,
    proposed_by: str = "agent",
    account: str = ACCOUNT,
) -> IntentProposed:
    return IntentProposed(intent(intent_id, request_id=request_id, proposed_by=proposed_by, account=account))


def approval(nonce: str = "0" * 32, *, purpose: str = "intent") -> SignedApproval:
    return SignedApproval(purpose, "paper", (ACCOUNT,), "d" * 64, 1_000, nonce, "a" * 128)


def approved(intent_id: str = INTENT, nonce: str = "0" * 32) -> IntentApproved:
    return IntentApproved(IntentId(intent_id), approval(nonce))


def moved(
    expected: IntentStatus, status: IntentStatus, intent_id: str = INTENT, *, by: str = "desk", note: str = ""
) -> IntentMoved:
    return IntentMoved(IntentId(intent_id), expected, status, by, note)
