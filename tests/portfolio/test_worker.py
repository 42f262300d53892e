"""The worker on a real venue core: order of sending, batches, write-ahead, answers, limits."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from exchanges.memory import MemoryOptions
from exchanges.paper.faults import FaultPlan, RequestFault
from portfolio.core.errors import InputError, UnknownNameError
from portfolio.core.events import RateLimitUpdate
from portfolio.core.instrument import InstrumentKind
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import ClientOrderId, InstrumentId
from portfolio.core.orders import (
    Accepted,
    CancelRequest,
    NotSent,
    OrderClass,
    OrderRequest,
    Outcome,
    Priority,
    Rejected,
    Side,
    TimeInForce,
)
from portfolio.lanes import lower_bound_ns
from tests.portfolio.rig import COINS, Settings, desk, perpetual, spot, world

pytestmark = pytest.mark.anyio
RTT_NS = 50_000_000
FAR = Settings(options=MemoryOptions(latency_ns=RTT_NS))


def small(coin: str) -> str:
    """A quantity above every minimum, a few hundred USD."""
    return {"BTC": "0.01", "ETH": "0.2", "SOL": "4", "XRP": "800", "DOGE": "4000", "BNB": "1"}.get(coin, "20")


async def test_an_approved_entry_and_its_hedge_fill_and_are_booked_for_their_pair() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        lead, hedge = rig.entry("SOL", "10"), rig.hedge("SOL", "10")
        for order in (lead, hedge):
            (outcome,) = await rig.send(order)
            assert isinstance(outcome, Accepted)
            row = await rig.worker.settled(order.client_order_id, timeout_ns=5 * SECOND_NS)
            assert (row.state, row.filled, row.venue_order_id) == (
                "closed",
                Decimal(10),
                outcome.venue_order_id,
            )
        assert rig.venue_position("SOL") == -10
        assert rig.journal.holdings() == {
            (lead.pair_id, perpetual("SOL")): Decimal(-10),
            (lead.pair_id, spot("SOL")): Decimal("9.99"),  # a spot buy pays its fee in the coin
        }


async def test_an_order_is_on_disk_with_its_deadline_when_the_venue_sees_it() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        seen: list[tuple[str, int]] = []

        def look(orders: object) -> None:
            now = rig.clocks.wire_ns()
            seen.extend((row.state, row.deadline_wire_ns - now) for row in rig.journal.orders())

        rig.exchange.on_place = look
        await rig.send(rig.entry("SOL", "5"), rig.entry("SOL", "5"))
        assert seen == [("planned", 2 * SECOND_NS)] * 2


async def test_batches_are_as_large_as_venue_and_limit_allow_and_kinds_go_side_by_side() -> None:
    async with desk(settings=FAR) as rig:
        await rig.hold("SOL", "20")
        sales = [
            rig.order("SOL", InstrumentKind.SPOT, Side.SELL, Decimal("0.5"), OrderClass.REDUCE, intent="g1")
            for _ in range(25)
        ]
        buys = [rig.reduction("SOL", "0.5") for _ in range(12)]
        start = rig.clocks.wire_ns()
        outcomes = await rig.send(*sales, *buys, priority=Priority.DERISK)
        assert all(isinstance(one, Accepted) for one in outcomes)
        sent = [(at - start, keys[0], len(keys)) for at, _, keys in rig.exchange.requests]
        by_kind = {
            name: [
                (at // SECOND_NS, size)
                for at, key, size in sent
                if key in {o.client_order_id for o in orders}
            ]
            for name, orders in (("spot", sales), ("linear", buys))
        }
        # Spot: at most 10 a request, 20 a second. Perpetuals: 20 a request, but 10 a second.
        assert by_kind == {"spot": [(0, 10), (0, 10), (1, 5)], "linear": [(0, 10), (1, 2)]}


async def test_what_takes_risk_off_overtakes_queued_entries_and_draws_the_reserve() -> None:
    async with desk(settings=FAR) as rig:
        await rig.hold("SOL", "8")
        rig.approve(("BTC", "0.2"))
        entries = [rig.entry("BTC", "0.01") for _ in range(16)]
        cuts = [rig.reduction("SOL", "1") for _ in range(3)]
        async with anyio.create_task_group() as group:
            group.start_soon(rig.send, *entries)
            await anyio.sleep(0.2)
            await rig.send(*cuts, priority=Priority.DERISK)
        order = rig.exchange.placed
        assert order[:8] == [one.client_order_id for one in entries[:8]], "a fifth of ten is not for entries"
        assert order[8:11] == [one.client_order_id for one in cuts]
        at = {key: at for at, _, keys in rig.exchange.requests for key in keys}
        assert at[order[9]] - at[order[0]] < SECOND_NS // 2, "two went at once from the reserve"
        assert set(order[11:]) == {one.client_order_id for one in entries[8:]}


async def test_an_entry_is_an_entry_whatever_priority_it_is_sent_with() -> None:
    async with desk() as rig:
        rig.approve(("BTC", "0.2"))
        entries = [rig.entry("BTC", "0.01") for _ in range(10)]
        start = rig.clocks.wire_ns()
        await rig.send(*entries, priority=Priority.DERISK)
        assert [len(keys) for _, _, keys in rig.exchange.requests] == [8, 2]
        assert rig.clocks.wire_ns() - start > SECOND_NS


async def test_a_hedge_that_comes_with_entries_goes_before_them() -> None:
    async with desk() as rig:
        await rig.hold("SOL", "8")
        rig.approve(("BTC", "0.2"))
        entries = [rig.entry("BTC", "0.01") for _ in range(3)]
        hedge = rig.order(
            "SOL", InstrumentKind.PERPETUAL, Side.BUY, Decimal(1), OrderClass.HEDGE, reduce_only=True
        )
        await rig.send(*entries, hedge)
        assert rig.exchange.placed[0] == hedge.client_order_id


async def test_cancels_do_not_wait_for_the_limits_of_placing() -> None:
    async with desk(settings=FAR) as rig:
        rig.approve(("SOL", "30"))
        price = rig.price(perpetual("SOL"), Side.BUY)  # above the market: a sale rests
        resting = rig.entry("SOL", "1", price=price, time_in_force=TimeInForce.POST_ONLY)
        await rig.send(resting)
        async with anyio.create_task_group() as group:
            group.start_soon(rig.send, *[rig.entry("SOL", "1") for _ in range(20)])
            await anyio.sleep(0.2)
            before = rig.clocks.wire_ns()
            (outcome,) = await rig.worker.cancel([CancelRequest(resting.client_order_id, perpetual("SOL"))])
            assert isinstance(outcome, Accepted)
            assert rig.clocks.wire_ns() - before <= 2 * RTT_NS
        await rig.settle(resting)
        row = rig.journal.order(resting.client_order_id)
        assert row is not None
        assert (row.state, row.filled) == ("closed", Decimal(0))
        (again,) = await rig.worker.cancel([CancelRequest(resting.client_order_id, perpetual("SOL"))])
        assert isinstance(again, Rejected), "it is over already"


async def test_seven_urgent_pairs_take_little_longer_than_the_limits_allow() -> None:
    async with desk(settings=FAR) as rig:
        for coin in COINS:
            await rig.hold(coin, small(coin))
        orders: list[OrderRequest] = []
        for coin in COINS:
            quantity = Decimal(small(coin)) / 2
            orders.append(rig.reduction(coin, str(quantity)))
            orders.append(
                rig.order(coin, InstrumentKind.SPOT, Side.SELL, quantity, OrderClass.REDUCE, intent="g1")
            )
        start = rig.clocks.monotonic_ns()
        outcomes = await rig.send(*orders, priority=Priority.DERISK)
        took = rig.clocks.monotonic_ns() - start
        assert all(isinstance(one, Accepted) for one in outcomes)
        counts = {("place", kind): len(COINS) for kind in InstrumentKind}
        bound = lower_bound_ns(counts, rig.exchange.traits, RTT_NS)
        assert bound == RTT_NS
        assert took <= 1.5 * bound
        assert len(rig.exchange.requests) == 2, "one batch per kind"


async def test_orders_of_callers_that_come_together_share_a_batch() -> None:
    async with desk() as rig:
        await rig.hold("SOL", "8")
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(rig.worker.submit, [rig.reduction("SOL", "1")], Priority.DERISK)
        assert [len(keys) for _, _, keys in rig.exchange.requests] == [4]


async def test_the_venue_can_slow_the_worker_down() -> None:
    async with desk() as rig:
        await rig.hold("SOL", "8")
        now = rig.clocks.wire_ns()
        rig.worker.rate_limit(RateLimitUpdate("place.linear", 10, 0, now + 3 * SECOND_NS, now))
        rig.worker.rate_limit(RateLimitUpdate("unheard of", 10, 0, now + 3 * SECOND_NS, now))
        await rig.send(rig.reduction("SOL", "1"), priority=Priority.DERISK)
        assert rig.exchange.requests[0][0] - now >= 3 * SECOND_NS


async def test_a_refusal_for_the_rate_closes_the_limit_until_the_venue_has_forgotten() -> None:
    faults = FaultPlan(explicit={3: RequestFault.RATE_LIMIT})
    async with desk(settings=Settings(faults=faults)) as rig:
        await rig.hold("SOL", "8")
        (refused,) = await rig.send(rig.reduction("SOL", "1"), priority=Priority.DERISK)
        assert isinstance(refused, NotSent), "it says nothing of the order"
        told = rig.clocks.monotonic_ns()
        (taken,) = await rig.send(rig.reduction("SOL", "1"), priority=Priority.DERISK)
        assert isinstance(taken, Accepted)
        assert rig.clocks.monotonic_ns() - told >= SECOND_NS


@pytest.mark.parametrize(
    ("fault", "outcome", "state"),
    [
        (RequestFault.REJECT, Rejected, "rejected"),
        (RequestFault.RATE_LIMIT, NotSent, "not_sent"),
        (RequestFault.NOT_SENT, NotSent, "not_sent"),
    ],
)
async def test_an_answer_is_journalled_and_the_same_order_never_goes_again(
    fault: RequestFault, outcome: type, state: str
) -> None:
    async with desk(settings=Settings(faults=FaultPlan(explicit={1: fault}))) as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "10")
        (first,) = await rig.send(lead)
        assert isinstance(first, outcome)
        row = await rig.worker.settled(lead.client_order_id, timeout_ns=0)
        assert row.state == state
        (second,) = await rig.send(lead)
        assert isinstance(second, outcome)
        assert rig.exchange.placed == [lead.client_order_id]
        retry = replace(lead, client_order_id=ClientOrderId("another1"))
        (third,) = await rig.send(retry)
        assert isinstance(third, Accepted), "a new attempt has a new id, and nothing was used up"


async def test_a_repeated_submission_gets_the_first_answer_and_no_second_order() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "4")
        (first,) = await rig.send(lead)
        assert await rig.send(lead) == (first,)
        await rig.settle(lead)
        assert await rig.send(lead) == (first,)
        (other,) = await rig.send(replace(lead, quantity=Decimal(3)))
        assert isinstance(other, NotSent)
        assert "another order" in other.reason
        twice = rig.entry("SOL", "1")
        outcomes = await rig.send(twice, twice)
        assert [type(one) for one in outcomes] == [Accepted, NotSent]
        assert rig.exchange.placed == [lead.client_order_id, twice.client_order_id]
        assert rig.venue_position("SOL") == -5


async def test_a_caller_that_stops_waiting_loses_no_outcome_of_what_is_on_the_wire() -> None:
    async with desk(settings=FAR) as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "10")
        with anyio.move_on_after(0.01) as scope:
            await rig.send(lead)
        assert scope.cancelled_caught
        await rig.settle(lead)
        row = rig.journal.order(lead.client_order_id)
        assert row is not None
        assert (row.state, row.filled) == ("closed", Decimal(10))


async def test_a_caller_that_stops_waiting_withdraws_what_is_queued() -> None:
    async with desk(settings=FAR) as rig:
        rig.approve(("BTC", "0.2"))
        entries = [rig.entry("BTC", "0.01") for _ in range(16)]
        with anyio.move_on_after(0.2):
            await rig.send(*entries)
        await anyio.sleep(5)
        assert rig.exchange.placed == [one.client_order_id for one in entries[:8]]
        assert rig.journal.order(entries[8].client_order_id) is None


async def test_a_worker_that_stops_finishes_what_is_on_the_wire_and_answers_the_rest(
    tmp_path: object,
) -> None:
    async with world(f"{tmp_path}/journal", FAR) as made:
        outcomes: list[Outcome] = []
        async with made.desk() as rig:
            rig.approve(("BTC", "0.2"))
            entries = [rig.entry("BTC", "0.01") for _ in range(16)]
            async with anyio.create_task_group() as group:

                async def send() -> None:
                    with anyio.CancelScope(shield=True):
                        outcomes.extend(await rig.send(*entries))

                group.start_soon(send)
                await anyio.sleep(0.03)
                rig.stop()
        assert [type(one) for one in outcomes] == [Accepted] * 8 + [NotSent] * 8
        async with made.desk() as rig:
            states = {row.request.client_order_id: row.state for row in rig.journal.orders()}
            assert states.keys() == {one.client_order_id for one in entries[:8]}
            assert set(states.values()) == {"closed"}


async def test_waiting_for_an_order_ends_at_the_limit_with_the_order_as_it_is() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        resting = rig.entry(
            "SOL", "1", price=rig.price(perpetual("SOL"), Side.BUY), time_in_force=TimeInForce.POST_ONLY
        )
        await rig.send(resting)
        before = rig.clocks.wire_ns()
        row = await rig.worker.settled(resting.client_order_id, timeout_ns=3 * SECOND_NS)
        assert row.state == "accepted"
        assert rig.clocks.wire_ns() - before == pytest.approx(3 * SECOND_NS, rel=0.01)
        with pytest.raises(UnknownNameError):
            await rig.worker.settled(ClientOrderId("nobody"), timeout_ns=SECOND_NS)


async def test_orders_that_no_venue_could_take_are_refused_together_with_their_neighbours() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        good = rig.entry("SOL", "1")
        for bad in (
            replace(good, quantity=Decimal(0)),
            replace(good, borrow=True),
            replace(rig.hedge("SOL", "1"), reduce_only=True),
        ):
            with pytest.raises(InputError):
                await rig.send(good, bad)
        with pytest.raises(UnknownNameError):
            await rig.send(replace(good, instrument_id=InstrumentId("bybit:linear:NOPE")))
        with pytest.raises(UnknownNameError):
            await rig.worker.cancel([CancelRequest(good.client_order_id, InstrumentId("nope"))])
        assert rig.exchange.placed == []


async def test_a_new_desk_counts_what_the_one_before_sent_a_moment_ago(tmp_path: Path) -> None:
    async with world(str(tmp_path / "journal.db"), Settings()) as made:
        async with made.desk() as rig:
            await rig.hold("SOL", "60")
            await anyio.sleep(3)
            burst = [rig.reduction("SOL", "1", intent="g1") for _ in range(10)]
            outcomes = await rig.send(*burst, priority=Priority.DERISK)
            assert all(isinstance(one, Accepted) for one in outcomes)
        async with made.desk() as rig:
            burst = [rig.reduction("SOL", "1", intent="g2") for _ in range(10)]
            outcomes = await rig.send(*burst, priority=Priority.DERISK)
            assert all(isinstance(one, Accepted) for one in outcomes), outcomes
