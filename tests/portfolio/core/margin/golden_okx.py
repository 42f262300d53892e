"""Golden cases of OKX: recorded balances, the documented position-builder answer, the sheet's examples."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from portfolio.core.margin import okx_multi_currency, okx_portfolio_margin
from portfolio.core.margin.okx_multi_currency import margin_ratio, venue_mmr
from portfolio.core.margin.okx_risk_units import UnitMargin
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.valuation import CoinValue, Valuation
from portfolio.core.names import Coin
from tests.portfolio.core.margin.accounts import balance, flat_ratio, position, ratios
from tests.portfolio.core.margin.golden import HERE, GoldenCase
from tests.portfolio.core.margin.okx_accounts import coin_tiers, lending, okx, swap

D = Decimal
SHEET = "reference sheet 5.1: OKX help centre, discount tiers worked through"
ILLUSTRATION = "reference sheet 5.2, numeric illustrations"
BUILDER = "OKX docs-v5, account/position-builder, answer of 2025-01-15"
RECORDED = "JKorf/OKX.Net, {}"
#: The one tier that both recorded accounts stand in: IMR by leverage, MMR 0.4 %.
SMALL = coin_tiers(("10", "0.01", "0.004", "100"))
BTC, LTC, USDT = Coin("BTC"), Coin("LTC"), Coin("USDT")

#: Per unit: delta, MR1, MR4, MR6, MR7, MMR, IMR, unrealised PnL, extreme PnL.
BUILDER_UNITS = {
    "BTC": (
        "-9704.9036898",
        "1164.4109244719994",
        "19.4098073796",
        "1164.4109244720003",
        "43.6720666041",
        "1183.8207318516002",
        "1538.9669514070802",
        "290.4963102",
        "-2328.8218489440005",
    ),
    "LTC": (
        "1019.5308",
        "183.50672805719995",
        "8.1562464",
        "183.5067280572",
        "7.1367156",
        "191.6629744572",
        "249.16186679436",
        "-78943.6692",
        "-367.0134561144",
    ),
}
#: MR1 move by move, the same for all three volatilities.
BUILDER_MOVES = {
    "BTC": {"0.04": "-388.1369748240002", "-0.08": "776.2739496480004", "0.12": "-1164.4109244719994"},
    "LTC": {"-0.06": "-61.168909352399936", "0.12": "122.33781870480001", "-0.18": "-183.50672805719995"},
}


def cases() -> list[GoldenCase]:
    return [*_discount(), *_recorded(), *_sub_account(), *_builder(), *_illustrations()]


def discount_example() -> MarginState:
    """100 BTC at 60 000 over seven tiers (sheet 5.1)."""
    edges = ("0", "20", "25", "30", "50", "70", "90", "110")
    rates = (".98", ".975", ".97", ".965", ".96", ".955", ".95")
    table = ratios("BTC", *zip(edges, edges[1:], rates, strict=False))
    return okx(
        coins={"BTC": "1"},
        usd={"BTC": "60000", "USDT": "1"},
        balances=(balance("BTC", "100"),),
        collateral={"BTC": table},
    )


def recorded(name: str) -> dict[str, Any]:
    """The first row of a recorded payload."""
    found: dict[str, Any] = json.loads((HERE / "data" / "okx" / f"{name}.json").read_text())["data"][0]
    return found


def recorded_account(name: str, price: str, mark: str) -> MarginState:
    """A recorded balance as an account.

    The payload shows one position by its PnL and notional: long 0.002 BTC-USDT-SWAP from 46 637.8, that of
    both recordings, at 10 x. Equity of a trading bot is in the wallet; coins that were cut away are one coin.
    """
    row = recorded(name)
    usdt = row["details"][0]
    rest = D(row["totalEq"]) - D(usdt["eqUsd"])
    ratio = (D(row["adjEq"]) - D(usdt["disEq"])) / rest
    return okx(
        coins={"BTC": "0.98"},
        usd={"USDT": price, "REST": "1", "BTC": "42800"},
        balances=(balance("USDT", D(usdt["cashBal"]) + D(usdt["stgyEq"])), balance("REST", rest)),
        positions=(position(swap("BTC"), "0.002", "46637.8"),),
        marks={swap("BTC"): mark},
        collateral={"REST": flat_ratio("REST", str(ratio))},
        tiers=SMALL,
    )


def sub_account() -> MarginState:
    """A recorded sub-account; its contracts are not shown: one of the same notional, in USD, at 10 x."""
    row = recorded("GetSubAccountTradingBalances")
    usdt, btc = row["details"]
    notional = row["notionalUsd"]
    return okx(
        coins={"XYZ": "1"},
        quotes=("USD",),
        usd={
            "USD": "1",
            "XYZ": notional,
            "USDT": str(D(usdt["eqUsd"]) / D(usdt["eq"])),
            "BTC": str(D(btc["eqUsd"]) / D(btc["eq"])),
        },
        balances=(balance("USDT", usdt["eq"]), balance("BTC", btc["eq"])),
        positions=(position(swap("XYZ", "USD"), "1", notional),),
        collateral={
            "USDT": flat_ratio("USDT", str(D(usdt["disEq"]) / D(usdt["eqUsd"]))),
            "BTC": flat_ratio("BTC", "1"),
        },
        tiers=SMALL,
    )


def builder() -> MarginState:
    """The request of the documented position-builder answer: 100 USDT, -10 BTC and +10 LTC contracts.

    Index prices are not printed: they follow from one scenario of each unit, and are round.
    """
    return okx(
        coins={"BTC": "0.98", "LTC": "0.95"},
        usd={
            "USDT": "0.99954",
            "BTC": str(D("97078.9") * D("0.99954")),
            "LTC": str(D("101.99510") * D("0.99954")),
        },
        balances=(balance("USDT", "100"),),
        positions=(
            position(swap("BTC"), "-0.1", "100000"),
            position(swap("LTC"), "10", "8000"),
        ),
        marks={swap("BTC"): "97093.7", swap("LTC"): "102"},
        borrow=(lending("USDT", "0.1", "0.02"),),
    )


def short_perpetual(coin: str, quantity: str, price: str, *, held: str = "0") -> MarginState:
    """A short of the sheet's illustrations, with spot of the coin beside it."""
    return okx(
        coins={coin: "0.98"},
        usd={"USDT": "1", coin: price},
        balances=(balance(coin, held),),
        positions=(position(swap(coin), f"-{quantity}", price),),
        tiers=coin_tiers(("1000000", "0.01", "0.004", "100")),
    )


