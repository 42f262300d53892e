"""A delta-neutral account is not margin-neutral."""

from collections.abc import Mapping
from decimal import Decimal

from portfolio.core.margin import bybit_uta
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import haircut_delta, liquidation_factors
from portfolio.core.margin.tilt import Tilt, tilt
from portfolio.core.names import Coin
from tests.portfolio.core.margin.accounts import account, balance, both, perp, position

D = Decimal


def tilted(state: MarginState, betas: Mapping[Coin, Decimal] | None = None) -> Tilt:
    return tilt(
        bybit_uta.value, state, lambda given: liquidation_factors(bybit_uta.value, state, given), betas
    )


def carry(short: str = "-2") -> MarginState:
    """2 BTC at 95 % on borrowed cash against a short of as many."""
    return account(
        balances=(balance("BTC", "2"), balance("USDT", "0", "90000")),
        positions=(position(perp("BTC"), short, "60000"),),
        usd={"BTC": "60000", "USDT": "1"},
        instruments=both("BTC"),
    )


def test_a_hedged_book_loses_margin_in_a_rally_and_gains_it_in_a_crash() -> None:
    found = tilted(carry())
    assert found.equity == 0
    # 1 % of 120 000 at the 5 % that does not count.
    assert found.adjusted_equity == -60
    assert found.haircut_delta == 60 == haircut_delta(bybit_uta.value, carry())
    assert found.maintenance_margin > 0
    assert found.cushion < -60
    assert found.rise is not None
    assert found.fall is None


def test_an_unhedged_long_is_hurt_by_a_fall() -> None:
    found = tilted(carry(short="-0.5"))
    assert found.equity == 900
    assert found.cushion > 0
    assert found.fall is not None
    assert found.fall < 0


def test_betas_scale_the_move_of_each_coin() -> None:
    assert tilted(carry(), {Coin("BTC"): D(2)}).adjusted_equity == -120


def test_an_empty_account_is_tilted_nowhere() -> None:
    assert tilted(account(usd={"USDT": "1"})) == Tilt(D(0), D(0), D(0), None, None)


def test_a_liquidated_account_needs_no_move() -> None:
    owing = account(balances=(balance("USDT", "0", "100"),), usd={"USDT": "1"})
    found = tilted(owing)
    assert found.rise == found.fall == 0
