"""Golden cases of the Bybit unified account: printed examples, tables and captured positions."""

from collections.abc import Iterator
from decimal import Decimal

from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.bybit_uta import liquidation_estimate, rate_text, value
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.valuation import LegMargin, Valuation
from portfolio.core.risk import FeeRates
from tests.portfolio.core.margin.accounts import (
    account,
    balance,
    both,
    instrument,
    perp,
    position,
    tables,
    tier,
)
from tests.portfolio.core.margin.golden import GoldenCase, graduated

D = Decimal
EXAMPLE = "reference sheet 5.12, formulas of the help centre since 2025-09-02"
CAPTURED = "reference sheet 5.5, captured position"
#: (arguments of `captured`, IM, MM): at leverage ten to the last digit, above it within a hair of the fee.
EXACT = (
    (("BTC", "USDC", "0.001", "66473.5", "66472.02", "10", "0.001", "0.004"), "6.70702815", "0.32571423"),
    (("SOL", "USDT", "0.2", "233.02", "233.029", "10", "0.000649", "0.005"), "4.68780139", "0.26025039"),
)
HIGH_LEVERAGE = (
    (("ETH", "USDT", "-0.01", "3642.075", "3642.33", "30", "0.00055", "0.005"), "1.23480936", "0.20281586"),
    (
        ("ADA", "USDT", "18720", "0.41160027", "0.41", "75", "0.00055", "0.0075"),
        "106.51735757",
        "61.74535757",
    ),
)
#: The older full BTC table: limits in millions, MMR in percent, printed deductions.
MILLIONS = "2.0 2.6 3.2 3.8 4.4 5.0 5.6 8.5 10 14 20 28 38 50 55 60 65 70 75 80"
PERCENTS = ".5 .56 .63 .67 .71 .77 .91 1 1.3 1.5 1.6 2 2.5 2.9 3 3.5 3.6 3.8 4 4.5"
DEDUCTIONS = (
    "0 1200 3020 4300 5820 8460 15460 20500 46000 66000 80000 160000 300000 452000 502000 777000 837000 "
    "967000 1107000 1482000"
)


def cases() -> list[GoldenCase]:
    return [*_example(), *_captured(), *_deductions(), _liquidation()]


def printed_example() -> MarginState:
    """Emulator vector of the reference sheet (5.12): 20 000 USDT, long 0.5 BTC on loan, short 0.5 BTCUSDT."""
    instruments = both("BTC")
    return account(
        balances=(balance("USDT", "0", "10000"), balance("BTC", "0.5")),
        positions=(position(perp("BTC"), "-0.5", "60000"),),
        usd={"BTC": "61000", "USDT": "1"},
        instruments=instruments,
        risk=tables(instruments, collateral={"BTC": "0.98"}),
    )


def captured(
    base: str, quote: str, quantity: str, entry: str, mark: str, leverage: str, fee: str, mmr: str
) -> LegMargin:
    """The margin of one captured position."""
    row = instrument(InstrumentKind.PERPETUAL, base, quote)
    instruments = {row.instrument_id: row}
    state = account(
        positions=(position(row.instrument_id, quantity, entry, leverage),),
        usd={quote: "1"},
        marks={row.instrument_id: mark},
        instruments=instruments,
        risk=tables(
            instruments,
            positions={row.instrument_id: (tier("1000000", mmr, "100"),)},
            fees=FeeRates(D(0), D(fee)),
        ),
    )
    return value(state).legs[0]


def captured_account() -> Valuation:
    """The captured account of one SOLUSDT position."""
    row = instrument(InstrumentKind.PERPETUAL, "SOL")
    instruments = {row.instrument_id: row}
    unrealised = D("0.2") * (D("233.029") - D("233.02"))
    state = account(
        balances=(balance("USDT", D("11.48691986") - unrealised),),
        positions=(position(row.instrument_id, "0.2", "233.02"),),
        usd={"USDT": "1"},
        marks={row.instrument_id: "233.029"},
        instruments=instruments,
        risk=tables(
            instruments,
            positions={row.instrument_id: (tier("50000", "0.005", "100"),)},
            fees=FeeRates(D(0), D("0.000649")),
        ),
    )
    return value(state)


def _example() -> Iterator[GoldenCase]:
    valuation = value(printed_example())
    figures = valuation.figures
    for figure, ours, expected in (
        ("totalEquity", figures.total_equity, "20000"),
        ("totalMarginBalance", valuation.margin_balance, "19390"),
        ("positionIM", valuation.legs[0].initial_margin, "3068.15"),
        ("positionMM", valuation.legs[0].maintenance_margin, "118.80"),
        ("totalInitialMargin", figures.initial_margin, "4118.15"),
        ("totalMaintenanceMargin", figures.maintenance_margin, "538.80"),
        ("totalAvailableBalance", valuation.available, "15271.85"),
        ("accountIMRate", D(rate_text(figures.initial_margin, figures.adjusted_equity)), "0.2123"),
        ("accountMMRate", D(rate_text(figures.maintenance_margin, figures.adjusted_equity)), "0.0277"),
    ):
        yield GoldenCase("Bybit carry on a loan", EXAMPLE, figure, ours, D(expected))


def _captured() -> Iterator[GoldenCase]:
    for arguments, initial, maintenance in EXACT + HIGH_LEVERAGE:
        leg = captured(*arguments)
        name = f"Bybit {arguments[2]} {arguments[0]}{arguments[1]} at {arguments[5]} x"
        yield GoldenCase(name, CAPTURED, "positionIM", leg.initial_margin, D(initial))
        yield GoldenCase(name, CAPTURED, "positionMM", leg.maintenance_margin, D(maintenance))


def _deductions() -> Iterator[GoldenCase]:
    rows = [
        (str(D(limit) * 1_000_000), str(D(rate) / 100), deduction)
        for limit, rate, deduction in zip(MILLIONS.split(), PERCENTS.split(), DEDUCTIONS.split(), strict=True)
    ]
    ladder = tuple((limit, rate) for limit, rate, _ in rows)
    instruments = both("BTC")
    risk = tables(
        instruments,
        positions={perp("BTC"): tuple(tier(limit, rate, "10", off) for limit, rate, off in rows)},
        fees=FeeRates(D(0), D(0)),
    )
    ours = expected = D(0)
    for limit, _ in ladder:
        state = account(
            balances=(balance("USDT", "1e9"),),
            positions=(position(perp("BTC"), f"-{limit}", "1"),),
            usd={"BTC": "1", "USDT": "1"},
            instruments=instruments,
            risk=risk,
        )
        ours += value(state).figures.maintenance_margin
        expected += graduated(ladder, limit)
    name = f"Bybit BTCUSDT at each of {len(rows)} limits by printed deduction"
    yield GoldenCase(
        name, "reference sheet 5.5, help centre, older table", "sum of positionMM", ours, expected
    )


def _liquidation() -> GoldenCase:
    # the capture prints MM as 0.26041992, a hair above the formula's 0.2602504: 0.0008 in price
    valuation = captured_account()
    ours = liquidation_estimate(valuation, valuation.legs[0])
    return GoldenCase("Bybit account of one SOLUSDT position", CAPTURED, "liqPrice", ours, D("176.89650"))
