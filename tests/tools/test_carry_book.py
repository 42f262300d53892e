"""The what-if on a real carry book: seven hedged pairs over recorded prices of November 2024."""

import re
from dataclasses import replace
from decimal import Decimal

import pytest

from exchanges.paper.commands import Shock
from exchanges.paper.core import VenueCore
from portfolio.core.account import Balance
from portfolio.core.names import Coin
from portfolio.service import Principal
from tests.tools.carry_book import COINS, carry_core, carry_snapshot
from tests.tools.sample_desk import SampleDesk
from tools.results import margin_block
from tools.simulate import SimulateArguments, SimulateResult, simulate_margin
from tools.simulate_text import simulation_text

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def core() -> VenueCore:
    return carry_core()


async def simulate(core: VenueCore, agent: Principal, **arguments: object) -> SimulateResult:
    desk = SampleDesk(book=carry_snapshot(core))
    return await simulate_margin(desk, agent, SimulateArguments.model_validate(arguments))


async def test_one_answer_explains_why_a_rally_and_not_a_crash_hurts(
    core: VenueCore, agent: Principal
) -> None:
    result = await simulate(core, agent, detail="full")
    move = result.joint_move
    # Hedged: 280 000 USD a side, and a joint rise of 1 % moves equity by less than a dollar.
    assert abs(Decimal(move.equity_change_usd)) < 1
    assert Decimal(move.haircut_delta_usd) > 100
    assert Decimal(move.maintenance_change_usd) > 0
    assert move.liquidates_at_fall is None
    assert move.liquidates_at_rise is not None
    assert move.what_hurts.startswith("A rally, not a crash, is what hurts this delta-neutral account")
    assert f"adjusted equity changes by -{move.haircut_delta_usd} USD" in move.what_hurts
    assert "no fall does" in move.what_hurts
    assert re.search(
        r"Health 0\.\d+ becomes 0\.\d+ at market \+40% and 0\.\d+ at market -40%\.", move.what_hurts
    )
    by_name = {row.scenario: row for row in result.stresses}
    health = {name: Decimal(row.health_score) for name, row in by_name.items()}
    assert health["market +40%"] < health["market +20%"] < Decimal(result.after.health_score)
    assert health["market -40%"] > health["market -20%"] > Decimal(result.after.health_score)
    assert result.worst_stress is not None
    assert result.worst_stress.scenario == "market +40%"


async def test_what_it_says_of_a_rally_is_what_the_venue_then_reports(agent: Principal) -> None:
    core = carry_core()
    move = (await simulate(core, agent)).joint_move
    before = core.figures()
    core.handle(Shock(dict.fromkeys(map(Coin, COINS), Decimal("1.01"))), core.now_ns)
    after = core.figures()
    lost = before.adjusted_equity - after.adjusted_equity
    # The venue rounds every price to its tick, spot and perpetual apart.
    assert float(lost) == pytest.approx(float(move.haircut_delta_usd), rel=0.05)
    grown = after.maintenance_margin - before.maintenance_margin
    assert float(grown) == pytest.approx(float(move.maintenance_change_usd), rel=0.05)


@pytest.mark.parametrize("target", ["0", "10000", "12345.67"])
async def test_average_shares_add_up_to_the_account_to_the_cent(
    core: VenueCore, agent: Principal, target: str
) -> None:
    result = await simulate(core, agent, targets=[{"pair": "SOL@bybit", "notional_usd": target}])
    shares = result.shares
    for name in type(shares.account).model_fields:
        pairs = [Decimal(getattr(row.average, name)) for row in result.per_pair]
        whole = sum(pairs, start=Decimal(getattr(shares.treasury, name)))
        assert whole == Decimal(getattr(shares.account, name)), name
    after = result.after
    assert shares.account.initial_margin_usd == after.initial_margin_usd
    assert shares.account.maintenance_margin_usd == after.maintenance_margin_usd
    assert shares.account.adjusted_equity_usd == after.adjusted_equity_usd
    # Nothing but coins of pairs is held, so all haircuts and loans are pairs'.
    assert abs(Decimal(shares.treasury.haircut_usd)) < 1
    assert abs(Decimal(shares.treasury.borrowed_usd)) < 1


async def test_the_marginal_share_of_the_last_borrower_is_larger_than_the_average(
    core: VenueCore, agent: Principal
) -> None:
    result = await simulate(core, agent, detail="full")
    assert [row.pair for row in result.per_pair] == [f"{coin}@bybit" for coin in COINS]
    for row in result.per_pair:
        assert Decimal(row.maintenance_margin_usd) > Decimal(row.average.maintenance_margin_usd)
    assert sum(Decimal(row.average.borrowed_usd) for row in result.per_pair) > 100_000


async def test_a_person_can_read_it(core: VenueCore, agent: Principal) -> None:
    result = await simulate(
        core,
        agent,
        targets=[{"pair": "SOL@bybit", "notional_usd": "10000"}],
        find_max="SOL@bybit",
    )
    text = simulation_text(result)
    assert text.splitlines()[0] == result.summary
    assert result.joint_move.what_hurts in text
    assert f"Haircut delta: {result.joint_move.haircut_delta_usd} USD of ECV lost per +1 %." in text
    found = any(row.liquidation_below_usd or row.liquidation_above_usd for row in result.per_pair)
    assert ("account liquidates (ECV / MM 1) with this coin at" in text) == found
    assert ("No coin's price alone" in text) != found
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert result.shares.treasury.adjusted_equity_usd not in rows["no pair's"], "loans, not equity"
    assert rows["account"].split()[-4:] == [
        result.shares.account.initial_margin_usd,
        result.shares.account.maintenance_margin_usd,
        result.shares.account.haircut_usd,
        result.shares.account.borrowed_usd,
    ]
    assert f"{len(result.assumptions)} assumptions stand behind these numbers" in text
    for row in result.per_pair:
        assert row.pair in text
        assert row.maintenance_margin_usd in text
    assert f"gap {result.venue_check.gap if result.venue_check else ''}" in text
    assert "bybit:linear:SOLUSDT 177.4 alone" in text
    assert "Largest SOL@bybit" in text
    assert all(
        len(line) < 140 for block in text.split("\n\n") if "  " in block for line in block.splitlines()
    )


async def test_the_two_numbers_agree_on_it_to_the_cent(core: VenueCore, agent: Principal) -> None:
    check = (await simulate(core, agent)).venue_check
    assert check is not None
    assert check.ours == check.venue == margin_block(core.figures())
    assert (check.gap, check.maintenance_gap, check.equity_gap) == ("0", "0", "0")


async def test_a_book_that_lost_its_shorts_is_hurt_by_a_fall(core: VenueCore, agent: Principal) -> None:
    book = carry_snapshot(core)
    assert book.state is not None
    naked = replace(book, state=replace(book.state, positions=()))
    result = await simulate_margin(SampleDesk(book=naked), agent, SimulateArguments(stress=False))
    assert result.joint_move.what_hurts.startswith(
        "A fall is what hurts: per -1 % total equity changes by -2"
    )
    assert result.joint_move.liquidates_at_fall is not None
    cash = Balance(Coin("USDT"), Decimal(1_000_000), Decimal(0), Decimal(0), Decimal(0))
    short = replace(book, state=replace(book.state, balances=(cash,)))
    result = await simulate_margin(SampleDesk(book=short), agent, SimulateArguments(stress=False))
    assert "net short" in result.joint_move.what_hurts
