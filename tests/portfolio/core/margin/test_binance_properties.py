"""What must hold for every Binance account."""

from dataclasses import replace
from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.margin.apply import Fee, trade
from portfolio.core.margin.binance_pm import value
from portfolio.core.margin.binance_status import AccountStatus, account_status, uni_mmr
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import shifted_ratios
from portfolio.core.names import InstrumentId
from tests.portfolio.core.margin import naive_binance
from tests.portfolio.core.margin.strategies import PERPETUALS, accounts, decimals
from tests.portfolio.core.margin.test_properties import close, same

D = Decimal
BANDS = list(AccountStatus)


@st.composite
def pm_accounts(draw: st.DrawFn, *, orders: bool = True) -> MarginState:
    """Random accounts: collateral tiers in coins or in USD, rates above 1, loans at several leverages."""
    state = draw(accounts(orders=orders))
    excess = draw(st.sampled_from([D(0), D(0), D("0.3")]))
    collateral = {
        coin: replace(
            table,
            in_usd=draw(st.booleans()),
            tiers=tuple(replace(row, ratio=row.ratio + excess) for row in table.tiers),
        )
        for coin, table in state.tables.collateral.items()
    }
    borrow = {
        coin: replace(
            table,
            tiers=tuple(
                replace(row, leverage_max=draw(st.sampled_from([D(3), D(5), D(10)]))) for row in table.tiers
            ),
        )
        for coin, table in state.tables.borrow.items()
    }
    return replace(state, tables=replace(state.tables, collateral=collateral, borrow=borrow))


@settings(max_examples=200, deadline=None)
@given(pm_accounts(), st.booleans())
def test_the_rule_agrees_with_the_naive_transcription_of_the_sheet(
    state: MarginState, reference: bool
) -> None:
    ours = value(state, reference=reference)
    naive = naive_binance.figures(state, use_policy_leverage=reference)
    for name in ("total_equity", "adjusted_equity", "initial_margin", "maintenance_margin"):
        assert close(getattr(ours.figures, name), naive[name]), name
    assert close(ours.haircut_loss, naive["haircut_loss"])


@settings(max_examples=60, deadline=None)
@given(pm_accounts(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(state: MarginState, random: Random) -> None:
    turned = replace(
        state,
        balances=tuple(random.sample(state.balances, len(state.balances))),
        positions=tuple(random.sample(state.positions, len(state.positions))),
        orders=tuple(random.sample(state.orders, len(state.orders))),
    )
    assert same(value(state).figures, value(turned).figures)


@settings(max_examples=100, deadline=None)
@given(pm_accounts(orders=False), decimals("-1", "0", 3))
def test_a_cut_of_collateral_rates_never_helps_and_leaves_margins_alone(
    state: MarginState, shift: Decimal
) -> None:
    before = value(state).figures
    after = value(replace(state, tables=shifted_ratios(state.tables, shift))).figures
    assert after.adjusted_equity <= before.adjusted_equity <= before.total_equity
    assert after.initial_margin == before.initial_margin
    assert after.maintenance_margin == before.maintenance_margin
    assert BANDS.index(account_status(after)) >= BANDS.index(account_status(before))


@settings(max_examples=100, deadline=None)
@given(pm_accounts(), st.sampled_from(PERPETUALS), decimals("0.001", "900", 3), decimals("0", "900", 3))
def test_maintenance_margin_never_falls_when_a_position_grows_on_its_side(
    state: MarginState, key: InstrumentId, quantity: Decimal, more: Decimal
) -> None:
    rest = tuple(row for row in state.positions if row.instrument_id != key)

    def maintenance(size: Decimal) -> Decimal:
        return value(
            trade(replace(state, positions=rest), {key: size}, fee=Fee.NONE)
        ).figures.maintenance_margin

    assert 0 <= maintenance(quantity) <= maintenance(quantity + more)
    assert maintenance(-quantity - more) == maintenance(quantity + more)


@settings(max_examples=60, deadline=None)
@given(pm_accounts(orders=False), st.sampled_from(PERPETUALS), st.sampled_from([0, 1, 2]))
def test_figures_are_continuous_over_bracket_borders(
    state: MarginState, key: InstrumentId, index: int
) -> None:
    rest = tuple(row for row in state.positions if row.instrument_id != key)
    border = state.tables.positions[key][index].notional_to / state.prices.marks[key]
    below, above = (
        value(trade(replace(state, positions=rest), {key: border + change}, fee=Fee.NONE)).figures
        for change in (D("-1e-12"), D("1e-12"))
    )
    for name in ("total_equity", "adjusted_equity", "initial_margin", "maintenance_margin"):
        assert abs(getattr(above, name) - getattr(below, name)) < D("1e-6"), name


@settings(max_examples=100, deadline=None)
@given(pm_accounts())
def test_health_is_one_less_six_fifths_of_the_inverse_of_the_ratio(state: MarginState) -> None:
    figures = value(state).figures
    ratio = uni_mmr(figures)
    if ratio is None or ratio <= D("1.2"):
        assert figures.health_score == (1 if figures.adjusted_equity > 0 and ratio is None else 0)
    else:
        assert close(figures.health_score, 1 - D("1.2") / ratio)
