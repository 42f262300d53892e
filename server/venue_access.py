"""Where the venue of a mode is, with which key, and on which clocks: the only place that differs by mode."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from exchanges.bybit.exchange import BybitSettings
from exchanges.bybit.sign import ApiKey
from exchanges.bybit.urls import MAINNET, PAPER_END_TOPIC, TESTNET, BybitUrls
from portfolio.clocks import PaperClocks, SystemClocks
from portfolio.core.decimals import parse
from portfolio.core.errors import NumberError, RefusedError, SettingsError
from portfolio.ports import Clocks, Credentials
from server.home import Home
from server.settings import Settings, venue_secrets

_PAPER_NAMES = ("rest", "ws_public", "ws_private", "ws_trade", "api_key", "api_secret")


@dataclass(frozen=True, slots=True)
class VenueAccess:
    """How the desk reaches its account."""

    bybit: BybitSettings
    clocks: Clocks
    #: Texts that no log may show.
    secrets: tuple[str, ...]


def venue_access(settings: Settings, environment: Mapping[str, str]) -> VenueAccess:
    """The access of the mode.

    Raises:
        SettingsError: the key is missing, or the paper venue has not said that it is ready.
    """
    if settings.mode == "paper":
        return _paper(settings)
    key, secret = venue_secrets(environment)
    urls = MAINNET if settings.mode == "live" else TESTNET
    return VenueAccess(_bybit(settings, urls, ApiKey(key, secret)), SystemClocks(), (key, secret))


def _bybit(settings: Settings, urls: BybitUrls, key: ApiKey) -> BybitSettings:
    return BybitSettings(account=settings.account, urls=urls, key=key, coins=settings.coins)


def _paper(settings: Settings) -> VenueAccess:
    path = Home(settings.home).ready_file("paper")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        texts = {name: str(said[name]) for name in _PAPER_NAMES}
        clocks = PaperClocks(
            start_market_ns=int(said["start_market_ns"]),
            start_wire_ns=int(said["start_wire_ns"]),
            speed=parse(str(said["speed"]), "speed"),
        )
    except (OSError, ValueError, KeyError, TypeError, NumberError):
        raise SettingsError(
            f"The paper venue has not said where it is ({path}).",
            next_step="Start everything with `carrydesk serve`.",
        ) from None
    urls = BybitUrls(
        rest=texts["rest"],
        ws_public=texts["ws_public"],
        ws_private=texts["ws_private"],
        ws_trade=texts["ws_trade"],
        end_topic=PAPER_END_TOPIC,
    )
    key = ApiKey(texts["api_key"], texts["api_secret"])
    return VenueAccess(_bybit(settings, urls, key), clocks, (texts["api_key"], texts["api_secret"]))


def check_key(credentials: Credentials) -> None:
    """Refuse a key that can do too much or too little.

    Raises:
        RefusedError: the key can withdraw, or cannot trade.
    """
    if credentials.can_withdraw:
        raise RefusedError(
            "This venue key can withdraw or transfer funds.",
            field="CARRYDESK_BYBIT_KEY",
            next_step="Make a key that can only read and trade, and delete this one.",
        )
    if credentials.read_only or not credentials.can_trade:
        raise RefusedError(
            "This venue key cannot trade.",
            field="CARRYDESK_BYBIT_KEY",
            next_step="Make a key with the permissions to trade spot and contracts.",
        )
