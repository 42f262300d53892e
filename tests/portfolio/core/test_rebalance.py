"""What of a difference is worth trading."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.limits import TradeLimits
from portfolio.core.names import PairId
from portfolio.core.rebalance import Pacing, rebalance

D = Decimal
A, B, C = PairId("A@x"), PairId("B@x"), PairId("C@x")
LIMITS = TradeLimits()
EAGER = Pacing(size_low=D(1), size_high=D(1), least_turn=D(0))


def usd(a: str, b: str, c: str = "0") -> dict[PairId, Decimal]:
    return {A: D(a), B: D(b), C: D(c)}


def test_a_book_that_drifted_together_is_left_alone_inside_its_size_band() -> None:
    target = usd("1000", "1000")
    for both in ("910", "1000", "1140"):
        found = rebalance(target, usd(both, both), LIMITS, Pacing())
        assert found.targets_usd == {}
        assert found.why[A] == "inside the 7% band"


def test_beyond_the_size_band_it_is_brought_to_the_bands_edges() -> None:
    small = rebalance(usd("1000", "1000"), usd("700", "700"), LIMITS, Pacing())
    assert small.targets_usd == {A: D("930.00"), B: D("930.00")}
    large = rebalance(usd("1000", "1000"), usd("1400", "1400"), LIMITS, Pacing())
    assert large.targets_usd == {A: D("1337.5000"), B: D("1337.5000")}


def test_pairs_are_compared_by_their_share_of_what_is_held() -> None:
    found = rebalance(usd("1000", "1000"), usd("1400", "800"), LIMITS, Pacing())
    # The total is 2200, inside its band; half of it each, to the edges.
    assert found.targets_usd == {A: D("1177.0000"), B: D("1023.0000")}


def test_corrections_wait_until_together_they_are_worth_it_but_leaving_does_not() -> None:
    little = usd("1000", "1000", "1000")
    assert rebalance(little, usd("1100", "1000", "900"), LIMITS, Pacing()).targets_usd == {}
    assert rebalance(little, usd("1100", "1000", "900"), LIMITS, EAGER).targets_usd != {}
    too_large = rebalance(little, usd("1260", "1260", "1260"), LIMITS, Pacing(size_high=D("1.1")))
    assert too_large.targets_usd == dict.fromkeys(too_large.targets_usd, D("1177.0000"))
    assert len(too_large.targets_usd) == 3
    leaving = rebalance(usd("1000", "0", "1000"), usd("1000", "50", "1000"), LIMITS, Pacing())
    assert leaving.targets_usd[B] == 0


def test_a_days_changes_are_cut_alike_to_the_pace() -> None:
    found = rebalance(usd("1000", "500"), {}, LIMITS, Pacing(), pace_usd=D(300))
    assert found.targets_usd == {A: D(200), B: D(100)}
    assert found.why[A] == "entered; 20% of it today"
    assert rebalance(usd("1000", "500"), {}, LIMITS, Pacing(), pace_usd=D(1500)).targets_usd == {
        A: 1000,
        B: 500,
    }
    assert rebalance(usd("1000", "500"), {}, LIMITS, Pacing(), pace_usd=D(-5)).targets_usd == {}


def test_a_book_with_nothing_to_hold_is_left_whole() -> None:
    found = rebalance(usd("0", "0"), usd("300", "200"), LIMITS, Pacing())
    assert found.targets_usd == {A: 0, B: 0}


amounts = st.decimals(0, 100_000, places=2)


@given(st.lists(amounts, min_size=3, max_size=3), st.lists(amounts, min_size=3, max_size=3), amounts)
def test_no_trade_goes_beyond_its_targets_side_and_the_pace_is_kept(
    targets: list[Decimal], held: list[Decimal], pace: Decimal
) -> None:
    names = (A, B, C)
    wanted, now = dict(zip(names, targets, strict=True)), dict(zip(names, held, strict=True))
    found = rebalance(wanted, now, LIMITS, Pacing(), pace_usd=pace)
    turned = sum((abs(to - now[pair]) for pair, to in found.targets_usd.items()), D(0))
    assert turned <= pace * (1 + D("1e-20"))
    assert all(to >= 0 for to in found.targets_usd.values())
