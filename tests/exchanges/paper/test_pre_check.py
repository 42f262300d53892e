"""What the venue says an order would do, against what it then does."""

from decimal import Decimal

from exchanges.paper.commands import Reply, ShiftFigures
from exchanges.paper.core import VenueCore
from exchanges.paper.pre_check import PreCheck
from portfolio.core.names import InstrumentId
from portfolio.core.orders import Side
from tests.exchanges.paper.venues import BTC_PERP, SOL_PERP, SOL_SPOT, USDT, do, order, venue


def asked(core: VenueCore, *args: object, **kwargs: object) -> PreCheck:
    found = core.pre_check(order(*args, **kwargs))  # type: ignore[arg-type]
    assert isinstance(found, PreCheck)
    return found


def test_the_rates_are_those_that_the_account_has_once_the_order_is_filled() -> None:
    core = venue()
    before = core.dump()
    found = asked(core, BTC_PERP, Side.SELL, "1")
    assert core.dump() == before
    assert found.refusal is None
    assert found.rates.im_rate_before == found.rates.mm_rate_before == 0
    do(core, order(BTC_PERP, Side.SELL, "1"))
    figures = core.figures()
    im, mm = figures.margin_usage, figures.maintenance_margin / figures.adjusted_equity
    assert im is not None
    # It fills within the half spread of the mark, which moves both by hardly anything.
    assert abs(found.rates.im_rate_after - im) < Decimal("0.0001")
    assert abs(found.rates.mm_rate_after - mm) < Decimal("0.0001")


def test_a_reducing_order_counts_only_as_far_as_the_position_goes() -> None:
    core = venue()
    do(core, order(SOL_PERP, Side.SELL, "10"))
    closed = asked(core, SOL_PERP, Side.BUY, "10", reduce_only=True).rates
    beyond = asked(core, SOL_PERP, Side.BUY, "30", reduce_only=True)
    assert beyond.rates == closed
    assert closed.mm_rate_after == 0
    wrong = asked(core, SOL_PERP, Side.SELL, "10", reduce_only=True)
    assert wrong.rates.mm_rate_after == wrong.rates.mm_rate_before
    assert wrong.refusal is not None
    assert wrong.refusal.code == "110017"


def test_an_order_that_does_not_fit_is_refused_with_the_rates_that_it_would_lead_to() -> None:
    core = venue(usdt="5000")
    found = asked(core, BTC_PERP, Side.BUY, "5")
    assert found.refusal is not None
    assert found.refusal.code == "110007"
    assert found.rates.im_rate_after > 1


def test_the_rates_are_shifted_as_everything_that_the_venue_shows() -> None:
    core = venue()
    plain = asked(core, BTC_PERP, Side.SELL, "1").rates
    core.handle(ShiftFigures(maintenance_factor=Decimal("1.1")), core.now_ns)
    shifted = asked(core, BTC_PERP, Side.SELL, "1").rates
    assert shifted.mm_rate_after == plain.mm_rate_after * Decimal("1.1")


def test_spot_an_unknown_symbol_and_an_account_without_equity_have_no_answer() -> None:
    core = venue()
    spot = core.pre_check(order(SOL_SPOT, Side.BUY, "1"))
    assert isinstance(spot, Reply)
    assert "spot" in spot.message
    unknown = core.pre_check(order(InstrumentId("bybit:linear:NOPEUSDT"), Side.BUY, "1"))
    assert isinstance(unknown, Reply)
    assert unknown.code == "10001"
    empty = venue(balances={USDT: Decimal(0)}).pre_check(order(BTC_PERP, Side.BUY, "1"))
    assert isinstance(empty, Reply)
    assert empty.code == "110007"
