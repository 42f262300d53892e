"""What must hold for every account."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.account import MarginFigures
from portfolio.core.margin.apply import Fee, trade
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.state import MarginState
from portfolio.core.names import InstrumentId
from portfolio.core.risk import FeeRates, RiskTables
from tests.portfolio.core.margin import naive_bybit
from tests.portfolio.core.margin.strategies import INSTRUMENTS, PERPETUALS, accounts, decimals

D = Decimal


def close(left: Decimal | Fraction, right: Decimal | Fraction) -> bool:
    """Equal to 1e-12, relative above one."""
    a, b = Fraction(left), Fraction(right)
    return abs(a - b) <= max(Fraction(1), abs(a), abs(b)) / 10**12


def same(left: MarginFigures, right: MarginFigures) -> bool:
    return all(
        close(getattr(left, name), getattr(right, name))
        for name in ("total_equity", "adjusted_equity", "initial_margin", "maintenance_margin")
    )


@settings(max_examples=200, deadline=None)
@given(accounts(), st.booleans())
def test_the_rule_agrees_with_the_naive_transcription_of_the_sheet(
    state: MarginState, reference: bool
) -> None:
    ours = value(state, reference=reference)
    naive = naive_bybit.figures(state, use_policy_leverage=reference)
    for name in ("total_equity", "adjusted_equity", "initial_margin", "maintenance_margin"):
        assert close(getattr(ours.figures, name), naive[name]), name
    assert close(ours.haircut_loss, naive["haircut_loss"])
    assert close(ours.order_loss, naive["order_loss"])


@settings(max_examples=100, deadline=None)
@given(accounts(), st.sampled_from(PERPETUALS), decimals("0.001", "900", 3), decimals("0", "900", 3))
def test_maintenance_margin_never_falls_when_a_position_grows_on_its_side(
    state: MarginState, key: InstrumentId, quantity: Decimal, more: Decimal
) -> None:
    def maintenance(size: Decimal) -> Decimal:
        rest = tuple(row for row in state.positions if row.instrument_id != key)
        mark = state.prices.marks[key]
        grown = trade(replace(state, positions=rest), {key: size}, fee=Fee.NONE)
        assert grown.positions[-1].entry_price == mark
        return value(grown).figures.maintenance_margin

    assert maintenance(quantity + more) >= maintenance(quantity)
    assert maintenance(-quantity - more) >= maintenance(-quantity)


@settings(max_examples=60, deadline=None)
@given(
    accounts(orders=False), st.sampled_from(PERPETUALS), st.sampled_from([0, 1, 2]), st.sampled_from([1, -1])
)
def test_figures_are_continuous_over_tier_borders(
    state: MarginState, key: InstrumentId, index: int, sign: int
) -> None:
    rest = tuple(row for row in state.positions if row.instrument_id != key)
    mark = state.prices.marks[key]
    border = state.tables.positions[key][index].notional_to / mark
    step = D("1e-12")
    below, above = (
        value(trade(replace(state, positions=rest), {key: sign * (border + change)}, fee=Fee.NONE)).figures
        for change in (-step, step)
    )
    for name in ("total_equity", "adjusted_equity", "initial_margin", "maintenance_margin"):
        assert abs(getattr(above, name) - getattr(below, name)) < D("1e-6"), name


@settings(max_examples=60, deadline=None)
@given(accounts(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(state: MarginState, random: Random) -> None:
    turned = replace(
        state,
        balances=tuple(random.sample(state.balances, len(state.balances))),
        positions=tuple(random.sample(state.positions, len(state.positions))),
        orders=tuple(random.sample(state.orders, len(state.orders))),
    )
    assert value(state).figures == value(turned).figures


@settings(max_examples=80, deadline=None)
@given(
    accounts(),
    st.dictionaries(st.sampled_from(sorted(INSTRUMENTS)), decimals("-200", "200", 3), max_size=4),
)
def test_trades_without_fees_leave_equity_and_their_reversal_leaves_no_trace(
    state: MarginState, deltas: dict[InstrumentId, Decimal]
) -> None:
    # What a reversal cannot undo is left out: old debts are repaid on the way back, a wallet below zero is
    # filled by the proceeds and leaves a loan instead, a fee to close remembers the averaged entry, and a
    # position that was closed comes back at the policy's leverage.
    fees = dict.fromkeys(INSTRUMENTS, FeeRates(D(0), D(0)))
    tables = state.tables
    state = replace(
        state,
        balances=tuple(
            replace(row, wallet=abs(row.wallet), spot_borrow=D(0), locked=D(0)) for row in state.balances
        ),
        positions=tuple(
            replace(row, entry_price=state.prices.marks[row.instrument_id], leverage=state.policy.perpetual)
            for row in state.positions
        ),
        tables=RiskTables(0, tables.collateral, tables.borrow, tables.positions, fees),
    )
    there = trade(state, deltas, fee=Fee.NONE)
    back = trade(there, {key: -delta for key, delta in deltas.items()}, fee=Fee.NONE, repay=True)
    assert close(value(there).figures.total_equity, value(state).figures.total_equity)
    assert same(value(back).figures, value(state).figures)
