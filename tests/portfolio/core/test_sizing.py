"""The book is as large as the first line that binds allows, and not larger."""

from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.book_shares import FixedShares
from portfolio.core.errors import MissingDataError
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.results import Lines
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import PairId
from portfolio.core.sizing import PRECISION, BookSize, SizingInput, size_book
from tests.portfolio.core.margin.accounts import account, balance, both, carry_pair, flat

SIM = MarginSim()
NAMES = ("BTC", "ETH", "SOL", "XRP", "BNB")
USD = {"BTC": "60000", "ETH": "3000", "SOL": "150", "XRP": "2", "BNB": "600", "USDT": "1"}
PAIRS = {row.pair_id: row for row in map(carry_pair, NAMES)}
EVEN = dict.fromkeys(PAIRS, 0.2)
EQUITY = Decimal(100_000)


def sizing(*, equity: str = "100000", carry: float = 0.3, borrow: float = 0.1) -> SizingInput:
    return SizingInput(
        sim=SIM,
        state=account(balances=(balance("USDT", equity),), usd=USD, instruments=both(*NAMES)),
        pairs=PAIRS,
        legs={key: flat(row) for key, row in PAIRS.items()},
        prices={key: Decimal(USD[row.coin]) for key, row in PAIRS.items()},
        total_equity=Decimal(equity),
        carry_apr=carry,
        borrow_apr=borrow,
        limits=RiskLimits(),
    )


def blocked(size: BookSize, given: SizingInput, *, more: Decimal) -> tuple[str, ...]:
    total = size.leg_total_usd + more
    targets = {key: total / 5 / given.prices[key] for key in PAIRS}
    done = SIM.simulate(
        given.state,
        PAIRS,
        given.legs,
        targets,
        lines=Lines.BOOK,
        book_notional_usd=total,
        limits=given.limits,
    )
    return done.blocked_by


def test_the_size_fits_and_a_little_more_does_not() -> None:
    given = sizing()
    size = size_book(FixedShares(EVEN), given)
    assert size.leg_total_usd > EQUITY
    assert blocked(size, given, more=Decimal(0)) == ()
    assert size.binding in blocked(size, given, more=2 * PRECISION * EQUITY)
    assert sum(size.targets_usd.values()) == size.leg_total_usd


def test_a_book_that_does_not_pay_for_borrowing_stays_within_the_accounts_own_cash() -> None:
    size = size_book(FixedShares(EVEN), sizing(carry=0.05, borrow=0.1))
    assert size.leg_total_usd == EQUITY
    assert size.binding == "borrow_cost"


def test_no_weights_or_no_equity_hold_cash_and_leave_what_is_held() -> None:
    given = sizing()
    held = {
        key: replace(row, long_quantity=Decimal(1), short_quantity=Decimal(1))
        for key, row in given.legs.items()
    }
    given = replace(given, legs=held)
    none = size_book(FixedShares({PairId("BTC@bybit"): 0.0}), given)
    assert none.binding == "no_pairs"
    assert none.leg_total_usd == 0
    assert none.targets_usd == dict.fromkeys(PAIRS, Decimal(0))
    assert size_book(FixedShares(EVEN), replace(sizing(), total_equity=Decimal(0))).binding == "equity"


def test_pairs_without_weight_are_left_while_the_others_grow() -> None:
    given = sizing()
    btc = PairId("BTC@bybit")
    held = {
        **given.legs,
        btc: replace(given.legs[btc], long_quantity=Decimal("0.1"), short_quantity=Decimal("0.1")),
    }
    weights = {key: 0.25 for key in PAIRS if key != btc}
    size = size_book(FixedShares(weights), replace(given, legs=held))
    assert size.targets_usd[btc] == 0
    assert size.targets_usd[PairId("SOL@bybit")] > 0


def test_nothing_beyond_ten_times_equity_is_tried() -> None:
    loose = RiskLimits()
    wide = replace(
        loose,
        book=replace(
            loose.book,
            health_min=Decimal(0),
            usage_max=Decimal(100),
            market_stress_health_min=Decimal(0),
            market_stress_usage_max=Decimal(100),
            stress_health_min=Decimal(0),
            stress_usage_max=Decimal(100),
            narrative_equity_share_max=Decimal(100),
        ),
    )
    size = size_book(FixedShares(EVEN), replace(sizing(equity="1000"), limits=wide))
    assert size.binding in {"equity", "borrow_rate", "usage"}
    assert size.leg_total_usd <= Decimal(10_000)


def test_a_missing_price_is_an_error() -> None:
    with pytest.raises(MissingDataError, match="No price of BNB"):
        size_book(FixedShares(EVEN), replace(sizing(), prices={}))
