"""Candidates carry what is known and leave what is not known unknown."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from portfolio.core.candidates import CandidateInput, candidates, perpetuals
from portfolio.core.errors import MissingDataError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.market import Level, Quote
from portfolio.core.names import Coin, InstrumentId, PairId
from portfolio.core.risk import (
    BorrowTable,
    BorrowTier,
    CollateralTable,
    CollateralTier,
    PositionTier,
    RiskTables,
)
from portfolio.core.selection import Candidate
from tests.portfolio.core.desk_state import PRICES, SOL, given, leg
from tests.portfolio.core.scores import settlements

USDT = Coin("USDT")


def quote(instrument_id: InstrumentId, price: Decimal) -> Quote:
    half = price * Decimal("0.0001")
    return Quote(instrument_id, (Level(price - half, Decimal(1)),), (Level(price + half, Decimal(1)),), 0, 0)


def state(*, held: str = "0", reverse: bool = False) -> CandidateInput:
    base = given(held=held, reverse=reverse)
    return CandidateInput(
        pairs=base.pairs,
        legs=base.legs,
        instruments=base.instruments,
        settlements={},
        quotes={i.instrument_id: quote(i.instrument_id, PRICES[i.base]) for i in base.instruments.values()},
        funding=base.funding,
        tables=RiskTables(
            seen_wire_ns=0,
            collateral={},
            borrow={
                coin: BorrowTable(
                    coin, borrowable=True, hourly_rate=Decimal("0.00001"), quantity_max=None, tiers=()
                )
                for coin in (USDT, Coin("SOL"))
            },
            positions={},
            fees=base.fees,
        ),
        reference_prices=base.reference_prices,
    )


def sol(values: CandidateInput, pair: PairId = SOL) -> Candidate:
    return next(c for c in candidates(values) if c.pair_id == pair)


def test_a_forward_pair_pays_quote_interest_on_half_and_trades_lead_as_maker_and_hedge_as_taker() -> None:
    row = sol(state(held="5"))
    assert row.interval_minutes == 480
    assert row.held_usd == Decimal(1000)
    assert row.facts.predicted_apr == pytest.approx(0.0001 * 3 * 365)
    assert row.facts.borrow_apr == pytest.approx(0.00001 * 8760 / 2)
    # maker 2 bps and adverse selection on 70 % of the lead, taker 5.5 on the rest, 10 on the hedge; a half
    # spread of 1 bp on each leg that is taken
    once = 0.7 * (2 + 1) + 0.3 * (5.5 + 1) + 10 + 1
    assert row.round_trip_cost_bps == pytest.approx(2 * once, rel=1e-6)
    assert row.series is None
    assert row.missing == "the venue has no settlements of it"


def test_a_reverse_pair_borrows_the_whole_coin_and_receives_negative_rates() -> None:
    row = sol(state(reverse=True), PairId("SOL@bybit:reverse"))
    assert row.facts.predicted_apr == pytest.approx(-0.0001 * 3 * 365)
    assert row.facts.borrow_apr == pytest.approx(0.00001 * 8760)
    assert row.facts.basis_bps == pytest.approx(2.0, rel=0.01)


def test_unknown_borrow_rates_never_pay_and_unknown_outlooks_stay_unknown() -> None:
    values = state()
    row = sol(replace(values, funding={}, tables=replace(values.tables, borrow={})))
    assert row.facts.borrow_apr == float("inf")
    assert row.facts.predicted_apr is None


def test_a_missing_book_side_or_fee_makes_the_cost_unknown() -> None:
    values = state()
    spot = leg("SOL", InstrumentKind.SPOT)
    one_sided = {**values.quotes, spot: replace(values.quotes[spot], asks=())}
    assert sol(replace(values, quotes=one_sided)).round_trip_cost_bps is None
    assert sol(replace(values, quotes=one_sided)).facts.basis_bps is None
    assert sol(replace(values, quotes={})).facts.basis_bps is None
    assert sol(replace(values, tables=replace(values.tables, fees={}))).round_trip_cost_bps is None


def test_something_held_without_a_price_is_an_error() -> None:
    with pytest.raises(MissingDataError, match="which is held"):
        candidates(replace(state(held="5"), reference_prices={}))


def test_the_perpetuals_are_those_of_the_pairs() -> None:
    values = state()
    found = perpetuals(values.pairs, values.instruments)
    assert found == {leg(coin, InstrumentKind.PERPETUAL) for coin in PRICES}


def staked(aprs: dict[Coin, Decimal | None], *, reverse: bool = False) -> float | None:
    """The staking yield of a pair whose spot leg is a liquid-staking token."""
    values = state(reverse=reverse)
    instruments = {
        key: replace(row, base=Coin("BBSOL")) if row.base == "SOL" else row
        for key, row in values.instruments.items()
    }
    pair = next(pair for pair in values.pairs.values() if pair.coin == "SOL")
    found = sol(replace(values, instruments=instruments, staking_aprs=aprs), pair.pair_id)
    return found.facts.staking_apr


def test_a_plain_coin_yields_nothing_and_a_staking_token_what_is_known_of_it() -> None:
    assert sol(state()).facts.staking_apr == 0.0
    assert staked({Coin("BBSOL"): Decimal("0.07")}) == pytest.approx(0.07)
    assert staked({}) is None
    assert staked({Coin("BBSOL"): None}) is None


def test_who_is_short_a_staking_token_owes_its_yield_and_an_unknown_one_never_pays() -> None:
    assert staked({Coin("BBSOL"): Decimal("0.07")}, reverse=True) == pytest.approx(-0.07)
    assert staked({}, reverse=True) == float("-inf")


def test_one_unusable_history_leaves_its_pair_without_a_series_and_says_why() -> None:
    values = state()
    rows = settlements(["0.0001"] * 3)
    history = {
        leg("SOL", InstrumentKind.PERPETUAL): rows[::-1],
        leg("BTC", InstrumentKind.PERPETUAL): rows,
    }
    broken, usable = candidates(replace(values, settlements=history))
    assert broken.series is None
    assert "not ascending" in broken.missing
    assert usable.series is not None
    assert len(usable.series.carry) == 3


def with_tables(values: CandidateInput) -> CandidateInput:
    """Risk tables of round numbers: 2 % initial margin, 10 % for loans, half the coin's value counts."""
    tables = values.tables
    return replace(
        values,
        tables=replace(
            tables,
            positions={
                leg("SOL", InstrumentKind.PERPETUAL): (
                    PositionTier(Decimal(10**6), Decimal("0.02"), Decimal("0.01"), Decimal(50), Decimal(0)),
                )
            },
            borrow={
                coin: replace(row, tiers=(BorrowTier(None, Decimal("0.12"), Decimal("0.04"), Decimal(10)),))
                for coin, row in tables.borrow.items()
            },
            collateral={
                Coin("SOL"): CollateralTable(
                    Coin("SOL"), True, (CollateralTier(Decimal(0), None, Decimal("0.5")),)
                )
            },
        ),
    )


