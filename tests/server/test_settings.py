from dataclasses import fields
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from portfolio.core.errors import SettingsError
from portfolio.core.limits import BookLimits, Freshness, GuardLimits, RiskLimits, TradeLimits
from server.home import TEMPLATE
from server.limits_file import HIGHER, LOWER, file_name
from server.settings import home_from, load, log_level_from, venue_secrets


def refusal(home: Path, text: str) -> SettingsError:
    (home / "carrydesk.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(home)
    assert caught.value.next_step or caught.value.allowed
    return caught.value


def test_the_template_of_every_mode_loads_except_live_for_the_same_user(tmp_path: Path) -> None:
    for mode in ("paper", "testnet"):
        (tmp_path / "carrydesk.toml").write_text(TEMPLATE.format(mode=mode))
        settings = load(tmp_path)
        assert settings.mode == mode
        assert settings.limits == RiskLimits()
        assert settings.account == "bybit:main"
        assert settings.paper.start == date(2024, 3, 1)
        assert settings.paper.equity == Decimal(100_000)
    error = refusal(tmp_path, TEMPLATE.format(mode="live"))
    assert error.field == "live_same_user"


def test_live_is_allowed_when_separated_or_when_the_operator_accepts_it(tmp_path: Path) -> None:
    for line in ("live_same_user = true", 'install = "separated"'):
        (tmp_path / "carrydesk.toml").write_text(f'mode = "live"\n{line}\n')
        assert load(tmp_path).mode == "live"


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="carrydesk init"):
        load(tmp_path)


def test_a_file_that_is_a_folder_or_not_text_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "carrydesk.toml").mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "carrydesk.toml").rmdir()
    (tmp_path / "carrydesk.toml").write_bytes(b"\xff\xfe mode")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(tmp_path)


def test_a_torn_file_names_its_line(tmp_path: Path) -> None:
    assert "line 2" in str(refusal(tmp_path, 'mode = "paper"\naccount = "mai\n'))


@pytest.mark.parametrize(
    ("text", "key", "line", "meant"),
    [
        ('mode = "paper"\nvenu = "bybit"\n', "venu", 2, "venue"),
        ('mode = "paper"\n[paper]\n# speed\nsped = 2\n', "paper.sped", 4, "paper.speed"),
        ('mode = "paper"\n[papr]\nspeed = 2\n', "papr", 2, "paper"),
        ('mode = "paper"\n[limits.gard]\n', "limits.gard", 2, "limits.guard"),
        (
            'mode = "paper"\n[limits.guard]\ndrawdwn_max = "0.1"\n',
            "limits.guard.drawdwn_max",
            3,
            "drawdown_max",
        ),
    ],
)
def test_a_misspelt_key_is_named_with_its_line_and_what_was_meant(
    tmp_path: Path, text: str, key: str, line: int, meant: str
) -> None:
    error = refusal(tmp_path, text)
    assert error.field == key
    assert f"line {line}" in error.message
    assert meant in error.next_step


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "mode"),
        ('mode = "demo"', "mode"),
        ('mode = "paper"\naccount = "Main!"', "account"),
        ('mode = "paper"\n[paper]\nspeed = 0', "paper.speed"),
        ('mode = "paper"\n[paper]\nspeed = "nan"', "paper.speed"),
        ('mode = "paper"\n[paper]\nequity = true', "paper.equity"),
        ('mode = "paper"\n[paper]\nfrom = "yesterday"', "paper.from"),
        ('mode = "paper"\n[paper]\nlatency_ms = "5"', "paper.latency_ms"),
        ('mode = "paper"\nlimits = 3', "limits"),
        ('mode = "paper"\n[paper]\nspeed = "1e-999999"', "paper.speed"),
        ('mode = "paper"\n[paper]\nspeed = 1e-999999', "paper.speed"),
        ('mode = "paper"\n[paper]\nspeed = "1_0"', "paper.speed"),
        (f'mode = "paper"\n[paper]\nspeed = 0x{"f" * 9000}', "paper.speed"),
        (f'mode = "paper"\n[paper]\nseed = 0x{"f" * 9000}', "paper.seed"),
        ('mode = "paper"\n[limits.book]\nhealth_min = "1e999999999"', "limits.book.health_min"),
        ('mode = "paper"\n[limits.book]\nhealth_min = 1e999999999', "limits.book.health_min"),
        ('mode = "paper"\n[limits.book]\nusage_max = "1e-99999999"', "limits.book.usage_max"),
        ('mode = "paper"\n[limits.book]\nusage_max = "\uff10"', "limits.book.usage_max"),
        (f'mode = "paper"\nlimits.book.usage_max{".a" * 5000} = 1', "limits.book.usage_max"),
        ('mode = "paper"\n[limits]\nguard = 3', "limits.guard"),
    ],
)
def test_a_bad_value_names_its_key(tmp_path: Path, text: str, key: str) -> None:
    assert refusal(tmp_path, text).field == key


