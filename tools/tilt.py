"""Which way the account is hurt, in numbers and in one sentence."""

from decimal import Decimal

from pydantic import BaseModel, Field

from portfolio.core.account import MarginFigures
from portfolio.core.margin.results import Simulation
from portfolio.core.margin.stress import MARKET_MOVES_FAR, market_name
from portfolio.core.margin.tilt import Tilt
from tools.results import ratio, usd

_HUNDRED = Decimal(100)
#: Net exposure below this share of total equity counts as hedged.
_NEUTRAL = Decimal("0.02")
#: Less is not seen in what is printed.
_CENT = Decimal("0.01")


class JointMoveBlock(BaseModel):
    """All coins rise by 1 % together (stable ones stay), after the change."""

    haircut_delta_usd: str = Field(description="Adjusted equity (ECV) lost; negative: gained.")
    equity_change_usd: str = Field(description="Total equity, without haircuts.")
    maintenance_change_usd: str
    liquidates_at_rise: str | None = Field(description="Joint move, a fraction; null: none up to ten times.")
    liquidates_at_fall: str | None = Field(description="The same downwards; null: none to a tenth.")
    what_hurts: str = Field(description="One sentence.")


def joint_move(tilt: Tilt, simulation: Simulation) -> JointMoveBlock:
    """The block; the account that is moved is the one after the change."""
    return JointMoveBlock(
        haircut_delta_usd=usd(tilt.haircut_delta),
        equity_change_usd=usd(tilt.equity),
        maintenance_change_usd=usd(tilt.maintenance_margin),
        liquidates_at_rise=None if tilt.rise is None else ratio(tilt.rise),
        liquidates_at_fall=None if tilt.fall is None else ratio(tilt.fall),
        what_hurts=f"{what_hurts(tilt, simulation.after)}{_stress_sentence(simulation)}",
    )


def _stress_sentence(simulation: Simulation) -> str:
    """The farthest market stresses side by side; nothing where they were not run."""
    health = {row.scenario: row.figures.health_score for row in simulation.stresses}
    names = [market_name(move) for move in sorted(MARKET_MOVES_FAR, reverse=True)]
    now = simulation.after.health_score
    if any(name not in health for name in names) or {health[name] for name in names} == {now}:
        return ""
    parts = " and ".join(f"{ratio(health[name], 3)} at {name}" for name in names)
    return f" Health {ratio(now, 3)} becomes {parts}."


def what_hurts(tilt: Tilt, figures: MarginFigures) -> str:
    """Why a rally or a crash is what this account has to fear."""
    if tilt.rise == 0 and tilt.fall == 0:
        return "Nothing needs to move: maintenance margin already reaches the adjusted equity."
    if not tilt.equity and not tilt.cushion:
        return "No joint move of the coins changes this account's margin."
    net = tilt.equity * _HUNDRED
    neutral = abs(net) <= _NEUTRAL * abs(figures.total_equity)
    if tilt.cushion < 0:
        return f"{_rally(tilt, net, neutral=neutral)}; {_end(tilt.rise, tilt.fall, 'rise', 'fall')}."
    return (
        f"A fall is what hurts: per -1 % total equity changes by {usd(-tilt.equity)} USD, adjusted equity by "
        f"{usd(-tilt.adjusted_equity)} USD and maintenance margin by {usd(-tilt.maintenance_margin)} USD; "
        f"{_end(tilt.fall, tilt.rise, 'fall', 'rise')}."
    )


def _rally(tilt: Tilt, net: Decimal, *, neutral: bool) -> str:
    numbers = (
        f"per +1 % adjusted equity changes by {usd(tilt.adjusted_equity)} USD and maintenance margin by "
        f"{usd(tilt.maintenance_margin)} USD while total equity changes by {'only ' if neutral else ''}"
        f"{usd(tilt.equity)} USD"
    )
    if not neutral:
        side = "short" if net < 0 else "long"
        return f"A rally is what hurts: the account is net {side} {_amount(net)} USD, and {numbers}"
    return (
        f"A rally, not a crash, is what hurts this delta-neutral account: {_why(tilt)}; {numbers}, and a "
        "crash does the reverse"
    )


def _why(tilt: Tilt) -> str:
    """What of a rise costs a hedged account: only what these numbers show."""
    if tilt.equity - tilt.adjusted_equity >= _CENT:
        return (
            "the coins held count only at their collateral ratios, the losses of what is short count in full"
        )
    return "no collateral ratio has a part in it, but maintenance margin grows with prices on both legs"


def _end(near: Decimal | None, far: Decimal | None, toward: str, away: str) -> str:
    first = f"no joint {toward}" if near is None else f"a joint {toward} of {_percent(near)}"
    second = f"no {away}" if far is None else f"a {away} of {_percent(far)}"
    return f"{first} liquidates it, {second} does"


def _amount(value: Decimal) -> str:
    return usd(abs(value))


def _percent(fraction: Decimal) -> str:
    return f"{abs(fraction) * _HUNDRED:.1f} %"