def test_a_pair_uses_margin_at_reference_leverage_the_haircut_and_half_a_loan() -> None:
    values = with_tables(state())
    # 10 % at the reference leverage of 10, though the tier allows 2 %; 50 % haircut; half of 12 %.
    assert sol(values).narrative_use == pytest.approx(0.1 + 0.5 + 0.06)
    off = {Coin("SOL"): replace(values.tables.collateral[Coin("SOL")], enabled=False)}
    switched_off = replace(values, tables=replace(values.tables, collateral=off))
    assert sol(switched_off).narrative_use == pytest.approx(0.1 + 1 + 0.06)
    reverse = sol(with_tables(state(reverse=True)), PairId("SOL@bybit:reverse"))
    assert reverse.narrative_use == pytest.approx(0.1 + 0.12)


def test_the_margin_of_a_pair_without_its_tables_is_unknown() -> None:
    values = with_tables(state())
    for missing in ("positions", "collateral", "borrow"):
        tables: dict[str, Any] = {missing: {}}
        assert sol(replace(values, tables=replace(values.tables, **tables))).narrative_use is None


def test_the_thinnest_visible_side_bounds_the_size() -> None:
    values = state()
    # One coin at about 200 USD a side, of which a tenth.
    assert sol(values).liquidity_usd == pytest.approx(20, rel=1e-3)
    assert sol(replace(values, quotes={})).liquidity_usd == 0


def test_quote_interest_is_due_only_while_the_book_is_levered_and_a_borrowed_coin_always() -> None:
    assert sol(state()).facts.leverage_apr == sol(state()).facts.borrow_apr > 0
    assert sol(state(reverse=True), PairId("SOL@bybit:reverse")).facts.leverage_apr == 0
