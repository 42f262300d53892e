"""The small properties of the values that everything else is made of."""

from decimal import Decimal

import pytest

from portfolio.core.account import AccountSnapshot, MarginFigures, Position, health_score, margin_usage
from portfolio.core.entries import KINDS, Entry
from portfolio.core.errors import CarrydeskError, Effect, VenueError
from portfolio.core.events import EndOfData, VenueEvent
from portfolio.core.intents import IntentStatus
from portfolio.core.names import AccountId, InstrumentId
from portfolio.core.orders import OrderStatus, Side

D = Decimal


def test_health_maps_the_venues_rates_as_the_design_says() -> None:
    # DESIGN 2: 0.8, 0.7 and 0.5 are Bybit MM rates of 16.7, 25 and 41.7 %.
    for health, rate in (("0.8", "16.7"), ("0.7", "25"), ("0.5", "41.7")):
        assert abs(health_score(D(rate), D(100)) - D(health)) < D("0.001")
    assert health_score(D(0), D(100)) == 1
    assert health_score(D(100), D(100)) == 0
    assert health_score(D(1), D(0)) == 0
    assert health_score(D(1), D(-5)) == 0


def test_usage_has_no_value_without_collateral() -> None:
    assert margin_usage(D(50), D(200)) == D("0.25")
    assert margin_usage(D(50), D(0)) is None


def test_a_snapshot_reads_the_venues_own_figures() -> None:
    figures = MarginFigures(D(100), D(90), D(45), D(9))
    snapshot = AccountSnapshot(AccountId("a"), "1", "REGULAR_MARGIN", (), (), (), figures, 0, 0)
    assert snapshot.total_equity == 100
    assert snapshot.adjusted_equity == 90
    assert snapshot.health_score == figures.health_score == D("0.88")
    assert figures.margin_usage == D("0.5")


@pytest.mark.parametrize(("quantity", "pnl"), [("2", "20"), ("-2", "-20")])
def test_unrealised_pnl_follows_the_sign_of_the_position(quantity: str, pnl: str) -> None:
    position = Position(InstrumentId("i"), D(quantity), D(100), D(110), D(10))
    assert position.unrealised_pnl == D(pnl)


def test_sides_know_their_sign_and_their_opposite() -> None:
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)
    assert Side.BUY.opposite is Side.SELL
    assert Side.SELL.opposite is Side.BUY


def test_only_open_states_can_still_change() -> None:
    assert {status for status in OrderStatus if not status.terminal} == {OrderStatus.WORKING}
    assert {status for status in IntentStatus if not status.final} == {
        IntentStatus.PROPOSED,
        IntentStatus.REQUESTED,
        IntentStatus.EXECUTING,
        IntentStatus.CANCELLING,
    }


def test_every_entry_has_a_kind_of_its_own() -> None:
    assert set(KINDS) == set(Entry.__args__)
    assert len(set(KINDS.values())) == len(KINDS)


def test_the_end_of_data_is_an_event_of_the_venue() -> None:
    assert EndOfData in VenueEvent.__args__
    assert EndOfData(1, 2).market_ns == 1


def test_an_error_says_what_happened_and_what_to_do_next() -> None:
    error = CarrydeskError("It broke.", field="x", allowed="y", next_step="Mend it.")
    assert str(error) == "It broke. Mend it."
    assert str(CarrydeskError("It broke.")) == "It broke."
    venue = VenueError("No answer.", effect=Effect.UNKNOWN, venue_code="10016", retry_after_ns=5)
    assert (venue.effect, venue.venue_code, venue.retry_after_ns) == (Effect.UNKNOWN, "10016", 5)
