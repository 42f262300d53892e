"""A desk of made values for the tests of tools, front and sockets: three pairs, round prices, SOL held."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

import anyio

from portfolio.core.account import AccountSnapshot, Balance, MarginFigures, Position
from portfolio.core.entries import GuardActed
from portfolio.core.errors import AccessError, ConflictError, UnknownNameError
from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.intents import DriftBounds, Intent, IntentStatus, LegBound, Target
from portfolio.core.limits import HOUR_NS, RiskLimits
from portfolio.core.margin.state import MarginState
from portfolio.core.market import FundingOutlook, Level, Prices, Quote, Settlement
from portfolio.core.names import AccountId, Coin, InstrumentId, IntentId, Narrative, PairId, Venue
from portfolio.core.pairs import ArbitragePair, PairLegs, PairSpec, PairStatus
from portfolio.core.risk import (
    BorrowTable,
    BorrowTier,
    CollateralTable,
    CollateralTier,
    FeeRates,
    PositionTier,
    RiskTables,
)
from portfolio.core.venue_check import VenueCheck
from portfolio.ports import IntentRow, Recorded
from portfolio.service import (
    DataAges,
    DeskSnapshot,
    GuardReport,
    IntentProgress,
    LegChange,
    OrderCheck,
    PairProgress,
    Principal,
    Proposal,
    ProposalRequest,
    ProposedChange,
    Skipped,
)

BYBIT = Venue("bybit")
ACCOUNT = AccountId("bybit:main")
SECOND = 1_000_000_000
#: 2025-03-01 00:00 UTC, and the wall clock of the test.
MARKET_NS = 1_740_787_200 * SECOND
WIRE_NS = 1_763_640_000 * SECOND
PRICES = {"BTC": Decimal(80_000), "ETH": Decimal(2_000), "SOL": Decimal(200)}
RATES = {"BTC": "0.0001", "ETH": "0.0002", "SOL": "0.0003"}
HELD = {"BTC": Decimal(0), "ETH": Decimal(0), "SOL": Decimal(100)}
ALL_SCOPES = ("read", "simulate", "propose", "request")
D = Decimal


def spot(coin: str) -> InstrumentId:
    return instrument_id(BYBIT, InstrumentKind.SPOT, f"{coin}USDT")


def perpetual(coin: str) -> InstrumentId:
    return instrument_id(BYBIT, InstrumentKind.PERPETUAL, f"{coin}USDT")


def instrument(coin: str, kind: InstrumentKind) -> Instrument:
    linear = kind is InstrumentKind.PERPETUAL
    return Instrument(
        instrument_id=instrument_id(BYBIT, kind, f"{coin}USDT"),
        venue=BYBIT,
        kind=kind,
        symbol=f"{coin}USDT",
        base=Coin(coin),
        quote=Coin("USDT"),
        tick_size=D("0.01"),
        lot_size=D("0.001"),
        quantity_min=D("0.001"),
        notional_min=D(5),
        quantity_max=None,
        market_quantity_max=None,
        funding_interval_minutes=480 if linear else None,
        leverage_max=D(50) if linear else None,
        marginable=not linear,
    )


def pair(coin: str) -> PairSpec:
    return PairSpec(
        pair_id=PairId(f"{coin}@bybit"),
        coin=Coin(coin),
        narrative=Narrative(coin),
        long_leg=spot(coin),
        short_leg=perpetual(coin),
        lead_leg=perpetual(coin),
    )


def tables() -> RiskTables:
    coins = [Coin("USDT"), *(Coin(coin) for coin in PRICES)]
    return RiskTables(
        seen_wire_ns=WIRE_NS - 60 * SECOND,
        collateral={
            coin: CollateralTable(coin, True, (CollateralTier(D(0), None, D("0.95")),)) for coin in coins
        }
        | {Coin("USDT"): CollateralTable(Coin("USDT"), True, (CollateralTier(D(0), None, D(1)),))},
        borrow={
            coin: BorrowTable(
                coin, True, D("0.000005"), None, (BorrowTier(None, D("0.1"), D("0.04"), D(10)),)
            )
            for coin in coins
        },
        positions={
            perpetual(coin): (PositionTier(D(10_000_000), D("0.02"), D("0.01"), D(50), D(0)),)
            for coin in PRICES
        },
        fees={
            leg: FeeRates(D("0.0002"), D("0.00055"))
            if leg == perpetual(coin)
            else FeeRates(D("0.001"), D("0.001"))
            for coin in PRICES
            for leg in (spot(coin), perpetual(coin))
        },
    )


def margin_state() -> MarginState:
    balances = [Balance(Coin("USDT"), D(80_000), D(0), D(0), D(0))]
    balances += [Balance(Coin(c), q, D(0), D(0), D(0)) for c, q in HELD.items() if q]
    return MarginState(
        balances=tuple(balances),
        positions=tuple(
            Position(perpetual(c), -q, PRICES[c], PRICES[c], D(10)) for c, q in HELD.items() if q
        ),
        orders=(),
        prices=Prices(
            marks={perpetual(c): p for c, p in PRICES.items()},
            usd={Coin("USDT"): D(1)} | {Coin(c): p for c, p in PRICES.items()},
        ),
        tables=tables(),
        instruments={
            i.instrument_id: i for i in (instrument(c, kind) for c in PRICES for kind in InstrumentKind)
        },
    )


#: The venue's figures for `margin_state`: 80 000 USDT and 100 SOL at 0.95, short 100 SOL.
FIGURES = MarginFigures(D(100_000), D(99_000), D(2_000), D(400))


def guard_action() -> Recorded:
    entry = GuardActed("g1", "usage reduction", (PairId("SOL@bybit"),), "cut by half", D("0.79"), D("0.9"))
    return Recorded(41, 1, WIRE_NS - 3_600 * SECOND, entry, "ab" * 32)


def intent_row(status: IntentStatus = IntentStatus.REQUESTED) -> IntentRow:
    target = Target(
        PairId("SOL@bybit"),
        D(100),
        D(150),
        (LegBound(perpetual("SOL"), D(200), D(198)), LegBound(spot("SOL"), D(200), D(202))),
    )
    intent = Intent(
        intent_id=IntentId("i7f3a"),
        mode="paper",
        account=ACCOUNT,
        kind="changes",
        targets=(target,),
        reduce_only=False,
        proposed_by="agent",
        reason="funding is high",
        request_id="r1",
        health_after=D("0.95"),
        fingerprint="cd" * 32,
        drift=DriftBounds(),
        text="the full text",
        digest="ef" * 32,
        created_wire_ns=WIRE_NS,
        expires_wire_ns=WIRE_NS + HOUR_NS // 2,
    )
    return IntentRow(intent, status, "", "agent", None, WIRE_NS)


def snapshot() -> DeskSnapshot:
    state = margin_state()
    pairs = [pair(coin) for coin in PRICES]
    return DeskSnapshot(
        mode="paper",
        install="same-user",
        account=ACCOUNT,
        uid="100001",
        wire_ns=WIRE_NS,
        market_ns=MARKET_NS,
        venue=AccountSnapshot(
            account=ACCOUNT,
            uid="100001",
            margin_mode="REGULAR_MARGIN",
            balances=state.balances,
            positions=state.positions,
            orders=(),
            figures=FIGURES,
            event_market_ns=MARKET_NS,
            seen_wire_ns=WIRE_NS - SECOND,
        ),
        state=state,
        stale=(),
        ages=DataAges(SECOND, SECOND // 2, 60 * SECOND, 60 * SECOND),
        pairs=tuple(
            ArbitragePair(
                spec=spec,
                symbol=f"{spec.coin}USDT",
                size=HELD[spec.coin],
                quality_score=D("0.3"),
                status=PairStatus.HELD if HELD[spec.coin] else PairStatus.FLAT,
                narrative=spec.narrative,
            )
            for spec in pairs
        ),
        legs={s.pair_id: PairLegs(s.pair_id, HELD[s.coin], HELD[s.coin]) for s in pairs},
        quotes={
            leg: Quote(
                leg,
                (Level(PRICES[c] - D("0.01"), D(1_000)),),
                (Level(PRICES[c] + D("0.01"), D(1_000)),),
                MARKET_NS,
                WIRE_NS - SECOND // 2,
            )
            for c in PRICES
            for leg in (spot(c), perpetual(c))
        },
        funding={
            perpetual(c): FundingOutlook(
                perpetual(c), D(rate), MARKET_NS + 8 * HOUR_NS, 480, MARKET_NS, WIRE_NS - 60 * SECOND
            )
            for c, rate in RATES.items()
        },
        guard=GuardReport("ok", FIGURES, FIGURES, D("0.00001"), (), (guard_action(),), SECOND // 10),
        freezes=(),
        halted=False,
        intents=(intent_row(),),
        limits=RiskLimits(),
        recovered=True,
    )


def settled(coin: str, days: int = 60) -> tuple[Settlement, ...]:
    """Three settlements a day at the coin's rate, up to now, with a basis that breathes a little."""
    rows = []
    for number in range(days * 3):
        at = MARKET_NS - (days * 3 - 1 - number) * 8 * HOUR_NS
        price = PRICES[coin] * (1 + D(number % 5) / 100_000)
        rows.append(Settlement(at, D(RATES[coin]), price, PRICES[coin]))
    return tuple(rows)