def _coin(valuation: Valuation, coin: Coin) -> CoinValue:
    row = valuation.coin(coin)
    assert row is not None
    return row


def _ratio(valuation: Valuation) -> Decimal:
    found = margin_ratio(valuation)
    assert found is not None
    return found


def _discount() -> Iterator[GoldenCase]:
    ours = okx_multi_currency.value(discount_example()).figures.adjusted_equity
    yield GoldenCase("OKX 100 BTC over seven tiers", SHEET, "discEq", ours, D(5785500))


def _recorded() -> Iterator[GoldenCase]:
    for name, price, mark in (
        ("GetAccountBalance", "0.99973", "42865"),
        ("Balance", "0.99927", "42899.9"),
    ):
        row = recorded(name)
        detail = row["details"][0]
        valuation = okx_multi_currency.value(recorded_account(name, price, mark))
        figures, usdt, (leg,) = valuation.figures, _coin(valuation, USDT), valuation.legs
        for figure, ours, expected in (
            ("USDT eq", usdt.equity, detail["eq"]),
            ("USDT disEq", usdt.collateral_usd, detail["disEq"]),
            ("upl", valuation.perpetual_pnl, row["upl"]),
            ("notionalUsd", leg.mark_value * D(price), row["notionalUsd"]),
            ("adjEq", figures.adjusted_equity, row["adjEq"]),
            ("imr", figures.initial_margin, row["imr"]),
            ("mmr", venue_mmr(valuation), row["mmr"]),
            ("mgnRatio", _ratio(valuation), row["mgnRatio"]),
        ):
            yield GoldenCase(f"OKX recorded {name}", RECORDED.format(name), figure, ours, D(expected))


def _sub_account() -> Iterator[GoldenCase]:
    name = "GetSubAccountTradingBalances"
    row = recorded(name)
    valuation = okx_multi_currency.value(sub_account())
    for figure, ours in (
        ("adjEq", valuation.figures.adjusted_equity),
        ("imr", valuation.figures.initial_margin),
        ("mmr", venue_mmr(valuation)),
        ("mgnRatio", _ratio(valuation)),
    ):
        yield GoldenCase("OKX recorded sub-account", RECORDED.format(name), figure, ours, D(row[figure]))


