"""`PYTHON -m benchmarks.nautilus_flat TIMES < positions.json`: NautilusTrader's margin model, by itself.

Runs in an interpreter that has `nautilus_trader`; the project's own needs it not. Positions are [quantity,
price] as texts; the answer is JSON: milliseconds of flat-rate IM and MM of all of them, each time. Its model
is compiled and knows one rate per instrument: no tiers, no fee to close, no haircuts, no borrowing.
"""

import importlib
import json
import sys
import time
from decimal import Decimal
from typing import Any


def main() -> int:
    """Measure what stdin names."""
    name = "nautilus_trader"
    models = importlib.import_module(f"{name}.accounting.margin_models")
    enums = importlib.import_module(f"{name}.model.enums")
    objects = importlib.import_module(f"{name}.model.objects")
    rows = []
    for quantity, price in json.load(sys.stdin):
        size, mark = objects.Quantity.from_str(quantity), objects.Price.from_str(price)
        rows.append((_perpetual(name, mark, size), size, mark))
    model, side, leverage = models.LeveragedMarginModel(), enums.PositionSide.LONG, Decimal(10)
    samples = []
    for _ in range(int(sys.argv[1]) + 2):
        start = time.thread_time_ns()
        for instrument, size, mark in rows:
            model.calculate_margin_init(instrument, size, mark, leverage)
            model.calculate_margin_maint(instrument, side, size, mark, leverage)
        samples.append((time.thread_time_ns() - start) / 1e6)
    version = importlib.import_module(name).__version__
    print(json.dumps({"version": version, "ms": samples[2:]}))
    return 0


def _perpetual(name: str, price: Any, size: Any) -> Any:
    instruments = importlib.import_module(f"{name}.model.instruments")
    identifiers = importlib.import_module(f"{name}.model.identifiers")
    objects = importlib.import_module(f"{name}.model.objects")
    currencies = importlib.import_module(f"{name}.model.currencies")
    steps = [
        Decimal(1).scaleb(-precision) if precision else Decimal(1)
        for precision in (price.precision, size.precision)
    ]
    return instruments.CryptoPerpetual(
        instrument_id=identifiers.InstrumentId.from_str("BTCUSDT.BENCH"),
        raw_symbol=identifiers.Symbol("BTCUSDT"),
        base_currency=currencies.BTC,
        quote_currency=currencies.USDT,
        settlement_currency=currencies.USDT,
        is_inverse=False,
        price_precision=price.precision,
        size_precision=size.precision,
        price_increment=objects.Price.from_str(format(steps[0], "f")),
        size_increment=objects.Quantity.from_str(format(steps[1], "f")),
        ts_event=0,
        ts_init=0,
        margin_init=Decimal("0.1"),
        margin_maint=Decimal("0.005"),
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.00055"),
    )


if __name__ == "__main__":
    sys.exit(main())
