"""The operator's file `carrydesk.toml`, read once into a frozen value.

Mode, venue, limits and paper options come from the file only. The environment gives the home
(`CARRYDESK_HOME`), the log level (`CARRYDESK_LOG`) and the venue's secrets, nothing else. Whatever the file
says that is not known here is an error that names the key, its line and the closest known name.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from portfolio.core.decimals import INTEGER_MAX, parse
from portfolio.core.errors import NumberError, SettingsError
from portfolio.core.limits import RiskLimits
from portfolio.core.names import AccountId, Coin, Venue
from server.limits_file import known_names, limits_from, section_names

FILE_NAME = "carrydesk.toml"
#: Larger files are not settings.
FILE_BYTES_MAX = 1 << 20
#: The coins of the bundled history.
BUNDLED_COINS = ("AVAX", "BNB", "BTC", "DOGE", "ETH", "SOL", "XRP")


def _decimal(value: object) -> object:
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            return parse(value)
        except NumberError as error:
            raise ValueError(error.message.removeprefix("number: ")) from None
    raise ValueError('write it as "0.85" or 3')


def _day(value: object) -> object:
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        return datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)
    raise ValueError("write a date such as 2025-03-01 or a moment such as 2025-03-01T09:00:00")


Number = Annotated[Decimal, BeforeValidator(_decimal)]
Day = Annotated[date | datetime, BeforeValidator(_day)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PaperSettings(_Section):
    """How the embedded venue replays history."""

    #: First market day, or moment, UTC.
    start: Day = Field(default=date(2024, 3, 1), alias="from")
    #: Market seconds per wire second.
    speed: Number = Field(default=Decimal(1), gt=0, le=100_000)
    #: USDT in the account at the start.
    equity: Number = Field(default=Decimal(100_000), gt=0, le=1_000_000_000)
    #: Added to every round trip: half before the venue sees a request, half after.
    latency_ms: int = Field(default=0, ge=0, le=5_000)
    seed: int = Field(default=1, ge=0, le=INTEGER_MAX)
    #: A folder with panel.parquet and hourly.parquet; empty: the bundled one.
    data_dir: str = ""
    #: 0: any free port.
    port: int = Field(default=0, ge=0, le=65_535)


class FileSettings(_Section):
    """The file as written."""

    mode: Literal["paper", "testnet", "live"]
    venue: Literal["bybit"] = "bybit"
    account: str = Field(default="main", pattern=r"^[a-z0-9-]{1,32}$")
    #: separated: the desk, its home and keys belong to an OS user of their own.
    install: Literal["same-user", "separated"] = "same-user"
    #: Group whose members may open agent.sock in a separated install.
    agent_group: str = ""
    live_same_user: bool = False
    #: What is traded.
    coins: tuple[Annotated[str, Field(pattern=r"^[A-Z0-9]{1,16}$")], ...] = Field(
        default=BUNDLED_COINS, min_length=1, max_length=200, strict=False
    )
    move_mode: Literal["normal", "urgent"] = "normal"
    paper: PaperSettings = PaperSettings()
    limits: dict[str, dict[str, object]] = {}


class Settings(BaseModel):
    """Everything the processes are told. `home` and secrets come from the environment."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    home: Path
    mode: str
    venue: Venue
    account: AccountId
    install: str
    agent_group: str
    coins: frozenset[Coin]
    move_mode: str
    paper: PaperSettings
    limits: RiskLimits


def home_from(environment: Mapping[str, str]) -> Path:
    """`CARRYDESK_HOME`, or ~/.carrydesk.

    Raises:
        SettingsError: it is not an absolute path.
    """
    given = environment.get("CARRYDESK_HOME")
    if not given:
        return Path(environment.get("HOME") or os.path.expanduser("~")) / ".carrydesk"
    home = Path(given)
    if not home.is_absolute():
        raise SettingsError(
            f"CARRYDESK_HOME={given} is not an absolute path.", next_step="Give the full path of the home."
        )
    return home


def log_level_from(environment: Mapping[str, str]) -> str:
    """`CARRYDESK_LOG`, by default INFO.

    Raises:
        SettingsError: it is not a level.
    """
    level = environment.get("CARRYDESK_LOG", "INFO").upper()
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    if level not in levels:
        raise SettingsError(f"CARRYDESK_LOG={level} is not a level.", allowed=", ".join(levels))
    return level


