"""Builders for the guard's tests: pairs whose maintenance margin is proportional to their size."""

from collections.abc import Mapping
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import GuardInput, PairFacts, Simulate
from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.limits import SECOND_NS, RiskLimits
from portfolio.core.names import Coin, InstrumentId, Narrative, PairId, Venue
from portfolio.core.pairs import PairLegs, PairSpec

NOW = 1_700_000_000 * SECOND_NS
D = Decimal


def pair_id(coin: str) -> PairId:
    return PairId(f"{coin}@bybit")


def spec(coin: str, *, reverse: bool = False) -> PairSpec:
    spot = InstrumentId(f"bybit:spot:{coin}USDT")
    perpetual = InstrumentId(f"bybit:linear:{coin}USDT")
    return PairSpec(
        pair_id=PairId(f"{coin}@bybit:reverse") if reverse else pair_id(coin),
        coin=Coin(coin),
        narrative=Narrative(coin),
        long_leg=perpetual if reverse else spot,
        short_leg=spot if reverse else perpetual,
        lead_leg=perpetual,
    )


def instrument(
    coin: str, kind: InstrumentKind, *, lot: str = "0.01", maximum: str | None = None
) -> Instrument:
    return Instrument(
        instrument_id=instrument_id(Venue("bybit"), kind, f"{coin}USDT"),
        venue=Venue("bybit"),
        kind=kind,
        symbol=f"{coin}USDT",
        base=Coin(coin),
        quote=Coin("USDT"),
        tick_size=D("0.01"),
        lot_size=D(lot),
        quantity_min=D(lot),
        notional_min=D(5),
        quantity_max=None if maximum is None else D(maximum),
        market_quantity_max=None,
        funding_interval_minutes=480 if kind is InstrumentKind.PERPETUAL else None,
        leverage_max=D(50) if kind is InstrumentKind.PERPETUAL else None,
        marginable=True,
    )


def facts(
    coin: str,
    long: str | int = 100,
    short: str | int | None = None,
    *,
    score: str | None = "1",
    price: str | None = "100",
    tolerance: str = "0.1",
    long_cost: str | None = "0.0010",
    short_cost: str | None = "0.00055",
    wanted: str | None = None,
    expected: tuple[str | int, str | int] | None = None,
    unsettled: bool = False,
    unknown: bool = False,
) -> PairFacts:
    return PairFacts(
        spec=spec(coin),
        legs=PairLegs(pair_id(coin), D(long), D(long if short is None else short)),
        score=None if score is None else D(score),
        price=None if price is None else D(price),
        tolerance=D(tolerance),
        notional_min=D(5),
        long_cost=None if long_cost is None else D(long_cost),
        short_cost=None if short_cost is None else D(short_cost),
        wanted=None if wanted is None else D(wanted),
        expected=None if expected is None else PairLegs(pair_id(coin), D(expected[0]), D(expected[1])),
        unsettled=unsettled,
        unknown=unknown,
    )


def book(*rows: PairFacts) -> dict[PairId, PairFacts]:
    return {row.spec.pair_id: row for row in rows}


def figures(mm: str | int, ecv: str | int = 100_000, im: str | int = 10_000) -> MarginFigures:
    """MM / ECV of 16.7, 25 and 41.7 % are health 0.8, 0.7 and 0.5 (DESIGN 2)."""
    return MarginFigures(D(ecv), D(ecv), D(im), D(mm))


def shrinking(pairs: Mapping[PairId, PairFacts], now: MarginFigures) -> Simulate:
    """A margin rule in which every coin held needs the same IM and MM."""
    held = sum((row.larger for row in pairs.values()), start=D(0))

    def after(targets: Mapping[PairId, Decimal]) -> MarginFigures:
        kept = sum((min(row.larger, targets.get(key, row.larger)) for key, row in pairs.items()), start=D(0))
        share = kept / held if held else D(0)
        return MarginFigures(
            now.total_equity,
            now.adjusted_equity,
            now.initial_margin * share,
            now.maintenance_margin * share,
        )

    return after


def tick(
    *rows: PairFacts,
    ours: MarginFigures | None = None,
    venue: MarginFigures | None = None,
    state: GuardState | None = None,
    **changes: object,
) -> GuardInput:
    """A healthy, fresh account with these pairs, then the changes."""
    ours = ours or figures(10_000)
    values: dict[str, object] = {
        "now_wire_ns": NOW,
        "state": state or GuardState(),
        "limits": RiskLimits(),
        "ours": ours,
        "venue": venue or ours,
        "venue_age_ns": SECOND_NS,
        "venue_is_new": False,
        "account_age_ns": SECOND_NS,
        "stale": (),
        "pairs": book(*rows),
    }
    values.update(changes)
    values.setdefault("journal_read_wire_ns", values["now_wire_ns"])
    values.setdefault("ledger_read_wire_ns", values["now_wire_ns"])
    return GuardInput(**values)  # type: ignore[arg-type]  # tests name fields by keyword, mypy sees object
