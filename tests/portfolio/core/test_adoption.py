"""What a desk with an empty journal takes as treasury."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.account import AccountSnapshot, Balance, MarginFigures, Position
from portfolio.core.adoption import first_treasury
from portfolio.core.decimals import ZERO
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import AccountId, Coin, InstrumentId, Venue
from tests.portfolio.core.desk_state import instrument

SPOT, CONTRACT = (instrument("SOL", kind) for kind in (InstrumentKind.SPOT, InstrumentKind.PERPETUAL))
HALF_COINS = st.integers(-40, 40).map(lambda halves: Decimal(halves) / 2)


def adopted(own: Decimal, contracts: Decimal, *others: Position) -> Decimal:
    """Treasury in SOL of an account that owns `own` SOL and `contracts` SOL of the perpetual."""
    positions = (
        (Position(CONTRACT.instrument_id, contracts, Decimal(150), Decimal(150), Decimal(10)),)
        if contracts
        else ()
    )
    snapshot = AccountSnapshot(
        account=AccountId(f"{Venue('bybit')}:main"),
        uid="1",
        margin_mode="REGULAR_MARGIN",
        balances=(
            Balance(Coin("SOL"), max(ZERO, own), max(ZERO, -own), ZERO, ZERO),
            Balance(Coin("USDT"), Decimal(1000), ZERO, ZERO, ZERO),
        ),
        positions=(*positions, *others),
        orders=(),
        figures=MarginFigures(Decimal(1000), Decimal(1000), ZERO, ZERO),
        event_market_ns=0,
        seen_wire_ns=0,
    )
    found = first_treasury(snapshot, (SPOT, CONTRACT))
    assert {row.coin for row in found} <= {Coin("SOL")}
    return sum((row.quantity for row in found), start=ZERO)


def test_coins_that_no_contract_stands_against_become_treasury() -> None:
    assert adopted(Decimal(5), ZERO) == 5
    assert adopted(Decimal(-5), ZERO) == -5
    assert adopted(Decimal(5), Decimal(2)) == 5


def test_the_spot_of_a_carry_pair_is_not_taken_for_treasury() -> None:
    assert adopted(Decimal(5), Decimal(-5)) == 0
    assert adopted(Decimal(-5), Decimal(5)) == 0


def test_a_position_in_what_this_desk_does_not_trade_stands_against_nothing() -> None:
    def foreign(quantity: str) -> Position:
        other = InstrumentId("bybit:linear:PEPEUSDT")
        return Position(other, Decimal(quantity), Decimal(1), Decimal(1), Decimal(10))

    assert adopted(Decimal(5), ZERO, foreign("-5")) == 5
    assert adopted(Decimal(5), Decimal(-5), foreign("-5")) == 0


def test_only_what_lies_beyond_the_hedge_becomes_treasury() -> None:
    assert adopted(Decimal(7), Decimal(-5)) == 2
    assert adopted(Decimal(3), Decimal(-5)) == 0


@given(own=HALF_COINS, contracts=HALF_COINS)
def test_adopting_never_makes_an_account_more_naked_than_it_is(own: Decimal, contracts: Decimal) -> None:
    left = own - adopted(own, contracts)
    assert abs(left + contracts) <= abs(contracts)
    assert abs(left) <= abs(own)
    if own * contracts < 0 and abs(own) >= abs(contracts):
        assert left == -contracts


@pytest.mark.parametrize("contracts", [ZERO, Decimal(-3)])
def test_an_account_without_the_coin_adopts_nothing(contracts: Decimal) -> None:
    assert adopted(ZERO, contracts) == 0
