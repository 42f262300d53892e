"""`PYTHON -P benchmarks/risk_peers.py JOB ... < returns.npy`: what `arch` and `pymgarch` make of returns.

Runs in an interpreter that has them (the dependency group `peers`); the project's own needs them not.
Returns have shape (observations, series), complete, newest last, in a unit in which variances are between 1
and 1000, as `arch` wants them: basis points. The answer is one JSON object, by job:

    constant, zero       GARCH(1,1) of every series by `arch`, with a constant or a zero mean
    composite, all, full DCC(1,1) by `pymgarch`: contiguous pairs, all pairs, or the full likelihood; without
                         standard errors, which nobody here asks for

`ask` starts it from the project's own interpreter.
"""

import importlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PYTHON = "CARRYDESK_PEERS_PYTHON"
SKIP_REASON = f"neither this Python nor one named by {PYTHON} has arch and pymgarch"


def interpreter() -> str | None:
    """The one that CARRYDESK_PEERS_PYTHON names, else this one when it has both packages, else None."""
    named = os.environ.get(PYTHON)
    if named is None and all(importlib.util.find_spec(name) is not None for name in ("arch", "pymgarch")):
        return sys.executable
    return named


def ask(
    python: str, returns: NDArray[np.float64], jobs: Sequence[str], *, compiled: bool = True
) -> dict[str, Any]:
    """Their answer: versions, and one mapping per job. Not `compiled`: without numba, if it is there."""
    sent = io.BytesIO()
    np.save(sent, returns)
    done = subprocess.run(  # noqa: S603
        [python, "-P", __file__, *jobs],
        input=sent.getvalue(),
        capture_output=True,
        check=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": str(int(not compiled))},
    )
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def main() -> int:
    """Answer what stdin and the arguments ask."""
    returns = np.load(io.BytesIO(sys.stdin.buffer.read()))
    kernels = importlib.import_module("pymgarch._kernels")
    versions = importlib.import_module("importlib.metadata")
    answer: dict[str, Any] = {name: versions.version(name) for name in ("arch", "pymgarch")}
    answer["numba"] = bool(kernels.HAVE_NUMBA)
    for job in sys.argv[1:]:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _garch(returns, job) if job in ("constant", "zero") else _dcc(returns, job)
        answer[job] = {"seconds": round(time.perf_counter() - start, 3), **found}
    print(json.dumps(answer))
    return 0


def _garch(returns: Any, mean: str) -> dict[str, Any]:
    arch = importlib.import_module("arch")
    columns: dict[str, list[float]] = {
        name: [] for name in ("mu", "omega", "alpha", "beta", "log_likelihood", "variance")
    }
    for series in returns.T:
        model = arch.arch_model(series, mean=mean.capitalize(), vol="GARCH", p=1, q=1, rescale=False)
        fit = model.fit(disp="off", show_warning=False)
        columns["mu"].append(float(fit.params.get("mu", 0.0)))
        for ours, theirs in (("omega", "omega"), ("alpha", "alpha[1]"), ("beta", "beta[1]")):
            columns[ours].append(float(fit.params[theirs]))
        columns["log_likelihood"].append(float(fit.loglikelihood))
        columns["variance"].append(float(fit.forecast(horizon=1).variance.iloc[-1, 0]))
    return columns


def _dcc(returns: Any, job: str) -> dict[str, Any]:
    model = importlib.import_module("pymgarch").DCC()
    how = {"full": {}, "composite": {"method": "composite"}, "all": {"method": "composite", "pairs": "all"}}
    fit = model.fit(returns, compute_se=False, **how[job])
    return {
        "a": float(fit.params["alpha"]),
        "b": float(fit.params["beta"]),
        "log_likelihood": float(fit.loglikelihood),
        "correlation": fit.forecast(1).correlations[0].tolist(),
    }


if __name__ == "__main__":
    sys.exit(main())
