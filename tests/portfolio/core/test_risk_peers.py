"""Beside arch and pymgarch themselves, when an interpreter has them."""

import numpy as np
import pytest

from benchmarks.carry_panel import daily_carry
from benchmarks.risk_peers import SKIP_REASON, ask, interpreter
from portfolio.core.dcc import Dcc, fit_dcc
from portfolio.core.garch import fit_garch
from tests.portfolio.core import risk_golden
from tests.portfolio.core.risk_golden import BPS

PYTHON = interpreter() or ""
pytestmark = pytest.mark.skipif(not PYTHON, reason=SKIP_REASON)


def test_the_recorded_answers_are_what_they_say_today() -> None:
    answer, golden = ask(PYTHON, risk_golden.returns() * BPS, ["constant"]), risk_golden.recorded()
    assert np.allclose(answer["constant"]["log_likelihood"], golden["constant"]["log_likelihood"], atol=1e-2)


@pytest.mark.parametrize("mean", ["constant", "zero"])
def test_no_real_series_is_fitted_worse_than_arch_fits_it(mean: str) -> None:
    names, table = daily_carry()
    returns = table[-1200:, [not np.isnan(column).any() for column in table[-1200:].T]]
    assert returns.shape[1] >= 19
    theirs = np.array(ask(PYTHON, returns * BPS, [mean])[mean]["log_likelihood"])
    fit = fit_garch(returns, constant_mean=mean == "constant")
    ours = fit.log_likelihood - len(returns) * np.log(BPS)
    fitted = np.array([why is None for why in fit.garch.reasons])
    assert np.count_nonzero(fitted) >= len(fitted) - 2, names
    assert np.all(ours[fitted] > theirs[fitted] - 0.01)


def test_three_real_series_agree_with_pymgarchs_composite_fit() -> None:
    returns = risk_golden.returns()[-500:, [3, 6, 8]]
    theirs = ask(PYTHON, returns * BPS, ["all"])["all"]
    ours = fit_dcc(fit_garch(returns).residuals)
    assert isinstance(ours, Dcc)
    assert ours.a == pytest.approx(theirs["a"], abs=0.01)
    assert ours.b == pytest.approx(theirs["b"], abs=0.03)
    assert np.max(np.abs(ours.correlation() - theirs["correlation"])) < 0.05
