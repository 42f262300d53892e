"""What a finished backtest said: the JSON object of `carrydesk backtest --json`, as far as the tool reads it.

Figures are numbers; null: not defined. Keys that are not named here are left out.
"""

from pydantic import BaseModel, ConfigDict, ValidationError

from portfolio.core.errors import InputError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class IntervalAnswer(_Part):
    """A confidence interval of a Sharpe ratio."""

    low: float | None
    high: float | None
    level: float


class CostsAnswer(_Part):
    """USD paid."""

    total: float | None


class RunAnswer(_Part):
    """One run; see `portfolio.backtest.result.RunResult`."""

    sharpe: float | None
    apr: float | None
    volatility: float | None
    max_drawdown: float | None
    utilisation_mean: float | None
    utilisation_paying: float | None
    paying_share: float | None = None
    liquidations: int
    turnover: float | None
    costs: CostsAnswer
    sharpe_interval: IntervalAnswer | None = None
    health_min: float | None = None
    #: Of an ablation: against the portfolio.
    sharpe_change: float | None = None
    description: str = ""


class BacktestAnswer(_Part):
    """The whole of it."""

    portfolio: RunAnswer
    single_pair: RunAnswer
    btc_static: RunAnswer
    equal_weight: RunAnswer | None = None
    ratios: dict[str, float | None] = {}
    ablation: dict[str, RunAnswer]
    honesty: tuple[str, ...] = ()
    seconds: float

    @property
    def runs(self) -> dict[str, RunAnswer]:
        """The portfolio and its baselines by name, in the order of the report."""
        named = {
            "portfolio": self.portfolio,
            "single_pair": self.single_pair,
            "btc_static": self.btc_static,
            "equal_weight": self.equal_weight,
        }
        return {name: run for name, run in named.items() if run is not None}


def read_answer(data: object) -> BacktestAnswer:
    """The answer from parsed JSON.

    Raises:
        InputError: a figure is missing or is not one.
    """
    try:
        return BacktestAnswer.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"The backtest's answer cannot be read at {where}: {first['msg']}.") from None
