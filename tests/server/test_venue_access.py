import json
from dataclasses import replace
from pathlib import Path

import pytest

from exchanges.bybit.urls import MAINNET, TESTNET
from portfolio.clocks import PaperClocks, SystemClocks
from portfolio.core.errors import RefusedError, SettingsError
from portfolio.ports import Credentials
from server.home import TEMPLATE, Home, prepare
from server.settings import Settings, load
from server.venue_access import check_key, venue_access

GOOD = Credentials(uid="1", can_trade=True, can_withdraw=False, read_only=False)
SECRETS = {"CARRYDESK_BYBIT_KEY": "key-of-venue", "CARRYDESK_BYBIT_SECRET": "secret-of-venue"}
READY = {
    "rest": "http://127.0.0.1:1",
    "ws_public": "ws://127.0.0.1:1/v5/public",
    "ws_private": "ws://127.0.0.1:1/v5/private",
    "ws_trade": "ws://127.0.0.1:1/v5/trade",
    "api_key": "k" * 18,
    "api_secret": "s" * 36,
    "start_market_ns": 1_000,
    "start_wire_ns": 2_000,
    "speed": "2",
}


def settings(home: Path, mode: str = "paper") -> Settings:
    prepare(Home(home))
    text = TEMPLATE.format(mode=mode)
    if mode == "live":
        text = text.replace("# live_same_user = false", "live_same_user = true")
    (home / "carrydesk.toml").write_text(text)
    return load(home)


def test_paper_testnet_and_live_differ_by_address_key_and_clock_only(tmp_path: Path) -> None:
    Home(tmp_path).run_dir.mkdir(parents=True)
    Home(tmp_path).ready_file("paper").write_text(json.dumps(READY) + "\n")
    paper = venue_access(settings(tmp_path), {})
    assert paper.bybit.urls.rest == "http://127.0.0.1:1"
    assert isinstance(paper.clocks, PaperClocks)
    assert paper.clocks.market_at(2_010) == 1_020
    for mode, urls in (("testnet", TESTNET), ("live", MAINNET)):
        access = venue_access(settings(tmp_path, mode), SECRETS)
        assert access.bybit.urls == urls
        assert type(access.clocks) is SystemClocks
        assert replace(access.bybit, urls=paper.bybit.urls, key=paper.bybit.key) == paper.bybit
        assert "secret-of-venue" not in repr(access.bybit)


def test_without_its_key_a_real_venue_is_not_approached(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not in the environment"):
        venue_access(settings(tmp_path, "testnet"), {})


@pytest.mark.parametrize("said", [None, "", "{}", "[]", '{"rest": 1}', "not json"])
def test_a_paper_venue_that_did_not_say_where_it_is_cannot_be_used(tmp_path: Path, said: str | None) -> None:
    found = settings(tmp_path)
    if said is not None:
        Home(tmp_path).ready_file("paper").write_text(said)
    with pytest.raises(SettingsError, match="carrydesk serve"):
        venue_access(found, {})


def test_a_key_that_can_withdraw_or_cannot_trade_is_refused() -> None:
    check_key(GOOD)
    with pytest.raises(RefusedError, match="can withdraw"):
        check_key(replace(GOOD, can_withdraw=True))
    for bad in (replace(GOOD, can_trade=False), replace(GOOD, read_only=True)):
        with pytest.raises(RefusedError, match="cannot trade"):
            check_key(bad)
