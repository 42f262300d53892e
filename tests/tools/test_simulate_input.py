"""Bad and odd input of the what-if: a typed error or a defined answer, never another layer's exception."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest
from pydantic import ValidationError

from portfolio.core.account import Balance, Position
from portfolio.core.errors import InputError, MissingDataError, NumberError, UnknownNameError
from portfolio.core.guard.gap_sample import GapSample
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.market import Prices
from portfolio.core.names import Coin, PairId
from portfolio.core.pairs import ArbitragePair, PairLegs, PairStatus
from portfolio.core.risk import CollateralTable, CollateralTier
from portfolio.core.table_changes import TableChange
from portfolio.ports import Freeze
from portfolio.service import DeskSnapshot, OrderCheck, Principal
from tests.tools.sample_desk import (
    FIGURES,
    PRICES,
    RATES_OURS,
    RATES_VENUE,
    SECOND,
    WIRE_NS,
    SampleDesk,
    margin_state,
    pair,
    perpetual,
    snapshot,
)
from tools.failures import bad_arguments
from tools.simulate import SimulateArguments, SimulateResult, simulate_margin
from tools.simulate_text import simulation_text

D = Decimal
USDT = Coin("USDT")


def coin(name: str, wallet: str | int, borrow: str | int = 0) -> Balance:
    return Balance(Coin(name), D(wallet), D(borrow), D(0), D(0))


def book(state: MarginState, **changes: object) -> DeskSnapshot:
    """The sample desk with another account, whose pairs hold what the account has."""
    held = {row.coin: row.wallet for row in state.balances}
    shorts = {row.instrument_id: -row.quantity for row in state.positions}
    legs = {
        name: PairLegs(name, max(D(0), held.get(Coin(c), D(0))), max(D(0), shorts.get(perpetual(c), D(0))))
        for c in PRICES
        for name in (PairId(f"{c}@bybit"),)
    }
    return replace(snapshot(), state=state, legs=legs, **changes)  # type: ignore[arg-type]


def holding(*balances: Balance, **changes: object) -> DeskSnapshot:
    return book(replace(margin_state(), balances=balances, positions=(), **changes))  # type: ignore[arg-type]


async def simulate(given: DeskSnapshot | SampleDesk, agent: Principal, **arguments: object) -> SimulateResult:
    desk = SampleDesk(book=given) if isinstance(given, DeskSnapshot) else given
    result = await simulate_margin(desk, agent, SimulateArguments.model_validate(arguments))
    assert simulation_text(result)
    return result


def priced(usd: Mapping[str, str], marks: Mapping[str, str]) -> Prices:
    sample = margin_state().prices
    return Prices(
        marks={**sample.marks, **{perpetual(c): D(p) for c, p in marks.items()}},
        usd={**sample.usd, **{Coin(c): D(p) for c, p in usd.items()}},
    )


# --- odd accounts -----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_empty_account_has_no_health_nothing_to_fear_and_no_room(agent: Principal) -> None:
    result = await simulate(holding(), agent, find_max="SOL@bybit")
    assert result.before.adjusted_equity_usd == "0"
    assert (result.before.health_score, result.before.margin_usage) == ("0", None)
    assert result.joint_move.what_hurts == "No joint move of the coins changes this account's margin."
    assert result.find_max is not None
    assert result.find_max.max_notional_usd == "0"
    assert result.find_max.binding_limit == "health"


@pytest.mark.anyio
async def test_an_account_of_debt_alone_is_valued_and_may_grow_nothing(agent: Principal) -> None:
    target = {"pair": "SOL@bybit", "notional_usd": 1000}
    result = await simulate(holding(coin("USDT", 0, 500)), agent, targets=[target])
    assert result.before.adjusted_equity_usd == "-500"
    assert (result.before.health_score, result.before.margin_usage) == ("0", None)
    assert not result.allowed
    assert "health" in result.blocked_by
    assert "Nothing needs to move" in result.joint_move.what_hurts


@pytest.mark.anyio
async def test_ecv_below_zero_still_lets_a_pair_shrink(agent: Principal) -> None:
    state = replace(margin_state(), balances=(coin("USDT", 0, 30_000), coin("SOL", 100)))
    shrunk = await simulate(book(state), agent, targets=[{"pair": "SOL@bybit", "notional_usd": 0}])
    assert Decimal(shrunk.before.adjusted_equity_usd) < 0
    assert shrunk.allowed
    assert Decimal(shrunk.after.maintenance_margin_usd) < Decimal(shrunk.before.maintenance_margin_usd)


@pytest.mark.anyio
async def test_a_debt_without_a_price_is_an_error_that_names_it(agent: Principal) -> None:
    with pytest.raises(MissingDataError, match="DUST"):
        await simulate(holding(coin("USDT", 1000), coin("DUST", 0, 1)), agent)


@pytest.mark.anyio
async def test_coins_that_count_nothing_are_named(agent: Principal) -> None:
    given = replace(holding(coin("USDT", 1000)), uncounted=(Coin("DUST"),))
    result = await simulate(given, agent)
    assert any("counted as nothing" in text and "DUST" in text for text in result.warnings)
    assert any("only held counts nothing" in text for text in result.assumptions)


@pytest.mark.anyio
async def test_dust_is_valued_like_anything_else(agent: Principal) -> None:
    result = await simulate(holding(coin("USDT", "0.00000001"), coin("SOL", "0.000000001")), agent)
    assert result.before.total_equity_usd == "0"
    assert result.before.health_score == "1"


@pytest.mark.anyio
@pytest.mark.parametrize("price", ["0", "-200"])
async def test_what_is_no_price_is_missing_data(agent: Principal, price: str) -> None:
    broken = replace(margin_state(), prices=priced({"SOL": price}, {}))
    with pytest.raises(MissingDataError, match="SOL"):
        await simulate(book(broken), agent)
    broken = replace(margin_state(), prices=priced({}, {"SOL": price}))
    with pytest.raises(MissingDataError, match="SOLUSDT"):
        await simulate(book(broken), agent)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("table", "gone", "says"),
    [
        ("collateral", Coin("SOL"), "SOL has no collateral table"),
        ("collateral", USDT, "USDT has no collateral table"),
        ("positions", perpetual("SOL"), "SOLUSDT has no risk tiers"),
        ("fees", perpetual("SOL"), "SOLUSDT has no fee rate"),
        ("borrow", USDT, "USDT has no borrow table"),
    ],
)
async def test_a_table_that_is_missing_is_an_error_that_names_it_and_never_a_default(
    agent: Principal, table: str, gone: str, says: str
) -> None:
    state = margin_state()
    left = {key: row for key, row in getattr(state.tables, table).items() if key != gone}
    broken = replace(state, tables=replace(state.tables, **{table: left}))  # type: ignore[arg-type]
    target = {"pair": "SOL@bybit", "notional_usd": 200_000}
    with pytest.raises(MissingDataError, match=says) as caught:
        await simulate(book(broken), agent, targets=[target], find_max="SOL@bybit")
    assert caught.value.field
    assert caught.value.next_step


@pytest.mark.anyio
@pytest.mark.parametrize("wallet", ["NaN", "Infinity", "sNaN"])
async def test_an_amount_that_is_none_is_our_own_error_and_not_the_decimal_modules(
    agent: Principal, wallet: str
) -> None:
    with pytest.raises(NumberError, match="not finite"):
        await simulate(holding(coin("USDT", wallet)), agent, find_max="SOL@bybit")
    twice = replace(margin_state(), balances=(coin("USDT", 1), coin("USDT", 1)))
    with pytest.raises(InputError, match="USDT is there twice"):
        await simulate(book(twice), agent)


@pytest.mark.anyio
async def test_a_position_beyond_the_last_tier_is_valued_and_blocks_what_grows_it(agent: Principal) -> None:
    far = Position(perpetual("SOL"), D(-100_000), D(200), D(200), D(10))
    state = replace(
        margin_state(), balances=(coin("USDT", 50_000_000), coin("SOL", 100_000)), positions=(far,)
    )
    more = await simulate(book(state), agent, targets=[{"pair": "SOL@bybit", "notional_usd": 20_001_000}])
    assert not more.allowed
    assert f"position_tier:{perpetual('SOL')}" in more.blocked_by
    less = await simulate(book(state), agent, targets=[{"pair": "SOL@bybit", "notional_usd": 15_000_000}])
    assert less.allowed


@pytest.mark.anyio
async def test_sizes_of_a_million_million_are_refused_at_the_door_and_by_the_rule(agent: Principal) -> None:
    with pytest.raises(ValidationError, match="less than or equal"):
        await simulate(snapshot(), agent, targets=[{"pair": "SOL@bybit", "notional_usd": "1000000000000"}])
    largest = await simulate(snapshot(), agent, targets=[{"pair": "SOL@bybit", "notional_usd": 10**9}])
    assert f"position_tier:{perpetual('SOL')}" in largest.blocked_by
    whole = snapshot()
    assert whole.state is not None
    pairs = {row.spec.pair_id: row.spec for row in whole.pairs}
    beyond = MarginSim().simulate(whole.state, pairs, whole.legs, {PairId("SOL@bybit"): D(10) ** 12})
    assert not beyond.allowed
    rich = replace(margin_state(), balances=(coin("USDT", 10**12), coin("SOL", 10**12)), positions=())
    assert (await simulate(book(rich), agent)).before.health_score == "1"


# --- odd changes ------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_pair_named_twice_is_refused_even_with_one_size(agent: Principal) -> None:
    target = {"pair": "SOL@bybit", "notional_usd": 1000}
    with pytest.raises(InputError, match="SOL@bybit is named twice"):
        await simulate(snapshot(), agent, targets=[target, target])


@pytest.mark.anyio
async def test_a_change_to_what_is_held_changes_nothing_and_asks_nobody(agent: Principal) -> None:
    desk = SampleDesk()
    same = await simulate(desk, agent, targets=[{"pair": "SOL@bybit", "notional_usd": 20_000}])
    assert same.before == same.after
    assert same.allowed
    assert desk.asked == []


def with_reverse(*, held: int = 0) -> DeskSnapshot:
    """The sample desk with the reverse of SOL@bybit besides."""
    sample, forward = snapshot(), pair("SOL")
    reverse = replace(
        forward,
        pair_id=PairId("SOL@bybit:reverse"),
        long_leg=forward.short_leg,
        short_leg=forward.long_leg,
    )
    row = ArbitragePair(reverse, "SOLUSDT", D(held), None, PairStatus.FLAT, reverse.narrative)
    legs = {**sample.legs, reverse.pair_id: PairLegs(reverse.pair_id, D(held), D(held))}
    return replace(sample, pairs=(*sample.pairs, row), legs=legs)


@pytest.mark.anyio
async def test_a_pair_and_its_reverse_that_cancel_out_are_refused(agent: Principal) -> None:
    back = {"pair": "SOL@bybit:reverse", "notional_usd": 5000}
    with pytest.raises(InputError, match="SOL@bybit and SOL@bybit:reverse cancel each other out"):
        await simulate(with_reverse(), agent, targets=[back])
    with pytest.raises(InputError, match="cancel each other out"):
        await simulate(with_reverse(), agent, targets=[{"pair": "SOL@bybit", "notional_usd": 5000}, back])
    closed = {"pair": "SOL@bybit", "notional_usd": 0}
    turned = await simulate(with_reverse(), agent, targets=[closed, back])
    assert [row.pair for row in turned.per_pair] == ["SOL@bybit:reverse"]
    # What the venue already shows is not the caller's mistake.
    both = await simulate(with_reverse(held=1), agent, targets=[{"pair": "ETH@bybit", "notional_usd": 1000}])
    assert both.before != both.after


@pytest.mark.anyio
async def test_the_largest_size_of_a_pair_whose_reverse_is_held_is_not_named(agent: Principal) -> None:
    with pytest.raises(InputError, match="cancel each other out") as caught:
        await simulate(with_reverse(), agent, find_max="SOL@bybit:reverse")
    assert caught.value.field == "find_max"
    closed = {"pair": "SOL@bybit", "notional_usd": 0}
    turned = await simulate(with_reverse(), agent, targets=[closed], find_max="SOL@bybit:reverse")
    assert turned.find_max is not None
    size = {"pair": "SOL@bybit:reverse", "notional_usd": turned.find_max.max_notional_usd}
    assert (await simulate(with_reverse(), agent, targets=[closed, size])).allowed


@pytest.mark.anyio
async def test_every_limit_that_refuses_is_in_the_text(agent: Principal) -> None:
    result = await simulate(snapshot(), agent, targets=[{"pair": "SOL@bybit", "notional_usd": 10**9}])
    more = len(result.blocked_by) - 3
    assert more > 0
    assert f" and {more} more." in result.summary
    assert f"Refused by: {', '.join(result.blocked_by)}." in simulation_text(result)


# --- why a rise hurts -------------------------------------------------------------------------------------

LONG_SOL = Position(perpetual("SOL"), D(100), D(200), D(200), D(10))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "state",
    [
        replace(margin_state(), balances=(coin("USDT", 60_000), coin("SOL", 0, 100)), positions=(LONG_SOL,)),
        replace(
            margin_state(),
            balances=(coin("USDT", 60_000),),
            positions=(LONG_SOL, Position(perpetual("ETH"), D(-10), D(2000), D(2000), D(10))),
        ),
    ],
    ids=["reverse", "perpetual against perpetual"],
)
async def test_no_collateral_ratio_is_blamed_where_none_has_a_part(
    agent: Principal, state: MarginState
) -> None:
    move = (await simulate(book(state), agent)).joint_move
    assert (move.haircut_delta_usd, move.equity_change_usd) == ("0", "0")
    assert Decimal(move.maintenance_change_usd) > 0
    assert "no collateral ratio has a part in it" in move.what_hurts
    assert "coins held" not in move.what_hurts


@pytest.mark.anyio
async def test_a_hedge_with_haircut_collateral_is_told_its_cause(agent: Principal) -> None:
    move = (await simulate(snapshot(), agent)).joint_move
    assert Decimal(move.haircut_delta_usd) > 0
    assert "the coins held count only at their collateral ratios" in move.what_hurts
    naked = replace(margin_state(), balances=(coin("USDT", 60_000),))
    move = (await simulate(book(naked), agent)).joint_move
    assert "only" not in move.what_hurts


@pytest.mark.anyio
async def test_less_than_a_lot_is_nothing(agent: Principal) -> None:
    result = await simulate(snapshot(), agent, targets=[{"pair": "BTC@bybit", "notional_usd": "1"}])
    assert result.before == result.after


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "", "ten", True, None, "-1", "1e-999999999", "1_0"]
)
def test_a_size_that_is_no_amount_is_one_readable_error(number: object) -> None:
    with pytest.raises(ValidationError) as caught:
        SimulateArguments.model_validate({"targets": [{"pair": "SOL@bybit", "notional_usd": number}]})
    text = bad_arguments("simulate_margin", ("targets",), caught.value)
    assert '"code": "bad_input"' in text
    assert '"field": "targets.0.notional_usd"' in text


def test_a_size_out_of_range_is_told_what_is_allowed() -> None:
    target = {"pair": "SOL@bybit", "notional_usd": "1e-999999999"}
    with pytest.raises(ValidationError) as caught:
        SimulateArguments.model_validate({"targets": [target]})
    text = bad_arguments("simulate_margin", ("targets",), caught.value)
    assert "targets.0.notional_usd: '1e-999999999' is out of range; allowed is 0, or 1e-40 to 1e18" in text


@pytest.mark.parametrize(
    "scenario",
    [
        {"name": "x", "moves": {"SOL": "NaN"}},
        {"name": "x", "moves": {"SOL": "-1"}},
        {"name": "x", "moves": {"SOL": "9.1"}},
        {"name": "x", "collateral_ratio_shift": "0.1"},
        {"name": "", "moves": {}},
        {"name": "x", "move": {}},
    ],
)
def test_a_scenario_that_is_none_is_refused(scenario: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SimulateArguments.model_validate({"scenarios": [scenario]})


@pytest.mark.anyio
async def test_two_scenarios_of_one_name_and_an_unknown_coin_are_refused(agent: Principal) -> None:
    one = {"name": "x", "moves": {"SOL": "-0.1"}}
    with pytest.raises(InputError, match="Two scenarios are named 'x'"):
        await simulate(snapshot(), agent, scenarios=[one, one])
    with pytest.raises(UnknownNameError):
        await simulate(snapshot(), agent, find_max="DOGE@bybit")


@pytest.mark.anyio
async def test_a_scenario_shifts_prices_and_ratios_together(agent: Principal) -> None:
    mine = {"name": "mine", "moves": {"SOL": "0.5"}, "collateral_ratio_shift": "-0.1"}
    result = await simulate(snapshot(), agent, stress=False, scenarios=[mine])
    assert result.worst_stress is not None
    # 80 000 USDT at 0.9, 100 SOL at 300 x 0.85, and 10 000 lost on the short; USDT stays positive.
    assert result.worst_stress.adjusted_equity_usd == "88500"


# --- the two numbers --------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_last_samples_the_line_and_the_freeze_are_told(agent: Principal) -> None:
    ours = replace(FIGURES, maintenance_margin=D(412))
    samples = tuple(GapSample(WIRE_NS - n * SECOND, ours, FIGURES) for n in (4, 3, 2, 1))
    guard = replace(
        snapshot().guard, gap_samples=samples, gap_over=4, margin_gap=samples[-1].gap, basis="ours"
    )
    freeze = Freeze("margin_gap", "our margin figures and the venue's differ", "self", WIRE_NS)
    given = replace(snapshot(), guard=guard, freezes=(freeze,))
    check = (await simulate(given, agent)).venue_check
    assert check is not None
    assert (check.gap, check.maintenance_gap, check.equity_gap) == ("0.03", "0.03", "0")
    assert (check.samples_over, check.line, check.frozen, check.decides) == (4, "0.01", True, "ours")
    assert [row.age_s for row in check.history] == [1.0, 2.0, 3.0]
    assert check.ours.maintenance_margin_usd == "412"
    full = (await simulate(given, agent, detail="full")).venue_check
    assert full is not None
    assert len(full.history) == 4


@pytest.mark.anyio
async def test_the_venue_is_asked_about_the_largest_perpetual_legs(agent: Principal) -> None:
    desk = SampleDesk()
    targets = [
        {"pair": f"{c}@bybit", "notional_usd": usd} for c, usd in (("BTC", 8000), ("ETH", 9000), ("SOL", 0))
    ]
    result = await simulate(desk, agent, targets=targets)
    assert [row.instrument_id for row in desk.asked[0]] == [
        perpetual("SOL"),
        perpetual("ETH"),
        perpetual("BTC"),
    ]
    assert [row.quantity for row in desk.asked[0]] == [D(100), D("-4.5"), D("-0.1")]
    assert result.venue_check is not None
    first = result.venue_check.orders[0]
    assert first.ours is not None
    assert first.venue is not None
    assert (first.ours.maintenance, first.venue.maintenance) == ("0.00608", "0.006")
    assert first.gap == "0", "within the venue's last digit"


@pytest.mark.anyio
async def test_an_absent_answer_of_the_venue_is_shown_as_absent(agent: Principal) -> None:
    def refuse(row: object) -> OrderCheck:
        raise MissingDataError("nobody is there")

    desk = SampleDesk(answer=refuse)
    result = await simulate(desk, agent, targets=[{"pair": "SOL@bybit", "notional_usd": 0}])
    assert result.venue_check is not None
    (row,) = result.venue_check.orders
    assert (row.venue, row.ours, row.gap, row.note) == (None, None, None, "nobody is there")
    assert "no answer of the venue (nobody is there)" in simulation_text(result)


@pytest.mark.anyio
async def test_rates_that_differ_visibly_are_a_gap(agent: Principal) -> None:
    worse = replace(RATES_VENUE, mm_rate_after=D("0.0076"))
    desk = SampleDesk(answer=lambda row: OrderCheck(row.instrument_id, row.quantity, RATES_OURS, worse, ""))
    result = await simulate(desk, agent, targets=[{"pair": "SOL@bybit", "notional_usd": 0}])
    assert result.venue_check is not None
    assert result.venue_check.orders[0].gap == "0.2"


# --- tables -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_change_of_the_tables_is_a_warning_for_some_hours(agent: Principal) -> None:
    change = TableChange(WIRE_NS - 120 * SECOND, "collateral of SOL: ratio 0.95 -> 0.9")
    result = await simulate(replace(snapshot(), tables_changed=change), agent)
    assert (
        "The venue changed its risk tables 2 min ago: collateral of SOL: ratio 0.95 -> 0.9."
        in result.warnings
    )
    old = replace(change, wire_ns=WIRE_NS - 7 * 3600 * SECOND)
    result = await simulate(replace(snapshot(), tables_changed=old), agent)
    assert not any("risk tables" in text for text in result.warnings)


@pytest.mark.anyio
async def test_staked_collateral_is_stressed_alone_and_follows_its_coin(agent: Principal) -> None:
    state = margin_state()
    meth = Coin("METH")
    tables = replace(
        state.tables,
        collateral={
            **state.tables.collateral,
            meth: CollateralTable(meth, True, (CollateralTier(D(0), None, D("0.9")),)),
        },
    )
    prices = replace(state.prices, usd={**state.prices.usd, meth: D(2120)})
    held = replace(state, balances=(*state.balances, coin("METH", 20)), tables=tables, prices=prices)
    result = await simulate(book(held), agent, detail="full")
    by_name = {row.scenario: row for row in result.stresses}
    now = Decimal(result.after.adjusted_equity_usd)
    assert now - Decimal(by_name["METH depeg -5%"].adjusted_equity_usd) == D(20) * 2120 * D("0.9") * D("0.05")
    assert now - Decimal(by_name["ETH -30%"].adjusted_equity_usd) == D(20) * 2120 * D("0.9") * D("0.3")
    plain = await simulate(snapshot(), agent, detail="full")
    assert not any("depeg" in row.scenario for row in plain.stresses)


@pytest.mark.anyio
async def test_an_account_without_the_venues_figures_says_so(agent: Principal) -> None:
    unknown = replace(snapshot(), guard=replace(snapshot().guard, venue_figures=None))
    result = await simulate(unknown, agent)
    assert result.venue_check is None
    assert "The venue's own figures are not known." in simulation_text(result)
