"""The common part of every result, and how values become text.

Amounts are decimal texts with the unit in the name; ratios and rates are decimal texts too (0.16 is 16 %).
"""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TypedDict

from pydantic import BaseModel, ConfigDict, Field

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import plain
from portfolio.ports import IntentRow
from portfolio.service import DeskService, DeskSnapshot, Principal, Scope

_SECOND_NS = 1_000_000_000
#: How long a change of the risk tables is worth a warning.
_CHANGE_SHOWN_NS = 6 * 3600 * _SECOND_NS


class DataAge(BaseModel):
    """Ages in seconds on the wall clock; null: never seen."""

    account: float | None
    prices: float | None
    risk: float | None = Field(description="Risk tables: collateral, borrowing, position tiers.")


class Common(BaseModel):
    """What every result says first."""

    model_config = ConfigDict(frozen=True)

    summary: str = Field(description="One sentence.")
    mode: str = Field(description="paper, testnet or live.")
    account: str
    as_of: str | None = Field(description="Wall clock, UTC.")
    market_time: str | None = Field(description="Market clock, UTC; differs from as_of on paper.")
    data_age_s: DataAge
    warnings: list[str]
    next: str = Field(description="What to do next, if anything.")


class Head(TypedDict):
    """The common part as keyword arguments."""

    summary: str
    mode: str
    account: str
    as_of: str | None
    market_time: str | None
    data_age_s: DataAge
    warnings: list[str]
    next: str


class MarginBlock(BaseModel):
    """An account's totals. health_score = 1 - 1.2 x maintenance / adjusted equity, 0 to 1."""

    total_equity_usd: str
    adjusted_equity_usd: str
    initial_margin_usd: str
    maintenance_margin_usd: str
    health_score: str
    margin_usage: str | None = Field(description="Initial margin over adjusted equity; null when <= 0.")


def usd(value: Decimal) -> str:
    """Money to the cent."""
    return plain(value.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN))


def ratio(value: Decimal, digits: int = 4) -> str:
    """A fraction to `digits` places."""
    return plain(value.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN))


def real(value: float, digits: int = 4) -> str:
    """A float of the scores as decimal text."""
    return ratio(Decimal(repr(float(value))), digits)  # scores may be numpy's floats


def moment(time_ns: int) -> str:
    """Integer ns since the epoch as ISO-8601 UTC, to the second."""
    return datetime.fromtimestamp(time_ns // _SECOND_NS, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(duration_ns: int | None) -> float | None:
    """A duration in seconds, to the millisecond."""
    return None if duration_ns is None else round(duration_ns / _SECOND_NS, 3)


def margin_block(figures: MarginFigures) -> MarginBlock:
    """Totals as text."""
    usage = figures.margin_usage
    return MarginBlock(
        total_equity_usd=usd(figures.total_equity),
        adjusted_equity_usd=usd(figures.adjusted_equity),
        initial_margin_usd=usd(figures.initial_margin),
        maintenance_margin_usd=usd(figures.maintenance_margin),
        health_score=ratio(figures.health_score),
        margin_usage=None if usage is None else ratio(usage),
    )


def warnings_of(snapshot: DeskSnapshot) -> list[str]:
    """What a reader must know before deciding anything."""
    found = []
    if snapshot.halted:
        found.append("Halted by the operator: only hedges and reductions run.")
    if not snapshot.recovered:
        found.append("The desk is still accounting for orders in flight at its last stop.")
    if snapshot.stale:
        found.append(f"Missing or too old: {', '.join(snapshot.stale)}. Nothing that adds risk is possible.")
    found += [f"Entries are frozen ({freeze.source}): {freeze.reason}" for freeze in snapshot.freezes]
    change = snapshot.tables_changed
    if change is not None and snapshot.wire_ns - change.wire_ns <= _CHANGE_SHOWN_NS:
        minutes = max(0, snapshot.wire_ns - change.wire_ns) // (60 * _SECOND_NS)
        found.append(f"The venue changed its risk tables {minutes} min ago: {change.summary}.")
    if snapshot.uncounted:
        found.append(
            f"Held but counted as nothing, for lack of a price or a collateral table: "
            f"{', '.join(snapshot.uncounted)}."
        )
    if snapshot.guard.held_pairs:
        found.append(f"The guard has taken over: {', '.join(snapshot.guard.held_pairs)}.")
    if snapshot.install == "same-user" and snapshot.mode != "paper":
        found.append("Same-user install: programs of this user could bypass the desk.")
    return found


def head(snapshot: DeskSnapshot, summary: str, next_step: str = "") -> Head:
    """The common part from a snapshot."""
    ages = snapshot.ages
    return Head(
        summary=summary,
        mode=snapshot.mode,
        account=snapshot.account,
        as_of=moment(snapshot.wire_ns),
        market_time=moment(snapshot.market_ns),
        data_age_s=DataAge(
            account=seconds(ages.account_ns), prices=seconds(ages.prices_ns), risk=seconds(ages.tables_ns)
        ),
        warnings=warnings_of(snapshot),
        next=next_step,
    )


async def intent_head(
    desk: DeskService, principal: Principal, row: IntentRow, summary: str, next_step: str
) -> Head:
    """The common part of an answer about an intent; a token without `read` sees only the intent."""
    if Scope.READ in principal.scopes:
        return head(await desk.read(principal), summary, next_step)
    return Head(
        summary=summary,
        mode=row.intent.mode,
        account=row.intent.account,
        as_of=moment(row.updated_wire_ns),
        market_time=None,
        data_age_s=DataAge(account=None, prices=None, risk=None),
        warnings=[],
        next=next_step,
    )