def _builder() -> Iterator[GoldenCase]:
    state = builder()
    valuation = okx_portfolio_margin.value(state)
    units = okx_portfolio_margin.risk_units(state)
    for unit in units:
        yield from _builder_unit(unit, valuation)
    figures, usdt = valuation.figures, _coin(valuation, USDT)
    fee = valuation.liquidation_fees
    for figure, ours, expected in (
        ("USDT availEq", usdt.equity, "-78589.37"),
        ("eq", figures.adjusted_equity, "-78553.21888979999"),
        ("upl", valuation.perpetual_pnl, "-78653.1728898"),
        ("borrowImr", usdt.borrow_im, "7855.32188898"),
        ("borrowMmr (MR8)", usdt.borrow_mm - fee, "1571.064377796"),
        ("derivMmr", figures.maintenance_margin - usdt.borrow_mm, "1375.4837063088003"),
        ("totalImr", figures.initial_margin, "9643.45070718144"),
        ("totalMmr", venue_mmr(valuation), "2946.5480841048"),
        ("marginRatio", _ratio(valuation), "-25.95365779811705"),
    ):
        yield GoldenCase("OKX position builder", BUILDER, figure, ours, D(expected))


def _builder_unit(unit: UnitMargin, valuation: Valuation) -> Iterator[GoldenCase]:
    name = f"OKX position builder, {unit.coin} unit"
    pnl = sum(leg.unrealised_pnl for leg in valuation.legs if leg.instrument_id == swap(unit.coin))
    numbers = (
        ("delta", unit.delta),
        ("mr1", unit.mr1),
        ("mr4", unit.mr4),
        ("mr6", unit.mr6),
        ("mr7", unit.mr7),
        ("mmr", unit.maintenance_margin),
        ("imr", unit.initial_margin),
        ("upl", pnl * D("0.99954")),
        ("mr6 pnl", unit.mr6_worst.pnl),
    )
    for (figure, ours), expected in zip(numbers, BUILDER_UNITS[unit.coin], strict=True):
        yield GoldenCase(name, BUILDER, figure, ours, D(expected))
    moves = {row.move: row.pnl for row in unit.mr1_scenarios}
    for move, printed in BUILDER_MOVES[unit.coin].items():
        yield GoldenCase(name, BUILDER, f"mr1 pnl at {move}", moves[D(move)], D(printed))
    yield GoldenCase(name, BUILDER, "mr9", unit.mr9, D(0))


def _illustrations() -> Iterator[GoldenCase]:
    """Margins of the sheet; where it prints whole dollars, the product that it names (0.45 % of 97 000)."""
    naked = short_perpetual("BTC", "1", "97000")
    hedged = short_perpetual("BTC", "1", "97000", held="1")
    eth, sol = short_perpetual("ETH", "50", "3000"), short_perpetual("SOL", "1000", "150")
    rows = (
        ("short 1 BTC", naked, "imr", D(9700)),
        ("short 1 BTC", naked, "mmr", D(388)),
        ("short 1 BTC beside 1 BTC", hedged, "adjEq", D(95060)),
        ("short 1 BTC beside 1 BTC", hedged, "mmr", D(388)),
        ("short 50 ETH", eth, "imr", D(15000)),
        ("short 50 ETH", eth, "mmr", D(600)),
    )
    for name, state, figure, expected in rows:
        valuation = okx_multi_currency.value(state)
        ours = {
            "imr": valuation.figures.initial_margin,
            "mmr": venue_mmr(valuation),
            "adjEq": valuation.figures.adjusted_equity,
        }[figure]
        yield GoldenCase(f"OKX multi-currency, {name}", ILLUSTRATION, figure, ours, expected)
    for name, state, figure, expected in (
        ("short 1 BTC", naked, "mr1", D(11640)),
        ("short 1 BTC", naked, "mr6", D(11640)),
        ("short 1 BTC", naked, "mr4", D(194)),
        ("short 1 BTC", naked, "mmr", D(11834)),
        ("short 1 BTC", naked, "imr", D("15384.2")),
        ("short 1 BTC beside 1 BTC", hedged, "mr1", D(0)),
        ("short 1 BTC beside 1 BTC", hedged, "mr6", D(0)),
        ("short 1 BTC beside 1 BTC", hedged, "mmr", D("436.5")),
        ("short 1 BTC beside 1 BTC", hedged, "imr", D("567.45")),
        ("short 50 ETH", eth, "mr1", D(18000)),
        ("short 1 000 SOL", sol, "mr1", D(37500)),
        ("short 1 000 SOL", sol, "mr6", D(37500)),
    ):
        (unit,) = okx_portfolio_margin.risk_units(state)
        ours = {
            "mr1": unit.mr1,
            "mr4": unit.mr4,
            "mr6": unit.mr6,
            "mmr": unit.maintenance_margin,
            "imr": unit.initial_margin,
        }[figure]
        yield GoldenCase(f"OKX portfolio margin, {name}", ILLUSTRATION, figure, ours, expected)
