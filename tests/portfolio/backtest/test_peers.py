"""A peer weighs the same pairs under the same caps; what follows its weights is as for the portfolio."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.backtest.peers import Peer, Peers, WeighingInput, weighed
from portfolio.backtest.ranking import Ranker, Variant
from portfolio.backtest.result import to_json
from portfolio.backtest.study import Request, Timer, run_backtest
from portfolio.core.capping import BookCaps
from portfolio.core.carry import Floats
from portfolio.core.selection import Selection
from server.backtest_peers import MISSING, SOLVER, installed_peers
from tests.portfolio.backtest.made import market_of, model_for, model_of, panel, read

COINS = ["BTC", "ETH", "SOL", "XRP", "DOGE", "AVAX"]


def calmest(given: WeighingInput) -> Floats:
    """Inverse variance."""
    inverse = 1.0 / np.diag(given.covariance)
    return np.asarray(inverse / inverse.sum() * given.total, dtype=np.float64)


def ticking() -> Timer:
    seconds = iter(range(1_000))
    return Timer(lambda: float(next(seconds)))


@pytest.fixture(scope="module")
def selection(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    market = market_of(read(tmp_path_factory.mktemp("made"), panel(COINS, 120, rate=0.0003)))
    ranker = Ranker(market, model_for(market), 1e5)
    found = ranker.select(len(market.times_ns) - 1, np.zeros(len(COINS)), 1e5, 1e5, Variant())
    assert len(found.eligible) >= 3
    return found


def test_a_peer_runs_beside_the_portfolio_with_weights_of_its_own(tmp_path: Path) -> None:
    history = read(tmp_path, panel(COINS, 90, rate=0.0003))
    peers = Peers({"calmest": Peer("Inverse variance.", calmest)}, None)
    found = run_backtest(history, {}, model_of, Request(), ticking(), lambda *_: None, peers)
    (run,) = found.peers
    assert (run.name, run.description, found.peers_missing) == ("calmest", "Inverse variance.", None)
    assert run.liquidations == 0
    assert set(run.weights) == set(found.portfolio.weights)
    ours, theirs = ([row[-1] for row in one.weights.values()] for one in (found.portfolio, run))
    assert sum(theirs) > 0.1
    assert ours != pytest.approx(theirs, abs=0.01)


def test_without_a_peer_the_result_says_why(tmp_path: Path) -> None:
    peers = Peers(missing="Nothing that solves is here.")
    history = read(tmp_path, panel(["BTC", "ETH"], 40))
    found = to_json(run_backtest(history, {}, model_of, Request(), ticking(), lambda *_: None, peers))
    assert (found["peers"], found["peers_missing"]) == ({}, "Nothing that solves is here.")


def test_what_a_peer_asks_for_beyond_the_caps_is_cut(selection: Selection) -> None:
    def greedy(given: WeighingInput) -> Floats:
        weights = np.zeros(len(given.mean_apr))
        weights[0] = given.total
        return weights

    found = weighed(selection, greedy, 1e5)
    cap = float(selection.caps.share[0])
    assert max(found.weights.values()) <= cap
    assert found.unplaced == pytest.approx(1 - sum(found.weights.values()))
    assert set(found.weights) == set(selection.eligible)
    again = found.resized(found.caps.narrative_usd, 1e5)
    assert again.weights == pytest.approx(found.weights)


def test_a_peer_sees_the_mean_and_risk_that_our_sharpe_ratios_are_made_of(selection: Selection) -> None:
    seen: list[WeighingInput] = []

    def watching(given: WeighingInput) -> Floats:
        seen.append(given)
        return calmest(given)

    weighed(selection, watching, 1e5)
    sharpes = {row.pair_id: row.sharpe for row in selection.scores}
    ratio = seen[0].mean_apr / np.sqrt(np.diag(seen[0].covariance))
    assert ratio.tolist() == pytest.approx([sharpes[pair] for pair in selection.eligible])


def test_pairs_that_are_not_expected_to_earn_get_nothing_and_no_others_means_cash(
    selection: Selection,
) -> None:
    worst = selection.eligible[0]

    def poorer(poor: Callable[[str], bool]) -> Selection:
        rows = (
            replace(row, sharpe=-1.0) if poor(row.pair_id) else replace(row, sharpe=1.0)
            for row in selection.scores
        )
        return replace(selection, scores=tuple(rows))

    found = weighed(poorer(lambda pair: pair == worst), calmest, 1e5)
    assert found.weights[worst] == 0
    assert sum(found.weights.values()) > 0
    none = weighed(poorer(lambda _: True), calmest, 1e5)
    assert (sum(none.weights.values()), none.unplaced) == (0, 1)


def test_a_budget_that_nothing_bounds_is_no_constraint(selection: Selection) -> None:
    shapes: list[tuple[int, ...]] = []

    def watching(given: WeighingInput) -> Floats:
        shapes.append(given.narrative_use.shape)
        return calmest(given)

    caps: BookCaps = replace(selection.caps, narrative_usd=float("inf"))
    weighed(replace(selection, caps=caps), watching, 1e5)
    assert shapes == [(0, len(selection.eligible))]


def test_the_product_alone_says_how_to_get_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, SOLVER, None)  # how Python itself marks what cannot be imported
    found = installed_peers()
    assert (found.by_name, found.missing) == ({}, MISSING)


@pytest.fixture(scope="module")
def max_sharpe() -> Peer:
    pytest.importorskip("cvxpy", reason="cvxpy, of the dependency group `peers`, is not installed")
    return installed_peers().by_name["max_sharpe"]


@given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.floats(0.15, 1.0))
def test_no_other_weights_under_the_caps_have_a_larger_sharpe_ratio(
    max_sharpe: Peer, count: int, seed: int, cap: float
) -> None:
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(count, count + 3))
    asked = WeighingInput(
        mean_apr=draw.uniform(0.01, 0.3, count),
        covariance=root @ root.T / 1e3,
        share_max=np.full(count, cap),
        narrative_use=np.zeros((0, count)),
        narrative_max=0.0,
        total=min(1.0, cap * count),
    )
    best = max_sharpe.weigher(asked)
    assert best.sum() == pytest.approx(asked.total, abs=1e-4)
    assert np.all((best >= 0) & (best <= cap + 1e-4))

    def sharpe(weights: Floats) -> float:
        return float(asked.mean_apr @ weights / np.sqrt(weights @ asked.covariance @ weights))

    for _ in range(20):
        other = np.minimum(draw.dirichlet(np.ones(count)) * asked.total, cap)
        other = other + (asked.total - other.sum()) * (cap - other) / max(1e-12, float(np.sum(cap - other)))
        assert sharpe(best) >= sharpe(other) * (1 - 1e-3)


def test_without_caps_the_answer_is_the_tangency_portfolio(max_sharpe: Peer) -> None:
    covariance = np.array([[0.04, 0.01], [0.01, 0.02]])
    mean = np.array([0.10, 0.08])
    best = max_sharpe.weigher(WeighingInput(mean, covariance, np.ones(2), np.array([[1.0, 0.0]]), 2.0, 1.0))
    raw = np.linalg.solve(covariance, mean)
    assert best.tolist() == pytest.approx((raw / raw.sum()).tolist(), abs=1e-4)
