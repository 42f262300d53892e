from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.paper.config import HOUR_NS, MINUTE_NS
from exchanges.paper.replay import ParquetReplay, parse_date, predicted_rate, settlement_after
from exchanges.paper.synthetic import SyntheticCoin, SyntheticReplay
from portfolio.core.errors import InputError, MissingDataError
from portfolio.core.names import Coin, Venue

BYBIT = Venue("bybit")
BTC = Coin("BTC")
CRASH = parse_date("2024-08-05")


def test_the_bundle_has_seven_coins_over_the_same_hours() -> None:
    replay = ParquetReplay(BYBIT, seed=1)
    assert set(replay.coins) == {"BTC", "ETH", "SOL", "XRP", "DOGE", "BNB", "AVAX"}
    assert (replay.start_ns, replay.end_ns) == (parse_date("2023-06-01"), parse_date("2025-07-01"))


def test_the_known_low_of_august_2024_is_reached_and_never_undercut() -> None:
    replay = ParquetReplay(BYBIT, seed=1)
    prices = [replay.last(BTC, CRASH + minute * MINUTE_NS) for minute in range(24 * 60)]
    assert Decimal(48_000) < min(prices) < Decimal(50_000)


def test_hourly_closes_of_spot_and_mark_are_the_archives_own() -> None:
    replay = ParquetReplay(BYBIT, seed=1)
    frame = pl.read_parquet("exchanges/data/hourly.parquet").filter(
        (pl.col("venue").cast(pl.String) == "bybit")
        & (pl.col("symbol") == "SOLUSDT")
        & (pl.col("time") == CRASH // 1_000_000)
    )
    close = {row["kind"]: Decimal(f"{row['close']:.10g}") for row in frame.to_dicts()}
    end = CRASH + HOUR_NS - 1
    step = Decimal("0.01")
    assert replay.last(Coin("SOL"), end).quantize(step) == close["perp"].quantize(step)
    assert replay.spot(Coin("SOL"), end).quantize(step) == close["spot"].quantize(step)
    assert replay.mark(Coin("SOL"), end).quantize(step) == close["mark"].quantize(step)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 24 * 365), st.integers(0, 3599))
def test_the_path_stays_inside_each_hours_candle(hour: int, second: int) -> None:
    replay = ParquetReplay(BYBIT, seed=3)
    opens = replay.start_ns + hour * HOUR_NS
    series = replay._series[BTC]
    high, low = (Decimal(f"{series.candles[column][hour]:.10g}") for column in (1, 2))
    assert low <= replay.last(BTC, opens + second * 10**9) <= high


def test_another_seed_takes_another_way_through_the_hour() -> None:
    middle = CRASH + HOUR_NS // 3
    assert ParquetReplay(BYBIT, seed=1).last(BTC, middle) != ParquetReplay(BYBIT, seed=2).last(BTC, middle)
    assert ParquetReplay(BYBIT, seed=1).last(BTC, middle) == ParquetReplay(BYBIT, seed=1).last(BTC, middle)


def test_the_predicted_rate_moves_from_the_settled_rate_to_the_coming_one() -> None:
    replay = ParquetReplay(BYBIT, seed=1)
    coming = settlement_after(replay, BTC, CRASH)
    assert coming is not None
    assert coming.interval_minutes == 480
    settled = next(point for point in replay.funding(BTC) if point.market_ns == CRASH)
    assert predicted_rate(replay, BTC, CRASH) == settled.rate
    near = predicted_rate(replay, BTC, coming.market_ns - 1)
    assert near is not None
    assert abs(near - coming.rate) <= Decimal("0.00000001")


def test_prices_outside_the_data_are_missing_not_invented() -> None:
    replay = ParquetReplay(BYBIT, seed=1)
    with pytest.raises(MissingDataError):
        replay.last(BTC, replay.end_ns + 1)
    with pytest.raises(MissingDataError):
        replay.last(Coin("PEPE"), CRASH)
    assert settlement_after(replay, BTC, replay.end_ns) is None
    assert predicted_rate(replay, BTC, replay.end_ns) is None


def test_a_folder_without_the_files_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="does not exist"):
        ParquetReplay(BYBIT, seed=1, folder=tmp_path)


def test_a_date_that_is_none_is_refused() -> None:
    with pytest.raises(InputError):
        parse_date("yesterday")


def test_a_made_market_starts_at_its_price_and_repeats() -> None:
    coins = {BTC: SyntheticCoin(Decimal(60000), funding_rate=Decimal("0.0003"), interval_minutes=60)}

    def build() -> SyntheticReplay:
        return SyntheticReplay(seed=5, start_ns=CRASH, hours=24, coins=coins)

    one, two = build(), build()
    assert one.last(BTC, CRASH) == 60000
    times = [CRASH + minute * MINUTE_NS for minute in range(0, 24 * 60, 7)]
    assert [one.last(BTC, at) for at in times] == [two.last(BTC, at) for at in reversed(times)][::-1]
    coming = settlement_after(one, BTC, CRASH)
    assert coming is not None
    assert coming.market_ns == CRASH + HOUR_NS
    with pytest.raises(MissingDataError):
        one.last(BTC, CRASH + 25 * HOUR_NS)
