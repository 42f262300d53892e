"""A what-if as a person reads it: a table of the account, its pairs, the stresses and the two numbers."""

from typing import TYPE_CHECKING

from tools.columns import columns
from tools.results import MarginBlock
from tools.venue_check import venue_text

if TYPE_CHECKING:
    from tools.simulate import ShareBlock, SimulateResult

_NONE = "-"


def simulation_text(result: "SimulateResult") -> str:
    """Plain text in columns; every number in it is in the structured part as well."""
    parts = [result.summary, _account(result.before, result.after)]
    if result.blocked_by:
        parts.append(f"Refused by: {', '.join(result.blocked_by)}.")
    parts.append(_pairs(result))
    if result.per_pair:
        parts.append(_ends(result))
    if result.stresses:
        stressed = [
            (
                f"{row.scenario} (yours)" if row.own else row.scenario,
                row.health_score,
                row.margin_usage or _NONE,
                row.adjusted_equity_usd,
                row.maintenance_margin_usd,
                "kept" if row.keeps_lines else "broken",
            )
            for row in result.stresses
        ]
        parts.append(columns(("stress", "health", "usage", "ECV USD", "MM USD", "lines"), stressed))
    move = result.joint_move
    parts.append(f"Haircut delta: {move.haircut_delta_usd} USD of ECV lost per +1 %. {move.what_hurts}")
    if result.find_max is not None:
        most = result.find_max
        parts.append(
            f"Largest {most.pair}: {most.max_notional_usd} USD a leg ({most.max_quantity_coins} coins), "
            f"{most.more_usd} USD more; {most.binding_limit} binds."
        )
    parts.append(venue_text(result.venue_check))
    parts += [f"Warning: {text}" for text in result.warnings]
    age = result.data_age_s
    parts.append(f"Data ages in s: account {age.account}, prices {age.prices}, risk tables {age.risk}.")
    parts.append(
        f"{len(result.assumptions)} assumptions stand behind these numbers, listed in `assumptions`."
    )
    return "\n\n".join(parts)


def _pairs(result: "SimulateResult") -> str:
    """What each pair adds to the account, and the average shares that add up to it."""
    rows = [
        (
            row.pair,
            row.notional_usd,
            row.initial_margin_usd,
            row.maintenance_margin_usd,
            row.haircut_usd,
            *_average(row.average),
        )
        for row in result.per_pair
    ]
    empty = (_NONE,) * 4
    rows.append(("no pair's", *empty, *_average(result.shares.treasury)))
    rows.append(("account", *empty, *_average(result.shares.account)))
    names = ("pair, USD", "one leg", "adds IM", "adds MM", "adds haircut")
    return columns((*names, "avg IM", "avg MM", "avg haircut", "avg loan"), rows)


def _ends(result: "SimulateResult") -> str:
    """Prices of one coin alone at which the account liquidates."""
    ends = [
        (row.pair, row.liquidation_below_usd or _NONE, row.liquidation_above_usd or _NONE)
        for row in result.per_pair
        if row.liquidation_below_usd or row.liquidation_above_usd
    ]
    if not ends:
        return "No coin's price alone, from a tenth to ten times today's, liquidates the account."
    title = f"account liquidates (ECV / MM {result.liquidates_at_ratio}) with this coin at"
    return columns((title, "below USD", "above USD"), ends)


def _average(row: "ShareBlock") -> tuple[str, str, str, str]:
    return row.initial_margin_usd, row.maintenance_margin_usd, row.haircut_usd, row.borrowed_usd


def _account(before: MarginBlock, after: MarginBlock) -> str:
    rows = [
        ("total equity USD", before.total_equity_usd, after.total_equity_usd),
        ("adjusted equity (ECV)", before.adjusted_equity_usd, after.adjusted_equity_usd),
        ("initial margin", before.initial_margin_usd, after.initial_margin_usd),
        ("maintenance margin", before.maintenance_margin_usd, after.maintenance_margin_usd),
        ("health", before.health_score, after.health_score),
        ("usage", before.margin_usage or _NONE, after.margin_usage or _NONE),
    ]
    return columns(("account", "before", "after"), rows)
