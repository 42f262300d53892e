"""The headroom that the tool reports is where buying more until refused ends, to one lot."""

from dataclasses import replace
from decimal import Decimal

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portfolio.core.account import Balance, Position
from portfolio.core.limits import BookLimits, RiskLimits
from portfolio.core.market import Prices
from portfolio.core.names import Coin
from portfolio.core.pairs import PairLegs
from portfolio.service import DeskSnapshot, Principal
from tests.tools.carry_book import carry_core, carry_snapshot
from tests.tools.sample_desk import ALL_SCOPES, PRICES, SampleDesk, perpetual, snapshot
from tools.headroom import usd_of_coins
from tools.simulate import SimulateArguments, SimulateResult, simulate_margin

AGENT = Principal("agent", ALL_SCOPES)
D = Decimal


def simulate(book: DeskSnapshot, **arguments: object) -> SimulateResult:
    async def run() -> SimulateResult:
        return await simulate_margin(
            SampleDesk(book=book), AGENT, SimulateArguments.model_validate(arguments)
        )

    return anyio.run(run)


@st.composite
def books(draw: st.DrawFn) -> DeskSnapshot:
    """SOL held in some size, cash and prices of some size, and limits tight enough to bind in turn."""
    sample = snapshot()
    assert sample.state is not None
    held = draw(st.integers(0, 2_000)) * D("0.1")
    prices = {coin: price * draw(st.integers(50, 200)) / 100 for coin, price in PRICES.items()}
    balances = [Balance(Coin("USDT"), D(draw(st.integers(10_000, 200_000))), D(0), D(0), D(0))]
    positions = []
    if held:
        balances.append(Balance(Coin("SOL"), held, D(0), D(0), D(0)))
        positions.append(Position(perpetual("SOL"), -held, prices["SOL"], prices["SOL"], D(10)))
    state = replace(
        sample.state,
        balances=tuple(balances),
        positions=tuple(positions),
        prices=Prices(
            marks={perpetual(coin): price for coin, price in prices.items()},
            usd={Coin("USDT"): D(1)} | {Coin(coin): price for coin, price in prices.items()},
        ),
    )
    book = BookLimits(
        narrative_equity_share_max=D(draw(st.sampled_from(["0.05", "0.15", "0.9"]))),
        pair_book_share_max=D(draw(st.sampled_from(["0.25", "0.6", "1"]))),
    )
    legs = {
        pair_id: PairLegs(pair_id, held, held) if pair_id == "SOL@bybit" else row
        for pair_id, row in sample.legs.items()
    }
    return replace(sample, state=state, legs=legs, limits=replace(RiskLimits(), book=book))


def after_one_more(result: SimulateResult, price: Decimal, lots: int) -> str:
    assert result.find_max is not None
    target, lot = D(result.find_max.max_quantity_coins), D(result.find_max.lot_coins)
    return str(usd_of_coins(target + lots * lot, price, lot))


@given(books(), st.sampled_from(["BTC", "ETH", "SOL"]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_size_it_names_is_allowed_and_one_lot_more_is_refused_by_what_it_names(
    book: DeskSnapshot, coin: str
) -> None:
    pair = f"{coin}@bybit"
    found = simulate(book, find_max=pair)
    assert found.find_max is not None
    assert book.state is not None
    price = book.state.prices.marks[perpetual(coin)]
    named = [{"pair": pair, "notional_usd": found.find_max.max_notional_usd}]
    fits = simulate(book, targets=named)
    assert fits.allowed, fits.blocked_by
    row = next((row for row in fits.per_pair if row.pair == pair), None)
    assert (D(0) if row is None else D(row.quantity_coins)) <= D(found.find_max.max_quantity_coins)
    more = [{"pair": pair, "notional_usd": after_one_more(found, price, 1)}]
    refused = simulate(book, targets=more)
    assert not refused.allowed
    assert found.find_max.binding_limit in refused.blocked_by


@given(books(), st.integers(1, 40))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_on_top_of_other_changes_it_agrees_with_all_of_them_together(
    book: DeskSnapshot, thousands: int
) -> None:
    other = {"pair": "ETH@bybit", "notional_usd": str(thousands * 1_000)}
    found = simulate(book, targets=[other], find_max="BTC@bybit")
    if not found.allowed:
        return
    assert found.find_max is not None
    assert book.state is not None
    price = book.state.prices.marks[perpetual("BTC")]
    fits = simulate(
        book, targets=[other, {"pair": "BTC@bybit", "notional_usd": found.find_max.max_notional_usd}]
    )
    assert fits.allowed, fits.blocked_by
    more = {"pair": "BTC@bybit", "notional_usd": after_one_more(found, price, 1)}
    assert not simulate(book, targets=[other, more]).allowed


def test_on_a_real_book_whose_coins_are_no_whole_lots_it_agrees_to_one_lot() -> None:
    book = carry_snapshot(carry_core(leg_usd=10_000))
    found = simulate(book, find_max="SOL@bybit")
    assert found.find_max is not None
    assert book.state is not None
    assert D(found.find_max.more_usd) > 1_000
    price = book.state.prices.marks[perpetual("SOL")] * book.state.prices.usd[Coin("USDT")]
    named = {"pair": "SOL@bybit", "notional_usd": found.find_max.max_notional_usd}
    assert simulate(book, targets=[named]).allowed
    # What is held is not a whole lot: the first lot more only completes it.
    refused = simulate(book, targets=[{"pair": "SOL@bybit", "notional_usd": after_one_more(found, price, 2)}])
    assert not refused.allowed
    assert found.find_max.binding_limit in refused.blocked_by


@given(
    st.decimals("0.000001", "100000", places=6),
    st.decimals("0.00001", "100000", places=6).filter(lambda price: price > 0),
    st.sampled_from(["0.001", "0.1", "1", "1000"]),
)
def test_an_amount_that_names_a_size_is_taken_for_that_size(lots: Decimal, price: Decimal, lot: str) -> None:
    step = D(lot)
    quantity = (lots // step) * step
    usd = usd_of_coins(quantity, price, step)
    assert (usd / price) // step == quantity // step
    assert usd >= quantity * price


@pytest.mark.parametrize(("quantity", "price", "named"), [("100", "200", "20000"), ("3", "0.3333333", "1")])
def test_the_amount_is_as_short_as_it_can_be(quantity: str, price: str, named: str) -> None:
    assert usd_of_coins(D(quantity), D(price), D("0.001")).normalize() == D(named).normalize()
