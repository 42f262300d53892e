"""What searches ask is the first of `simulate`'s breaches, without the rest of its answer."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.errors import InputError
from portfolio.core.limits import BookLimits, RiskLimits
from portfolio.core.margin.apply import Fee
from portfolio.core.margin.caps import Legs
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario
from portfolio.core.names import PairId
from tests.portfolio.core.margin.accounts import account, balance, both, carry_pair, flat

SIM = MarginSim()
USD = {"BTC": 60_000, "ETH": 3_000, "SOL": 150, "USDT": 1}
NAMES = ("BTC", "ETH", "SOL")
PAIRS = {row.pair_id: row for row in (carry_pair(name, "large") for name in NAMES[:2])} | {
    row.pair_id: row for row in (carry_pair(NAMES[2], "small"),)
}
#: In one leg, shares of an equity of 100 000 USD.
SIZES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.6, 1.0, 2.0, 4.0]), min_size=3, max_size=3)


def coins(shares: list[float]) -> dict[PairId, Decimal]:
    return {
        pair_id: Decimal(round(share * 100_000)) / USD[pair.coin]
        for (pair_id, pair), share in zip(PAIRS.items(), shares, strict=True)
    }


def entered(shares: list[float]) -> tuple[MarginState, Legs]:
    start = account(
        balances=(balance("USDT", "100000"),),
        usd={name: str(price) for name, price in USD.items()},
        instruments=both(*NAMES),
    )
    legs = {pair_id: flat(pair) for pair_id, pair in PAIRS.items()}
    done = SIM.simulate(start, PAIRS, legs, coins(shares), fee=Fee.NONE, stresses=(Scenario("calm", {}),))
    return done.state, done.legs


@given(
    held=SIZES,
    wanted=SIZES,
    narrative=st.sampled_from(["0.01", "0.15", "10"]),
    share=st.sampled_from(["0.25", "1"]),
    loose=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_it_is_the_first_breach_of_the_simulation(
    held: list[float], wanted: list[float], narrative: str, share: str, *, loose: bool
) -> None:
    book = replace(
        BookLimits(), narrative_equity_share_max=Decimal(narrative), pair_book_share_max=Decimal(share)
    )
    if loose:
        book = replace(book, usage_max=Decimal(1), health_min=Decimal(0))
    limits = RiskLimits(book=book)
    state, legs = entered(held)
    planned = Decimal(round(sum(wanted) * 100_000))
    done = SIM.simulate(state, PAIRS, legs, coins(wanted), limits=limits, book_notional_usd=planned)
    found = SIM.first_breach(state, PAIRS, legs, coins(wanted), limits=limits, book_notional_usd=planned)
    assert found == (done.breaches[0] if done.breaches else None)


def test_its_errors_are_those_of_the_simulation() -> None:
    state, legs = entered([0.1, 0.1, 0.1])
    with pytest.raises(InputError, match="negative"):
        SIM.first_breach(state, PAIRS, legs, {PairId("BTC@bybit"): Decimal(-1)})
