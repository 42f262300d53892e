"""A child as the front starts one, that says what its first argument asks for. Run as a script."""

import json
import os
import signal
import sys

from server.background import begin_background

RUN = {
    "sharpe": 2.1,
    "apr": 0.123456,
    "volatility": 0.05,
    "max_drawdown": 0.021,
    "utilisation_mean": 2.5,
    "utilisation_paying": None,
    "paying_share": 0.4,
    "liquidations": 0,
    "turnover": 8.25,
    "costs": {"fees": 10.5, "total": 1234.4},
    "sharpe_interval": {"low": 1.1, "high": 3.2, "level": 0.9},
    "health_min": 0.81,
}
ANSWER = {
    "portfolio": RUN,
    "single_pair": RUN | {"sharpe": 1.5},
    "btc_static": RUN | {"sharpe": None, "sharpe_interval": None},
    "equal_weight": RUN,
    "ratios": {"portfolio_to_single_pair": 1.4, "portfolio_to_btc_static": None},
    "ablation": {"no_band": RUN | {"sharpe_change": -0.25, "description": "Without the band."}},
    "honesty": ["Coins that were delisted are missing."],
    "seconds": 1.5,
}
REFUSAL = {
    "code": "bad_input",
    "message": "The data ends on 2025-06-30.",
    "field": "to",
    "allowed": "2021-01-01 to 2025-06-30",
    "next": "Choose a day inside.",
}


def progress(share: object, stage: str) -> None:
    sys.stderr.write(json.dumps({"progress": share, "stage": stage}) + "\n")
    sys.stderr.flush()


def main(mode: str, report: str, *request: str) -> int:
    begin_background(60)
    facts = {
        "nice": os.nice(0),
        "pid": os.getpid(),
        "leads": os.getsid(0) == os.getpid(),
        "names": sorted(os.environ),
        "request": request,
    }
    sys.stderr.write("a line for people\n")
    progress(0.5, json.dumps(facts)[:100])
    if mode == "waits":
        progress(2, "no share")
        progress(0.25, "it never goes back")
        progress(0.5, f"pid {os.getpid()}")
        while True:
            signal.pause()
    if mode == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "floods":
        sys.stdout.write("x" * (5 << 20))
        return 0
    if mode == "refuses":
        sys.stdout.write(json.dumps({"error": REFUSAL}) + "\n")
        return 1
    if mode == "mumbles":
        sys.stdout.write("done\n")
        return 0
    if mode == "forgets":
        sys.stdout.write(json.dumps({name: ANSWER[name] for name in ("portfolio", "ablation")}) + "\n")
        return 0
    with open(report, "w") as file:
        json.dump(facts, file)
    sys.stdout.write("a line before the last\n" + json.dumps(ANSWER) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
