"""What the desk asks the venue for a what-if: bounded, and absent answers say why."""

from decimal import Decimal

import anyio
import pytest

from exchanges.paper.commands import ShiftFigures
from portfolio.core.errors import AccessError, InputError, UnknownNameError
from portfolio.core.names import InstrumentId
from portfolio.core.orders import OrderRequest
from portfolio.core.venue_check import VenueCheck
from portfolio.service import LegChange, OrderCheck, Principal
from portfolio.venue_questions import ASKED_PER_SECOND
from tests.portfolio.living_desk import AGENT, Living, with_desk
from tests.portfolio.rig import perpetual, spot

SHORT = LegChange(perpetual("SOL"), Decimal(-100))


def test_ours_stands_beside_the_venues_answer_for_the_same_order() -> None:
    async def test(living: Living) -> None:
        (row,) = await living.desk.check_orders(AGENT, (SHORT,))
        assert (row.instrument_id, row.quantity, row.note) == (SHORT.instrument_id, SHORT.quantity, "")
        assert row.ours is not None
        assert row.venue is not None
        # The in-memory venue does not round, and both looked within a few ms.
        assert row.ours.mm_rate_after == pytest.approx(row.venue.mm_rate_after, rel=Decimal("1e-4"))
        assert row.ours.im_rate_after == pytest.approx(row.venue.im_rate_after, rel=Decimal("1e-4"))
        assert row.venue.mm_rate_before == 0 < row.venue.mm_rate_after
        living.world.venue.command(ShiftFigures(maintenance_factor=Decimal("1.1")))
        await anyio.sleep(1)
        (apart,) = await living.desk.check_orders(AGENT, (SHORT,))
        assert apart.ours is not None
        assert apart.venue is not None
        gap = apart.venue.mm_rate_after / apart.ours.mm_rate_after
        assert gap == pytest.approx(Decimal("1.1"), rel=Decimal("1e-3"))

    with_desk(test)


def test_an_absent_answer_says_why() -> None:
    async def test(living: Living) -> None:
        too_large = LegChange(perpetual("BTC"), Decimal(-400))
        less = LegChange(perpetual("SOL"), Decimal("0.0001"))
        refused, lot = await living.desk.check_orders(AGENT, (too_large, less))
        assert refused.venue is None
        assert refused.note == "ab not enough for new order"
        assert lot.venue is None
        assert lot.note == "less than one lot"

    with_desk(test)


def test_the_venue_is_asked_a_few_times_a_second_by_all_callers_together() -> None:
    async def test(living: Living) -> None:
        rows: list[OrderCheck] = []
        for _ in range(3):
            rows += await living.desk.check_orders(AGENT, (SHORT, SHORT))
        assert [row.venue is not None for row in rows] == [True] * ASKED_PER_SECOND + [False] * 2
        assert "often enough" in rows[-1].note
        assert rows[-1].ours is not None
        await anyio.sleep(1.1)
        (again,) = await living.desk.check_orders(AGENT, (SHORT,))
        assert again.venue is not None

    with_desk(test)


def test_a_venue_that_answers_late_or_not_at_all_holds_nobody_up() -> None:
    async def test(living: Living) -> None:
        async def silent(order: OrderRequest) -> VenueCheck | None:
            await anyio.sleep(60)
            raise AssertionError(order)

        async def without(order: OrderRequest) -> VenueCheck | None:
            assert order.limit_price is None
            return None

        living.world.venue.check_order = silent  # type: ignore[method-assign]
        began = living.world.clocks.wire_ns()
        (late,) = await living.desk.check_orders(AGENT, (SHORT,))
        assert (late.venue, late.note) == (None, "the venue did not answer in time")
        assert living.world.clocks.wire_ns() - began < 1_500_000_000
        living.world.venue.check_order = without  # type: ignore[method-assign]
        (none,) = await living.desk.check_orders(AGENT, (SHORT,))
        assert none.note == "the venue answers no such question"

    with_desk(test)


def test_only_a_few_perpetuals_of_this_desk_may_be_asked_about_and_only_with_the_scope() -> None:
    async def test(living: Living) -> None:
        with pytest.raises(InputError, match="too many"):
            await living.desk.check_orders(AGENT, (SHORT,) * 4)
        with pytest.raises(InputError, match="not a perpetual"):
            await living.desk.check_orders(AGENT, (LegChange(spot("SOL"), Decimal(1)),))
        with pytest.raises(UnknownNameError):
            await living.desk.check_orders(AGENT, (LegChange(InstrumentId("bybit:linear:X"), Decimal(1)),))
        with pytest.raises(AccessError):
            await living.desk.check_orders(Principal("reader", ("read",)), (SHORT,))
        assert await living.desk.check_orders(AGENT, ()) == ()

    with_desk(test)