def test_a_number_out_of_range_is_told_what_is_allowed(tmp_path: Path) -> None:
    error = refusal(tmp_path, 'mode = "paper"\n[limits.book]\nhealth_min = "1e999999999"')
    assert "allowed is 0, or 1e-40 to 1e18" in error.message
    assert "line 3" in error.message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x = " + "[" * 3000, "nested too deeply"),
        ("x = " + "{a=" * 3000, "nested too deeply"),
        ("[paper]\nseed = " + "9" * 5000, "thousands of digits"),
        ("[paper]\nspeed = 1e99999999999999999999", "1e99999999999999999999 is no number"),
    ],
)
def test_a_file_that_the_reader_of_toml_gives_up_on_is_named(tmp_path: Path, line: str, reason: str) -> None:
    error = refusal(tmp_path, f'mode = "paper"\n{line}\n')
    assert str(tmp_path / "carrydesk.toml") in error.message
    assert reason in error.message
    assert "nothing was started" in error.next_step


def test_a_number_may_be_written_with_the_underscores_of_toml(tmp_path: Path) -> None:
    (tmp_path / "carrydesk.toml").write_text('mode = "paper"\n[paper]\nspeed = 1_000.5\nequity = 50_000\n')
    assert (load(tmp_path).paper.speed, load(tmp_path).paper.equity) == (Decimal("1000.5"), Decimal(50_000))


def test_limits_may_be_tightened_exactly(tmp_path: Path) -> None:
    (tmp_path / "carrydesk.toml").write_text(
        'mode = "paper"\n[limits.book]\nhealth_min = "0.86"\npairs_max = 5\nusage_max = 0.4\n'
        "[limits.freshness]\nprice_s = 1.5\n"
    )
    limits = load(tmp_path).limits
    assert limits.book == BookLimits(health_min=Decimal("0.86"), pairs_max=5, usage_max=Decimal("0.4"))
    assert limits.freshness == Freshness(price_ns=1_500_000_000)
    assert limits.guard == GuardLimits()
    assert limits.trade == TradeLimits()


@pytest.mark.parametrize(
    ("section", "line", "key"),
    [
        ("book", 'health_min = "0.83"', "limits.book.health_min"),
        ("guard", 'drawdown_max = "0.11"', "limits.guard.drawdown_max"),
        ("freshness", "price_s = 3", "limits.freshness.price_s"),
        ("trade", "slice_notional_max = 30000", "limits.trade.slice_notional_max"),
        ("guard", "drawdown_max = -1", "limits.guard.drawdown_max"),
        ("guard", 'drawdown_max = "lots"', "limits.guard.drawdown_max"),
        ("book", 'pairs_max = "3.5"', "limits.book.pairs_max"),
        ("guard", "drawdown_max = [1]", "limits.guard.drawdown_max"),
    ],
)
def test_a_looser_or_senseless_limit_is_refused(tmp_path: Path, section: str, line: str, key: str) -> None:
    error = refusal(tmp_path, f'mode = "paper"\n[limits.{section}]\n{line}\n')
    assert error.field == key
    assert "line 3" in error.message


def test_limits_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, 'mode = "paper"\n[limits.guard]\nreduce_below_health = "0.78"\n')
    assert error.field == "limits.guard.reduce_below_health"
    assert "reduce_to_health" in error.message


def test_every_limit_has_a_side_that_is_tighter() -> None:
    names = [field.name for cls in (Freshness, GuardLimits, BookLimits, TradeLimits) for field in fields(cls)]
    assert set(names) == HIGHER | LOWER
    assert len(names) == len(HIGHER) + len(LOWER)
    assert file_name("cooldown_ns") == "cooldown_s"


def test_the_environment_gives_home_log_level_and_secrets_only() -> None:
    assert home_from({"HOME": "/h"}) == Path("/h/.carrydesk")
    assert home_from({"CARRYDESK_HOME": "/x"}) == Path("/x")
    with pytest.raises(SettingsError):
        home_from({"CARRYDESK_HOME": "relative"})
    assert log_level_from({"CARRYDESK_LOG": "debug"}) == "DEBUG"
    with pytest.raises(SettingsError):
        log_level_from({"CARRYDESK_LOG": "loud"})
    with pytest.raises(SettingsError, match="CARRYDESK_BYBIT_KEY"):
        venue_secrets({"CARRYDESK_BYBIT_KEY": "k"})
    assert venue_secrets({"CARRYDESK_BYBIT_KEY": "k", "CARRYDESK_BYBIT_SECRET": "s"}) == ("k", "s")
