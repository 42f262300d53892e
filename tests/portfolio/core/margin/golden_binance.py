"""Golden cases of Binance Portfolio Margin: printed examples, recorded payloads, and announced changes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from portfolio.core.margin.binance_pm import value
from portfolio.core.margin.binance_status import uni_mmr, uni_mmr_text
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, stressed
from portfolio.core.margin.valuation import CoinValue, Valuation
from portfolio.core.names import Coin
from portfolio.core.risk import CollateralTable, LeveragePolicy
from tests.portfolio.core.margin.accounts import balance, chain, flat_ratio, position, ratios, tier
from tests.portfolio.core.margin.binance_accounts import BRACKETS, alone, pm, printed_carry, upm
from tests.portfolio.core.margin.golden import HERE, GoldenCase, graduated

D = Decimal
EXAMPLE = "reference sheet 5.8: FAQ formulas worked through with assumed rates"
TIERS = "reference sheet 5.7: Binance leverage and margin tiers, July 2026"
RECORDED = "JKorf/Binance.Net, {}"
CUT = "Binance notice of 2025-08-04, collateral ratios from 2025-08-08"
LADDER = "Binance notice of 2026-02-24, leverage and margin tiers from 2026-02-27"


def cases() -> list[GoldenCase]:
    return [*_examples(), *_brackets(), *_loans(), *_rates(), *_recorded(), *_health(), *_notices()]


def _examples() -> Iterator[GoldenCase]:
    carry, lent = value(printed_carry()), value(printed_carry("60000"))
    # the second uniMMR is printed as 15.30: the same division with more places
    for name, valuation, printed in (
        ("carry", carry, ("268.33333333", "161000", "168500", "15000", "600", "146000")),
        ("carry, 60 000 USDT lent", lent, ("15.3030303", "101000", "108500", "21666.67", "6600", "79333.33")),
    ):
        figures = valuation.figures
        numbers = (
            ("uniMMR", D(uni_mmr_text(figures))),
            ("accountEquity", figures.adjusted_equity),
            ("actualEquity", figures.total_equity),
            ("accountInitialMargin", figures.initial_margin),
            ("accountMaintMargin", figures.maintenance_margin),
            ("totalAvailableBalance", valuation.available),
        )
        for (figure, ours), expected in zip(numbers, printed, strict=True):
            yield GoldenCase(f"Binance {name}", EXAMPLE, figure, ours, D(expected))
    for leverage, margin in (("5", "30000"), ("3", "45000")):
        ours = value(printed_carry("60000", leverage)).figures.initial_margin
        name = f"Binance carry, 60 000 USDT lent at {leverage} x"
        yield GoldenCase(name, EXAMPLE, "accountInitialMargin", ours, D(margin))
    rally = stressed(printed_carry(), Scenario("", {Coin("ETH"): D("1.1")}))
    lost = carry.figures.adjusted_equity - value(rally).figures.adjusted_equity
    yield GoldenCase("Binance carry, ETH 10 % up", EXAMPLE, "loss of accountEquity", lost, D(750))


def _brackets() -> Iterator[GoldenCase]:
    for notional, expected in (("651", "2.604"), ("500000", "2200"), ("5000000", "38000")):
        ours = value(alone("BTC", notional)).figures.maintenance_margin
        yield GoldenCase(f"{notional} USDT of BTCUSDT", TIERS, "maintMargin", ours, D(expected))
    for base, text in BRACKETS.items():
        rows = [line.split() for line in text.splitlines()]
        ladder = tuple((cap, rate) for _, cap, rate, _ in rows)
        ours = sum((value(alone(base, cap)).figures.maintenance_margin for cap, _ in ladder), start=D(0))
        taxed = sum((graduated(ladder, cap) for cap, _ in ladder), start=D(0))
        name = f"{base}USDT at each of {len(rows)} caps by printed cum"
        yield GoldenCase(name, TIERS, "sum of maintMargin", ours, taxed)


def _loans() -> Iterator[GoldenCase]:
    source = "Binance FAQ, PM Pro maintenance margin"
    for coin, loan, expected in (("BTC", "0.04", "0.004"), ("ETH", "15", "1.5")):
        row = _row(value(pm(coin, balances=(balance(coin, "0", loan),), usd={coin: "2500"})), coin)
        yield GoldenCase(f"loan of {loan} {coin}", source, f"MM in {coin}", row.borrow_mm / 2500, D(expected))


def _rates() -> Iterator[GoldenCase]:
    def counted(coin: str, usd: str, table: CollateralTable) -> Decimal:
        state = pm(coin, balances=(balance(coin, usd),), usd={coin: "1"}, rates={coin: table})
        return value(state).figures.adjusted_equity

    reward = _in_usd(
        "RWUSD", ("0", "1200000", "0.999"), ("1200000", "2000000", "0.975"), ("2000000", None, "0")
    )
    yield GoldenCase(
        "2.5 M USD of RWUSD, PM Pro",
        "reference sheet 5.6, announcement of 2026-02-10",
        "accountEquity",
        counted("RWUSD", "2500000", reward),
        D(1198800) + D(780000),
    )
    bitcoin = _in_usd("BTC", ("0", "1e8", "1"), ("1e8", "1.2e8", "0.975"))
    yield GoldenCase(
        "110 M USD of BTC, tiers of 2023",
        "Binance FAQ, PM Pro limits and collateral",
        "accountEquity",
        counted("BTC", "1.1e8", bitcoin),
        D("1e8") + D("9.75e6"),
    )
    staked = pm(
        "ETH",
        "WBETH",
        balances=(balance("WBETH", "10"),),
        usd={"ETH": "3000", "WBETH": str(D("1.09") * 3000)},
    )
    yield GoldenCase(
        "10 WBETH of 1.09 ETH each, at the rate of ETH",
        "Binance notices of 2025-10-06 and 2025-11-28",
        "accountEquity",
        value(staked).figures.adjusted_equity,
        D("10.9") * 3000 * D("0.95"),
    )


def _recorded() -> Iterator[GoldenCase]:
    def case(file: str, name: str, figure: str, ours: Decimal, expected: str) -> GoldenCase:
        return GoldenCase(name, RECORDED.format(file), figure, ours, D(expected))

    body = payload("GetPortfolioMarginAccountInfo")
    figures, available = _classic_account(body)
    yield case("GetPortfolioMarginAccountInfo", "recorded account", "uniMMR", figures, body["uniMMR"])
    yield GoldenCase(
        "recorded account",
        "Binance API page, PM Pro account sample",
        "totalAvailableBalance",
        available,
        D("122559.90199491"),
    )
    row = payload("GetPositions")[0]
    leg = value(_position(row)).legs[0]
    name = "recorded position of 0.001 BTC"
    yield case("GetPositions", name, "unRealizedProfit", leg.unrealised_pnl, row["unRealizedProfit"])
    yield case("GetPositions", name, "notional", leg.mark_value, row["notional"])
    (symbol,) = payload("GetBrackets")
    (bracket,) = symbol["brackets"]
    cap, rate = str(bracket["notionalCap"]), str(bracket["maintMarginRatio"])
    rows = (tier(cap, rate, str(bracket["initialLeverage"]), str(bracket["cum"])),)
    ours = value(alone("ETH", cap, rows)).figures.maintenance_margin
    yield case("GetBrackets", "recorded bracket of ETHUSDT at its cap", "maintMargin", ours, "65")
    coin = next(row for row in payload("GetMarginAccountInfo")["userAssets"] if row["asset"] == "BNB")
    held = D(coin["free"]) + D(coin["locked"])
    owed = D(coin["borrowed"]) + D(coin["interest"])
    state = pm("BNB", balances=(balance("BNB", held, owed),), usd={"BNB": "600"})
    net = _row(value(state), "BNB").equity
    yield case("GetMarginAccountInfo", "recorded loan of BNB", "netAsset", net, coin["netAsset"])
    tiers = payload("GetCrossMarginCollateralRatio")[0]["collaterals"]
    table = _in_usd(
        "BNX", *((row["minUsdValue"], row.get("maxUsdValue"), row["discountRate"]) for row in tiers)
    )
    state = pm("BNX", balances=(balance("BNX", "25000000"),), usd={"BNX": "1"}, rates={"BNX": table})
    ours, expected = value(state).figures.adjusted_equity, D(13_000_000) + D(7_000_000) * D("0.975")
    yield case(
        "GetCrossMarginCollateralRatio", "25 M USD of BNX, recorded tiers", "counted", ours, str(expected)
    )
    for rate_row in payload("GetPortfolioMarginCollateralRate"):
        asset, printed = rate_row["asset"], rate_row["collateralRate"]
        state = pm(
            "BTC",
            balances=(balance(asset, "1"),),
            usd={asset: "1"},
            rates={asset: flat_ratio(asset, printed)},
        )
        ours = value(state).figures.adjusted_equity
        yield case("GetPortfolioMarginCollateralRate", f"1 {asset}", "accountEquity", ours, printed)


def _health() -> Iterator[GoldenCase]:
    for ratio, health in (("6", "0.8"), ("4", "0.7"), ("2.4", "0.5")):
        # 651 USDT of BTCUSDT maintain 2.604 (see above); the equity is that many times as much
        state = replace(alone("BTC", "651"), balances=(balance("USDT", D("2.604") * D(ratio)),))
        ours = value(state).figures.health_score
        yield GoldenCase(
            f"account at uniMMR {ratio}", "definition of the health score", "health", ours, D(health)
        )


def collateral_cut(rate: str) -> MarginState:
    """A carry of 1 M LRC at 0.1 USD, with 20 000 USDT and a loan of 30 000: MM is 5 000 + 3 000."""
    return pm(
        "LRC",
        balances=(balance("LRC", "1000000"), balance("USDT", "20000", "30000")),
        positions=(position(upm("LRC"), "-1000000", "0.1"),),
        usd={"LRC": "0.1"},
        rates={"LRC": rate},
        tiers={"LRC": chain(("500000", "0.05", "10"))},
    )


#: MONUSDT: limit, MMR, highest leverage.
MON_BEFORE = (
    ("20000", "0.01", "75"), ("200000", "0.015", "50"), ("1000000", "0.02", "25"), ("2000000", "0.025", "20"),
    ("5000000", "0.05", "10"), ("7500000", "0.1", "5"), ("10000000", "0.125", "4"), ("12500000", "0.25", "2"),
    ("15000000", "0.5", "1"),
)  # fmt: skip
MON_AFTER = (
    ("5000", "0.01", "75"), ("10000", "0.015", "50"), ("50000", "0.02", "25"), ("100000", "0.025", "20"),
    ("175000", "0.0333", "15"), ("250000", "0.05", "10"), ("750000", "0.1", "5"), ("1500000", "0.125", "4"),
    ("4500000", "0.1667", "3"), ("7500000", "0.25", "2"), ("12500000", "0.5", "1"),
)  # fmt: skip


def harsher_tiers(rows: tuple[tuple[str, str, str], ...]) -> MarginState:
    """1 M USDT of MONUSDT short at leverage 10 beside 500 000 USDT."""
    return pm(
        "MON",
        balances=(balance("USDT", "500000"),),
        positions=(position(upm("MON"), "-40000000", "0.025"),),
        usd={"MON": "0.025"},
        tiers={"MON": chain(*rows)},
    )


def _notices() -> Iterator[GoldenCase]:
    # ECV 40 000 - 10 000, then 25 000 - 10 000; MM 8 000 both times
    for when, rate, ratio, health in (("before", "0.4", "3.75", "0.68"), ("after", "0.25", "1.875", "0.36")):
        figures = value(collateral_cut(rate)).figures
        name = f"LRC carry {when} the cut of its ratio from 40 % to 25 %"
        yield GoldenCase(name, CUT, "uniMMR", uni_mmr(figures) or D(0), D(ratio))
        yield GoldenCase(name, CUT, "health", figures.health_score, D(health))
    # 200 + 2 700 + 16 000; then 50 + 75 + 800 + 1 250 + 2 497.5 + 3 750 + 50 000 + 31 250
    for when, rows, maintenance, initial, health in (
        ("before", MON_BEFORE, "18900", "100000", "0.95464"),
        ("after", MON_AFTER, "89672.5", "250000", "0.784786"),
    ):
        figures = value(harsher_tiers(rows)).figures
        name = f"1 M USDT of MONUSDT {when} its harsher tiers"
        yield GoldenCase(name, LADDER, "accountMaintMargin", figures.maintenance_margin, D(maintenance))
        yield GoldenCase(name, LADDER, "accountInitialMargin", figures.initial_margin, D(initial))
        yield GoldenCase(name, LADDER, "health", figures.health_score, D(health))


def payload(name: str) -> Any:
    return json.loads(Path(HERE / "data" / "binance" / f"{name}.json").read_text(), parse_float=Decimal)


def _classic_account(body: dict[str, str]) -> tuple[Decimal, Decimal]:
    """uniMMR and available balance of an account made to have the recorded equity and MM.

    One position of MMR 0.5 % that needs the recorded MM, at leverage 100: its IM is twice as much, as there.
    """
    maintenance = D(body["accountMaintMargin"])
    state = pm(
        "BTC",
        balances=(balance("USDT", body["accountEquity"]),),
        positions=(position(upm("BTC"), -maintenance * 200, "1", "100"),),
        usd={"BTC": "1"},
        tiers={"BTC": (tier("1e9", "0.005", "125"),)},
        policy=LeveragePolicy(perpetual=D(100)),
    )
    valuation = value(state)
    return D(uni_mmr_text(valuation.figures)), valuation.available


def _position(row: dict[str, str]) -> MarginState:
    return pm(
        "BTC",
        balances=(balance("USDT", "100"),),
        positions=(position(upm("BTC"), row["positionAmt"], row["entryPrice"], row["leverage"]),),
        marks={upm("BTC"): row["markPrice"]},
    )


def _in_usd(coin: str, *rows: tuple[str, str | None, str]) -> CollateralTable:
    return replace(ratios(coin, *rows), in_usd=True)


def _row(valuation: Valuation, coin: str) -> CoinValue:
    found = valuation.coin(Coin(coin))
    assert found is not None
    return found