#: What an order would do: ours in full, the venue's cut to four places.
RATES_OURS = VenueCheck(D("0.02021"), D("0.00404"), D("0.03037"), D("0.00608"))
RATES_VENUE = VenueCheck(D("0.0202"), D("0.0040"), D("0.0303"), D("0.0060"))


@dataclass
class SampleDesk:
    """Implements `DeskService` on the values above, and counts what was asked."""

    tokens: dict[str, Principal] = field(
        default_factory=lambda: {
            "cda_all": Principal("agent", ALL_SCOPES),
            "cda_reader": Principal("reader", ("read",)),
        }
    )
    book: DeskSnapshot = field(default_factory=snapshot)
    proposals: list[ProposalRequest] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    #: What `request_execution` and `intent` wait for, when set.
    gate: anyio.Event | None = None
    #: What the venue is asked about, and its answer.
    asked: list[tuple[LegChange, ...]] = field(default_factory=list)
    answer: Callable[[LegChange], OrderCheck] = lambda row: OrderCheck(
        row.instrument_id, row.quantity, RATES_OURS, RATES_VENUE, ""
    )
    change: Callable[[Proposal], Proposal] = lambda proposal: proposal

    async def authenticate(self, token: str) -> Principal:
        if token not in self.tokens:
            raise AccessError("This token opens nothing.", next_step="Ask the operator for a token.")
        return self.tokens[token]

    def _allow(self, principal: Principal, scope: str) -> None:
        self.calls.append(scope)
        if scope not in principal.scopes:
            raise AccessError(f"Token {principal.name} lacks the scope {scope}.", allowed=scope)

    async def read(self, principal: Principal) -> DeskSnapshot:
        self._allow(principal, "read")
        return self.book

    async def settlements(
        self, principal: Principal, instrument_id: InstrumentId, since_market_ns: int
    ) -> tuple[Settlement, ...]:
        self._allow(principal, "read")
        coin = instrument_id.rpartition(":")[2].removesuffix("USDT")
        return tuple(row for row in settled(coin) if row.market_ns >= since_market_ns)

    async def check_orders(
        self, principal: Principal, changes: tuple[LegChange, ...]
    ) -> tuple[OrderCheck, ...]:
        self._allow(principal, "simulate")
        self.asked.append(changes)
        return tuple(self.answer(row) for row in changes)

    async def propose(self, principal: Principal, request: ProposalRequest) -> Proposal:
        self._allow(principal, "propose")
        self.proposals.append(request)
        changes = tuple(
            ProposedChange(
                pair_id=wanted.pair_id,
                from_quantity=D(100),
                to_quantity=D(150),
                from_usd=D(20_000),
                to_usd=wanted.notional_usd,
                cost_usd=D("15.5"),
                carry_usd_per_day=D("27"),
                note="pays back in 2 days",
            )
            for wanted in request.targets
            if wanted.pair_id in self.book.legs
        )
        skipped = tuple(
            Skipped(wanted.pair_id, "not a pair of this desk")
            for wanted in request.targets
            if wanted.pair_id not in self.book.legs
        )
        proposal = Proposal(
            status="proposed" if changes else "no_change",
            row=intent_row(IntentStatus.PROPOSED) if changes else None,
            changes=changes,
            skipped=skipped,
            cost_usd=D("15.5"),
            carry_usd_per_day=D(27),
            before=FIGURES,
            after=replace(FIGURES, initial_margin=D(3_000), maintenance_margin=D(600)),
            worst_stress="market -40 %",
            worst_stress_health=D("0.91"),
            repeated=request.request_id == "again",
        )
        return self.change(proposal)

    async def request_execution(self, principal: Principal, intent_id: IntentId, digest: str) -> IntentRow:
        self._allow(principal, "request")
        row = self._row(intent_id)
        if digest != row.intent.digest:
            raise ConflictError("The digest is of another text.", field="digest", next_step="Read it again.")
        return row

    async def intent(
        self, principal: Principal, intent_id: IntentId | None, request_id: str | None, wait_ns: int
    ) -> IntentProgress:
        self._allow(principal, "read")
        if self.gate is not None:
            await self.gate.wait()
        row = self._row(intent_id) if intent_id is not None else intent_row()
        pairs = (PairProgress(PairId("SOL@bybit"), D(100), D(150), D(120), D("0.5")),)
        return IntentProgress(row, pairs, 6, 4, D("3.25"), 0, (guard_action(),))

    async def cancel(self, principal: Principal, intent_id: IntentId, reason: str) -> IntentRow:
        self._allow(principal, "propose")
        return replace(self._row(intent_id), status=IntentStatus.CANCELLED, note=reason, moved_by="agent")

    def _row(self, intent_id: IntentId) -> IntentRow:
        if intent_id != "i7f3a":
            raise UnknownNameError(
                f"There is no intent {intent_id}.", field="intent_id", next_step="Call get_portfolio."
            )
        return intent_row()
