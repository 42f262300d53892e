"""The page: tables and charts in a template, with everything inlined and nothing loaded from anywhere."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from portfolio.backtest.result import BacktestResult
from server.backtest_report import headline, tables
from server.backtest_report.cells import date_text, label, number, percent
from server.backtest_report.charts import charts_of

_SCRIPTS = ("uPlot.iife.min.js", "charts.js")
_STYLES = ("uPlot.min.css", "page.css")


def render_report(result: BacktestResult) -> str:
    """The report as one self-contained HTML page.

    It opens from a file, asks for nothing over any network (its own policy forbids it), shows no figure that
    is not defined (a dash and the reason stand in its place), and escapes every name and text of the result.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["label"] = label
    template = environment.from_string(_read("page.html.j2"))
    scripts = [_inline(name) for name in _SCRIPTS]
    styles = [_inline(name) for name in _STYLES]
    charts = charts_of(result)
    return template.render(
        title=_title(result),
        subtitle=_subtitle(result),
        settings=result.settings,
        data=result.data,
        honesty=result.honesty,
        hourly_share=percent(result.data.hourly_share, 0, reason="The period holds no hour."),
        seconds=number(result.seconds, 1),
        seconds_by_part={name: number(took, 1) for name, took in result.seconds_by_part.items()},
        tables=_tables(result),
        charts={chart.id: chart for chart in charts.charts},
        chart_data=htmlsafe_json_dumps(charts.data(), dumps=_dumps),
        scripts=scripts,
        styles=styles,
        policy=_policy(scripts, styles),
        licence=_read("uPlot.LICENSE"),
    )


def _title(result: BacktestResult) -> str:
    settings = result.settings
    return f"Backtest {date_text(settings.from_ns)} to {date_text(settings.to_ns - 1)}"


def _subtitle(result: BacktestResult) -> str:
    settings, data = result.settings, result.data
    shares = ", ".join(
        f"{venue} ({percent(settings.equity_shares[venue], 0).text})"
        if venue in settings.equity_shares
        else venue
        for venue in settings.venues
    )
    return (
        f"{number(settings.equity_usd, 0).text} USD at the start on {shares}; {len(data.pairs)} pairs, "
        f"{data.settlements:,} settlements of {data.source}."
    )


def _tables(result: BacktestResult) -> Mapping[str, object]:
    return {
        "headline": headline.headline(result),
        "size_and_safety": headline.size_and_safety(result),
        "aims": headline.aims(result),
        "years": tables.years(result),
        "ablation": tables.ablation(result),
        "peers": tables.peers(result),
        "sensitivity": tables.sensitivity(result),
        "attribution": tables.attribution(result),
        "costs": tables.costs(result),
        "guard_counts": tables.guard_counts(result),
        "guard_actions": tables.guard_actions(result),
        "binding": tables.binding(result),
        "venues": tables.venues(result),
        "quarters": tables.quarters(result),
    }


@cache
def _read(name: str) -> str:
    return files("server.backtest_report").joinpath(name).read_text(encoding="utf-8")


def _inline(name: str) -> Markup:
    """A file of ours (or the chart library) as it stands; nothing of a result is in it."""
    return Markup(_read(name))  # noqa: S704


def _policy(scripts: list[Markup], styles: list[Markup]) -> str:
    """A content policy under which only these very texts run, and nothing may be fetched."""
    return (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashes(texts: list[Markup]) -> str:
    found = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in found)


def _dumps(value: object, **options: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