def load(home: Path) -> Settings:
    """Read and check `home/carrydesk.toml`.

    Raises:
        SettingsError: missing, unreadable, not TOML, an unknown or bad key, or a limit that is too loose.
    """
    path = home / FILE_NAME
    text = _read(path)
    data = _toml(path, text)
    _check_names(path, text, data)
    try:
        parsed = FileSettings.model_validate(data)
        limits = limits_from(parsed.limits)
    except ValidationError as error:
        raise _bad_value(path, text, error) from None
    except SettingsError as error:
        raise SettingsError(
            f"{path}{_line(text, error.field or '')}: {error.message}",
            field=error.field,
            allowed=error.allowed,
            next_step=error.next_step,
        ) from None
    _check_live(path, parsed)
    return Settings(
        home=home,
        mode=parsed.mode,
        venue=Venue(parsed.venue),
        account=AccountId(f"{parsed.venue}:{parsed.account}"),
        install=parsed.install,
        agent_group=parsed.agent_group,
        coins=frozenset(Coin(coin) for coin in parsed.coins),
        move_mode=parsed.move_mode,
        paper=parsed.paper,
        limits=limits,
    )


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise SettingsError(f"{path} is larger than 1 MiB.", next_step="Is it the right file?")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            f"There is no settings file {path}.",
            next_step="Run `carrydesk init`, or set CARRYDESK_HOME to the right home.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(
            f"{path} cannot be read: {reason}.", next_step="Make it a UTF-8 file that this user can read."
        ) from None


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=_toml_number)
    except tomllib.TOMLDecodeError as error:
        reason, step = str(error), "Correct that line"
    except RecursionError:
        reason, step = "its brackets are nested too deeply", "Settings need no more than a list in a table"
    except ValueError:
        reason, step = "it has a number of thousands of digits", "Correct that number"
    raise SettingsError(f"{path} is not valid TOML: {reason}.", next_step=f"{step}; nothing was started.")


def _toml_number(text: str) -> Decimal:
    """A number with a fraction or an exponent; TOML allows underscores between digits.

    Raises:
        tomllib.TOMLDecodeError: an exponent that no number can have.
    """
    try:
        return Decimal(text.replace("_", ""))
    except InvalidOperation:
        raise tomllib.TOMLDecodeError(f"{text[:40]} is no number that can be read") from None


def _check_names(path: Path, text: str, data: Mapping[str, object]) -> None:
    """Every key must be known, in every table."""
    _check_table(path, text, "", data, _aliases(FileSettings))
    paper, limits = data.get("paper"), data.get("limits")
    if isinstance(paper, dict):
        _check_table(path, text, "paper.", paper, _aliases(PaperSettings))
    if isinstance(limits, dict):
        _check_table(path, text, "limits.", limits, section_names())
        for name, table in limits.items():
            if isinstance(table, dict):
                _check_table(path, text, f"limits.{name}.", table, known_names(name))


def _aliases(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _check_table(
    path: Path, text: str, prefix: str, table: Mapping[str, object], known: tuple[str, ...]
) -> None:
    for key in table:
        if key in known:
            continue
        close = get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"Did you mean {prefix}{close[0]}?" if close else "Remove it."
        raise SettingsError(
            f"{path}{_line(text, prefix + key)}: unknown key {prefix}{key}.",
            field=prefix + key,
            allowed=", ".join(known),
            next_step=f"{hint} Nothing was started.",
        )


def _line(text: str, key: str) -> str:
    """`, line 7` where `key` (dotted) is set, or nothing when it cannot be found."""
    table, name = "", key.rpartition(".")[2]
    wanted = key.rpartition(".")[0]
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([^\]\s]+)\s*\]", line)
        if header:
            table = header.group(1)
            if table == key:
                return f", line {number}"
        elif table == wanted and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
            return f", line {number}"
    return ""


def _bad_value(path: Path, text: str, error: ValidationError) -> SettingsError:
    """The first thing that is wrong, in one sentence; the value is not repeated."""
    first: Any = error.errors(include_input=False, include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    reason = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    return SettingsError(
        f"{path}{_line(text, key)}: {key}: {reason}.",
        field=key,
        next_step="Correct it; `carrydesk init` writes a commented example. Nothing was started.",
    )


def _check_live(path: Path, parsed: FileSettings) -> None:
    if parsed.mode == "live" and parsed.install == "same-user" and not parsed.live_same_user:
        raise SettingsError(
            f"{path}: live mode needs an install of its own OS user.",
            field="live_same_user",
            next_step='Install it separated (install = "separated"), or accept that other programs could '
            "take the keys (live_same_user = true).",
        )


def venue_secrets(environment: Mapping[str, str]) -> tuple[str, str]:
    """Key and secret of the venue from the environment. They go nowhere but into the adapter.

    Raises:
        SettingsError: one of them is missing.
    """
    key, secret = environment.get("CARRYDESK_BYBIT_KEY"), environment.get("CARRYDESK_BYBIT_SECRET")
    if not key or not secret:
        raise SettingsError(
            "The venue's key is not in the environment.",
            field="CARRYDESK_BYBIT_KEY",
            next_step="Set CARRYDESK_BYBIT_KEY and CARRYDESK_BYBIT_SECRET, or use mode paper.",
        )
    return key, secret
