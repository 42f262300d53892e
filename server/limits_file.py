"""The `[limits]` section of the operator's file, mapped onto `core.limits.RiskLimits`.

A limit may be tightened by writing it down; a looser one needs the operator's signature, which no file can
carry, so it is refused here. Names are those of the fields; durations end in `_s` and are seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, fields, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, cast

from portfolio.core.decimals import parse, plain
from portfolio.core.errors import NumberError, SettingsError
from portfolio.core.limits import SECOND_NS, BookLimits, Freshness, GuardLimits, RiskLimits, TradeLimits

#: What of a section is tighter: "higher" or "lower" than the default.
HIGHER = frozenset(
    {
        *("entry_health_min", "reduce_below_health", "reduce_to_health", "ladder_cut", "rest_book_share_min"),
        *("rest_notional_min_multiple", "flatten_below_health", "cooldown_ns"),
        *("health_min", "market_stress_health_min", "stress_health_min", "quality_min"),
        *("band", "gain_over_cost_min", "swap_score_multiple", "settlement_before_ns", "settlement_after_ns"),
        "bucket_reserve",
    }
)
LOWER = frozenset(
    {
        *("price_ns", "account_ns", "funding_ns", "borrow_ns", "tables_ns"),
        *("entry_usage_max", "reduce_above_usage", "reduce_to_usage", "naked_leg_ns", "drawdown_max"),
        *("gap_freeze", "gap_freeze_samples", "gap_distrust"),
        *("usage_max", "market_stress_usage_max", "stress_usage_max", "pair_book_share_max"),
        *("narrative_equity_share_max", "depth_share_max", "pairs_max"),
        *("exit_waits_for_settlement_ns", "urgent_slippage_max", "slice_notional_max", "maker_wait_ns"),
    }
)

Refuse = Callable[[str, str, str, str], SettingsError]
_SECTIONS: Mapping[str, type] = {
    "freshness": Freshness,
    "guard": GuardLimits,
    "book": BookLimits,
    "trade": TradeLimits,
}


def file_name(field: str) -> str:
    """What a field is called in the file: durations in seconds."""
    return f"{field.removesuffix('_ns')}_s" if field.endswith("_ns") else field


def known_names(section: str) -> tuple[str, ...]:
    """Names that `[limits.<section>]` may use."""
    return tuple(file_name(field.name) for field in fields(_SECTIONS[section]))


def section_names() -> tuple[str, ...]:
    """Names of the sections under `[limits]`."""
    return tuple(_SECTIONS)


def limits_from(tables: Mapping[str, Mapping[str, object]]) -> RiskLimits:
    """The default limits with those of the file in their place; names must be known already.

    Raises:
        SettingsError: a value is not a number, is looser than the default, or the limits contradict.
    """
    made = {name: _section(name, cls, tables.get(name, {})) for name, cls in _SECTIONS.items()}
    limits = RiskLimits(**cast(Any, made))
    _check_order(limits)
    return limits


def _section(section: str, cls: type, table: Mapping[str, object]) -> object:
    changed: dict[str, Decimal | int] = {}
    for field in fields(cls):
        name = file_name(field.name)
        if name in table:
            changed[field.name] = _value(f"limits.{section}.{name}", field, table[name])
    return replace(cls(), **cast(Any, changed))


def _value(key: str, field: Field[Any], raw: object) -> Decimal | int:
    default = cast(Decimal | int, field.default)
    value = _number(key, field, raw)
    looser = value < default if field.name in HIGHER else value > default
    if looser:
        side = "at least" if field.name in HIGHER else "at most"
        raise SettingsError(
            f"{key} = {_shown(field, value)} is looser than the default {_shown(field, default)}.",
            field=key,
            allowed=f"{side} {_shown(field, default)}",
            next_step="A file may only tighten a limit; looser ones need the operator's signature.",
        )
    return value


def _number(key: str, field: Field[Any], raw: object) -> Decimal | int:
    try:
        value = parse(cast(Any, raw), key)
    except NumberError as error:
        raise SettingsError(error.message, field=key, next_step='Write it as "0.85" or 3.') from None
    if value < 0:
        raise SettingsError(f"{key} = {plain(value)} is negative.", field=key, allowed=">= 0")
    if isinstance(field.default, int):
        scaled = value * SECOND_NS if field.name.endswith("_ns") else value
        if scaled != int(scaled):
            raise SettingsError(
                f"{key} = {plain(value)} is too fine.", field=key, next_step="Write a whole number."
            )
        return int(scaled)
    return value


def _shown(field: Field[Any], value: Decimal | int) -> str:
    if field.name.endswith("_ns"):
        return plain(Decimal(value) / SECOND_NS)
    return plain(Decimal(value))


def _check_order(limits: RiskLimits) -> None:
    """The lines must stay in order, or the guard would undo at once what the book allows."""
    guard, book = limits.guard, limits.book
    chains = (
        (
            ("limits.guard.flatten_below_health", guard.flatten_below_health),
            ("limits.guard.reduce_below_health", guard.reduce_below_health),
            ("limits.guard.reduce_to_health", guard.reduce_to_health),
            ("limits.guard.entry_health_min", guard.entry_health_min),
            ("limits.book.health_min", book.health_min),
        ),
        (
            ("limits.book.usage_max", book.usage_max),
            ("limits.guard.reduce_to_usage", guard.reduce_to_usage),
            ("limits.guard.entry_usage_max", guard.entry_usage_max),
        ),
    )
    for chain in chains:
        for (low, below), (high, above) in pairwise(chain):
            if below > above:
                raise SettingsError(
                    f"{low} = {plain(below)} is above {high} = {plain(above)}.",
                    field=low,
                    next_step=f"Keep {low} <= {high}.",
                )
