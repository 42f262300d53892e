"""The guard and the venue's ledger: what it may take for a loss, and what the owner only took out."""

from dataclasses import replace
from decimal import Decimal

import anyio
import pytest

from exchanges.paper.commands import Transfer
from portfolio.core.entries import UNKNOWN_CASH, CashBooked, EntriesFrozen, EntriesThawed, GuardActed, Noted
from portfolio.core.errors import Effect, VenueError
from portfolio.core.limits import MINUTE_NS, SECOND_NS
from portfolio.core.names import Coin
from portfolio.core.orders import NotSent
from tests.portfolio.guard_rig import Post, guarded, on_guard
from tests.portfolio.rig import Settings, world

pytestmark = pytest.mark.anyio
D = Decimal
USDT = Coin("USDT")
MINUTE = MINUTE_NS // SECOND_NS


class Ledger:
    """The venue's ledger, which cannot be read for a while, or has rows of the test's own."""

    def __init__(self, post: Post) -> None:
        self.down = False
        self.more: tuple[CashBooked, ...] = ()
        self._post = post
        self._read = post.rig.exchange.ledger
        post.rig.exchange.ledger = self.read  # type: ignore[method-assign]

    async def read(self, since_market_ns: int) -> tuple[CashBooked, ...]:
        if self.down:
            raise VenueError("transaction-log: HTTP 503", effect=Effect.UNKNOWN)
        return (*await self._read(since_market_ns), *self.more)

    def row(self, kind: str, coin: str, amount: int) -> None:
        """The ledger shows this from now on."""
        at = self._post.rig.clocks.market_ns()
        self.more += (CashBooked(kind, f"row {len(self.more)}", None, Coin(coin), D(amount), at),)


def sources(post: Post) -> list[str]:
    return [row.source for row in post.entries(EntriesFrozen)]


def fall(post: Post) -> None:
    """The book lost an eighth, as if its peak had been so much higher."""
    state = post.guard._memory.state
    assert state.peak_equity is not None
    post.guard._memory.state = replace(state, peak_equity=state.peak_equity / D("0.875"))


async def refused(post: Post) -> str:
    (outcome,) = await post.rig.send(post.rig.entry("SOL", "1"))
    assert isinstance(outcome, NotSent)
    return outcome.reason


async def test_a_withdrawal_that_the_ledger_cannot_show_for_long_freezes_entries_and_winds_down_nothing() -> (
    None
):
    async with guarded({"SOL": "80"}) as post:
        await anyio.sleep(5)
        ledger = Ledger(post)
        ledger.down = True
        post.command(Transfer(USDT, D(-5_000)))
        await anyio.sleep(2)
        assert "below its drawdown line" in await refused(post)
        await anyio.sleep(6 * MINUTE)
        assert sources(post) == ["ledger"]
        assert "perhaps withdrawn: the venue's ledger was not read since" in await refused(post)
        ledger.down = False
        await anyio.sleep(10)
        assert [row.source for row in post.entries(EntriesThawed)] == ["ledger"]
        assert post.guard.frozen() == ()
        assert post.entries(GuardActed) == []
        assert post.sides("SOL")[1] == -80


async def test_a_loss_is_wound_down_as_soon_as_the_ledger_shows_that_nothing_was_withdrawn() -> None:
    async with guarded({"SOL": "80"}) as post:
        await anyio.sleep(5)
        ledger = Ledger(post)
        ledger.down = True
        fall(post)
        await anyio.sleep(4 * MINUTE)
        assert post.sides("SOL")[1] == -80
        ledger.down = False
        await anyio.sleep(20)
        assert sources(post) == ["ledger", "drawdown"]
        assert post.sides("SOL")[1] == 0


async def test_a_loss_is_wound_down_after_an_hour_though_the_ledger_never_answers() -> None:
    async with guarded({"SOL": "80"}) as post:
        await anyio.sleep(5)
        Ledger(post).down = True
        post.rig.view.ledger_read_wire_ns = None
        fall(post)
        await anyio.sleep(2)
        state = post.guard._memory.state
        assert state.drawdown_since is not None
        # As if all that had begun 56 minutes earlier.
        since = state.drawdown_since - 56 * MINUTE_NS
        post.guard._memory.state = replace(state, drawdown_since=since)
        await anyio.sleep(4 * MINUTE - 10)
        assert post.sides("SOL")[1] == -80
        await anyio.sleep(30)
        assert sources(post) == ["ledger", "drawdown"]
        assert post.sides("SOL")[1] == 0


async def test_a_reading_that_the_journal_could_not_take_proves_nothing() -> None:
    async with guarded({"SOL": "80"}) as post:
        await anyio.sleep(5)
        post.rig.disk(fails=True)
        post.command(Transfer(USDT, D(-5_000)))
        await anyio.sleep(4 * MINUTE)
        assert post.sides("SOL")[1] == -80
        post.rig.disk(fails=False)
        await anyio.sleep(20)
        assert post.guard.frozen() == ()
        assert post.entries(GuardActed) == []


@pytest.mark.parametrize(("kind", "coin"), [("transfer", "PEPE"), (UNKNOWN_CASH, "USDT")])
async def test_a_row_whose_worth_is_not_known_leaves_a_fall_undecided_and_is_named(
    kind: str, coin: str
) -> None:
    async with guarded({"SOL": "80"}) as post:
        await anyio.sleep(5)
        ledger = Ledger(post)
        ledger.row(kind, coin, -5_000)
        fall(post)
        await anyio.sleep(5 * MINUTE)
        assert sources(post) == ["ledger"]
        assert f"the worth of -5000 {coin} ({kind} row 0) is not known" in await refused(post)
        assert post.sides("SOL")[1] == -80
        noted = [row.text for row in post.entries(Noted) if row.topic == "ledger"]
        named = "-5000 USDT moved, of a type that is not known here: row 0"
        assert noted == ([named] if kind == UNKNOWN_CASH else [])


async def test_transfers_count_although_one_before_them_has_no_price() -> None:
    async with guarded({"SOL": "80"}) as post:
        await anyio.sleep(5)
        ledger = Ledger(post)
        ledger.row("transfer", "PEPE", 100)
        await anyio.sleep(90)
        post.command(Transfer(USDT, D(-5_000)))
        await anyio.sleep(5 * MINUTE)
        assert post.entries(EntriesFrozen) == []
        assert post.guard._memory.state.transfers_usd == pytest.approx(D(-5_000), rel=D("0.01"))


async def test_a_restart_times_a_fall_anew() -> None:
    async with world(":memory:", Settings(usdt=D(20_000))) as made, made.desk() as rig:
        async with on_guard(rig) as post:
            await anyio.sleep(5)
            Ledger(post).down = True
            fall(post)
            await anyio.sleep(3 * MINUTE)
            assert sources(post) == ["ledger"]
            before = post.guard._memory.state.drawdown_since
        await anyio.sleep(3 * MINUTE)
        async with on_guard(rig) as post:
            await anyio.sleep(5)
            since = post.guard._memory.state.drawdown_since
            assert before is not None
            assert since is not None
            assert since - before >= 5 * MINUTE_NS
            assert sources(post) == ["ledger"]
