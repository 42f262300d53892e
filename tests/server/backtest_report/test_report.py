"""The report as a reader of its HTML sees it."""

import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from portfolio.core.names import PairId
from server.backtest_report import render_report
from server.backtest_report.tables import ACTIONS_SHOWN
from tests.server.backtest_report.sample import FIRST_NS, SOL, empty_result, result

VOID = {"meta", "link", "br", "img", "input", "hr"}
HOSTILE = PairId("</script><script>alert(1)</script><img src=x onerror=alert(2)>&'\"")
#: SHA-256 of the chart library as its registry serves version 1.6.32.
UPLOT = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


class Page(HTMLParser):
    """Elements with their attributes, the text outside scripts, rows of tables; asserts that tags nest."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag in self.inside:
            self.inside[tag].append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]][-1] += data
            return
        self.words.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def row(self, head: str) -> list[str]:
        """The first row whose head starts so, without the head."""
        return next(row[1:] for row in self.rows if row and row[0].startswith(head))

    @property
    def charts(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.inside["script"][0])
        return data


@pytest.fixture(scope="module")
def source() -> str:
    return render_report(result())


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_every_section_is_there(page: Page) -> None:
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {"result", "honesty", "time", "book", "costs", "guard", "years", "pieces", "run"} <= ids
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert {str(link).removeprefix("#") for link in links} <= ids
    captions = (
        "Portfolio and baselines",
        "What was aimed at",
        "Quarter by quarter",
        "Where the portfolio's result came from",
        "What the guard did",
        "Year by year",
        "Ablation",
        "Sensitivity",
        "Peers",
    )
    assert all(caption in page.text for caption in captions)


def test_figures_read_as_people_write_them(page: Page) -> None:
    assert page.row("Portfolio")[:3] == ["2.10 (1.30 to 3.00)", "12.00 %", "5.71 %"]
    assert page.row("SOL@binance")[:3] == ["+7,780", "+9,000", "\N{MINUS SIGN}300"]
    assert "100,000 USD at the start on binance (60 %), okx (40 %)" in page.text
    assert "Backtest 2021-01-01 to 2022-02-04" in page.text


def test_an_undefined_figure_is_a_dash_and_its_reason_stands_below(page: Page) -> None:
    assert page.row("SOL@binance")[7] == "\N{EN DASH}"
    assert "The staking yield is not known; none was counted." in page.text


def test_each_aim_says_what_was_found_and_whether_it_was_met(page: Page) -> None:
    assert page.row("Sharpe over the single pair's") == ["at least 1.3x", "1.75x", "met"]
    assert page.row("Sharpe over static BTC carry's") == ["at least 1x", "0.88x", "not met"]
    assert page.row("Liquidations") == ["none", "0", "met"]
    assert "overlap: this history alone does not settle which of the two is better" in page.text


def test_an_ablated_piece_that_does_not_pay_says_so(page: Page) -> None:
    assert page.row("No band")[:3] == ["1.90", "\N{MINUS SIGN}0.20", "pays"]
    assert page.row("No DCC")[:3] == ["2.40", "+0.30", "does not pay here"]
    assert page.row("No stability")[:3] == ["2.11", "+0.01", "no difference"]


def test_what_to_doubt_comes_before_the_charts(source: str, page: Page) -> None:
    assert "Fees are today's, not those of 2021." in page.text
    assert "Coins that were delisted are missing." in page.text
    assert source.index('id="honesty"') < source.index('id="time"')


def test_what_bound_the_book_is_named(page: Page) -> None:
    assert page.row("Stress: market +20%") == ["70.0 %"]


def test_what_no_pair_explains_is_said(page: Page) -> None:
    assert page.row("Change of equity that no pair explains")[0] != ""


def test_nothing_is_loaded_from_anywhere(source: str, page: Page) -> None:
    loading = {"src", "srcset", "action", "data", "poster", "background", "formaction", "ping", "xlink:href"}
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        assert not loading & attributes.keys()
        assert str(attributes.get("href", "#")).startswith("#")
    for style in page.inside["style"]:
        assert "url(" not in style
        assert "@import" not in style
    links = re.findall(r"https?://[^\s\"'<>]*", source)
    assert links == ["https://github.com/leeoniya/uPlot"]  # the library's own first line, a comment


def test_the_page_forbids_itself_every_request_and_every_text_but_its_own(page: Page) -> None:
    policy = next(
        str(attributes["content"])
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == len(page.inside["style"]) + len(page.inside["script"]) - 1


@pytest.mark.parametrize("name", UPLOT)
def test_the_chart_library_is_what_its_authors_published(name: str) -> None:
    content = files("server.backtest_report").joinpath(name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == UPLOT[name]


def test_the_chart_librarys_licence_comes_with_it(page: Page) -> None:
    assert "Copyright (c) 2022 Leon Sorokin" in page.text


def test_charts_hold_one_value_per_day_of_each_run(page: Page) -> None:
    data = page.charts
    assert len(data["seconds"]) == 400
    assert data["seconds"][0] == FIRST_NS // 10**9
    drawn = {chart["id"]: chart for chart in data["charts"]}
    places = {attributes["data-chart"] for _, attributes in page.elements if "data-chart" in attributes}
    assert places == set(drawn) == {"equity", "drawdown", "utilisation", "health", "weights", "costs"}
    for chart in drawn.values():
        assert all(len(series["values"]) == 400 for series in chart["series"])
    assert drawn["equity"]["series"][0]["label"] == "Portfolio"
    assert drawn["health"]["marked"] == [40]
    assert len(drawn["utilisation"]["shaded"]) == 400


def test_runs_over_different_days_keep_their_own_days() -> None:
    made = result()
    short = made.single_pair
    cut = {
        name: getattr(short, name)[100:]
        for name in ("times_ns", "equity", "drawdown", "utilisation", "health")
    }
    page = Page(render_report(replace(made, single_pair=replace(short, **cut))))
    values = page.charts["charts"][0]["series"][1]["values"]
    assert values[99] is None
    assert values[100] == round(float(short.equity[100]))


def test_many_pairs_are_drawn_as_the_largest_and_the_rest() -> None:
    made = result()
    weights = {PairId(f"C{n}@binance"): np.full(400, 0.1 * (n + 1)) for n in range(20)}
    page = Page(render_report(replace(made, portfolio=replace(made.portfolio, weights=weights))))
    drawn = next(chart for chart in page.charts["charts"] if chart["id"] == "weights")
    assert drawn["series"][0]["label"] == "C19@binance"
    assert drawn["series"][-1]["label"] == "9 others"
    assert drawn["series"][-1]["values"][0] == pytest.approx(4.5)


def test_hostile_names_and_texts_are_text_everywhere() -> None:
    made = result()
    mine = made.portfolio
    made = replace(
        made,
        portfolio=replace(
            mine,
            description=HOSTILE,
            weights={HOSTILE: mine.weights[SOL]},
            attribution=(replace(mine.attribution[0], pair_id=HOSTILE),),
            guard_actions=(replace(mine.guard_actions[0], pair_id=HOSTILE, reason=HOSTILE),),
            binding={HOSTILE: 1.0},
        ),
        settings=replace(made.settings, assumptions={HOSTILE: HOSTILE}),
        data=replace(made.data, source=HOSTILE, pairs=(HOSTILE,), notes=(HOSTILE,)),
        honesty=(HOSTILE,),
    )
    page = Page(render_report(made))
    assert len(page.inside["script"]) == 3
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.charts["charts"][4]["series"][0]["label"] == HOSTILE
    assert page.text.count("alert(1)") >= 7


def test_a_run_without_any_figure_shows_dashes_and_no_number_that_is_none() -> None:
    source = render_report(empty_result())
    page = Page(source)
    assert page.row("Portfolio")[0] == "\N{EN DASH}"
    assert page.row("Utilisation in paying hours")[1:] == ["\N{EN DASH}", "\N{EN DASH}"]
    for text in (
        "Not defined: too few days",
        "No hour paid",
        "The run has no day.",
        "The period holds no hour.",
    ):
        assert text in page.text
    assert not re.search(r"\b(nan|NaN|None|inf|Infinity)\b", page.text + page.inside["script"][0])


def test_nothing_to_show_is_said_in_words() -> None:
    text = Page(render_report(empty_result())).text
    for words in (
        "No ablation was run.",
        "No peer was run.",
        "No assumption was varied.",
        "The guard never had to act, in any run.",
        "The guard never had to act on the portfolio.",
        "The portfolio never held a pair.",
        "The result came without notes on its data.",
    ):
        assert words in text


def test_figures_that_are_not_finite_are_gaps_and_dashes() -> None:
    made = result()
    mine = made.portfolio
    holes = np.where(np.arange(400) == 7, np.nan, mine.health)
    broken = replace(mine, health=holes, turnover=float("inf"), health_min=float("nan"))
    page = Page(render_report(replace(made, portfolio=broken)))
    assert page.charts["charts"][3]["series"][0]["values"][7] is None
    assert not re.search(r"\b(nan|inf)\b", page.text)


def test_of_many_guard_actions_the_largest_are_listed_and_the_rest_counted() -> None:
    made = result()
    one = made.portfolio.guard_actions[0]
    many = tuple(
        replace(one, time_ns=one.time_ns + n, from_usd=100.0 + n, to_usd=100.0)
        for n in range(ACTIONS_SHOWN + 25)
    )
    page = Page(render_report(replace(made, portfolio=replace(made.portfolio, guard_actions=many))))
    assert len([row for row in page.rows if row and row[0].startswith("2021-02-10")]) == ACTIONS_SHOWN
    assert "25 smaller cuts are counted above and not listed." in page.text
    assert page.row("Ranking reduction")[0] == f"{ACTIONS_SHOWN + 25}"


def test_a_liquidation_is_marked_as_bad() -> None:
    made = result()
    source = render_report(replace(made, portfolio=replace(made.portfolio, liquidations=2)))
    assert '<td class="bad">2</td>' in source
    assert Page(source).row("Liquidations")[2] == "not met"
