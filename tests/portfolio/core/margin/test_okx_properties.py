"""What must hold for every OKX account, in both modes."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.account import MarginFigures
from portfolio.core.margin import okx_multi_currency, okx_portfolio_margin
from portfolio.core.margin.apply import Fee, trade
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.valuation import MarginRule, Valuation
from portfolio.core.names import InstrumentId
from tests.portfolio.core.margin.naive_okx import Sheet
from tests.portfolio.core.margin.okx_strategies import PERPETUALS, okx_states
from tests.portfolio.core.margin.strategies import decimals
from tests.portfolio.core.margin.test_properties import close, same

D = Decimal
Naive = Callable[[Sheet], dict[str, Fraction]]
MULTI: MarginRule = okx_multi_currency.value
PORTFOLIO: MarginRule = okx_portfolio_margin.value
FIGURES = ("total_equity", "adjusted_equity", "initial_margin", "maintenance_margin")
both_modes = pytest.mark.parametrize("rule", [MULTI, PORTFOLIO])


@pytest.mark.parametrize(
    ("rule", "naive"), [(MULTI, Sheet.multi), (PORTFOLIO, Sheet.portfolio)], ids=["multi", "portfolio"]
)
@settings(max_examples=150, deadline=None)
@given(state=okx_states(), reference=st.booleans())
def test_the_rule_agrees_with_the_naive_transcription_of_the_sheet(
    rule: MarginRule, naive: Naive, state: MarginState, reference: bool
) -> None:
    ours = rule(state, reference=reference)
    theirs = naive(Sheet(state, use_policy=reference))
    for name in FIGURES:
        assert close(getattr(ours.figures, name), theirs[name]), name
    assert close(ours.liquidation_fees, theirs["liquidation_fees"])


@both_modes
@settings(max_examples=60, deadline=None)
@given(state=okx_states())
def test_rows_add_up_to_the_figures(rule: MarginRule, state: MarginState) -> None:
    ours = rule(state)
    usd = state.prices.usd
    initial = sum(
        ((row.position_im + row.order_im) * usd[row.coin] + row.borrow_im for row in ours.coins), start=D(0)
    )
    maintenance = sum((row.position_mm * usd[row.coin] + row.borrow_mm for row in ours.coins), start=D(0))
    assert close(initial, ours.figures.initial_margin)
    assert close(maintenance, ours.figures.maintenance_margin)
    for coin in ours.coins:
        legs = [leg for leg in ours.legs if leg.coin == coin.coin]
        assert close(sum((leg.initial_margin for leg in legs), start=D(0)), coin.position_im)
        assert close(sum((leg.unrealised_pnl for leg in legs), start=D(0)), coin.unrealised_pnl)


@both_modes
@settings(max_examples=60, deadline=None)
@given(state=okx_states(), random=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rule: MarginRule, state: MarginState, random: Random) -> None:
    turned = replace(
        state,
        balances=tuple(random.sample(state.balances, len(state.balances))),
        positions=tuple(random.sample(state.positions, len(state.positions))),
        orders=tuple(random.sample(state.orders, len(state.orders))),
    )
    assert same(rule(state).figures, rule(turned).figures)


@settings(max_examples=80, deadline=None)
@given(okx_states(), st.sampled_from(PERPETUALS), decimals("0.001", "900", 3), decimals("0", "900", 3))
def test_margin_of_contracts_never_falls_when_a_position_grows_in_multi_currency_mode(
    state: MarginState, key: InstrumentId, quantity: Decimal, more: Decimal
) -> None:
    def figures(size: Decimal) -> MarginFigures:
        rest = tuple(row for row in state.positions if row.instrument_id != key)
        return MULTI(trade(replace(state, positions=rest), {key: size}, fee=Fee.NONE)).figures

    for sign in (1, -1):
        assert (
            figures(sign * (quantity + more)).maintenance_margin
            >= figures(sign * quantity).maintenance_margin
        )


@settings(max_examples=80, deadline=None)
@given(okx_states(orders=False), decimals("0", "500", 2))
def test_more_spot_never_costs_a_unit_more_margin(state: MarginState, more: Decimal) -> None:
    def margin(changed: MarginState) -> Decimal:
        return sum((unit.maintenance_margin for unit in okx_portfolio_margin.risk_units(changed)), start=D(0))

    richer = replace(state, balances=tuple(replace(row, wallet=row.wallet + more) for row in state.balances))
    assert margin(richer) <= margin(state)


@both_modes
@settings(max_examples=60, deadline=None)
@given(state=okx_states())
def test_open_orders_only_ever_ask_for_more(rule: MarginRule, state: MarginState) -> None:
    def looked(valuation: Valuation) -> tuple[Decimal, Decimal, Decimal]:
        figures = valuation.figures
        return -figures.adjusted_equity, figures.initial_margin, figures.maintenance_margin

    without = replace(state, orders=(), balances=tuple(replace(row, locked=D(0)) for row in state.balances))
    pairs = zip(looked(rule(state)), looked(rule(without)), strict=True)
    assert all(more >= less - D("1e-15") * abs(less) for more, less in pairs)
