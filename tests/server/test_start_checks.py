"""What a start says about the home's token and the coins of the settings."""

import logging
from pathlib import Path

import pytest

from portfolio.core.names import Coin
from portfolio.ports import TokenRow
from server.home import Home, token_hash, write_private
from server.settings import BUNDLED_COINS
from server.start_checks import first_token, home_token, missing_coins, unlisted

BTC, SOL, FOO = Coin("BTC"), Coin("SOL"), Coin("FOO")


def issued(name: str, token_hash: str, *, revoked: bool = False) -> TokenRow:
    return TokenRow(name, token_hash, ("read",), revoked)


def test_the_first_token_of_a_home_is_the_agent_s() -> None:
    made = first_token("h1", [])
    assert made is not None
    assert (made.name, made.token_hash) == ("agent", "h1")
    assert "propose" in made.scopes


def test_a_token_that_is_known_is_not_issued_again() -> None:
    assert first_token("h1", [issued("agent", "h1")]) is None


def test_a_new_token_file_after_a_loss_opens_the_desk_under_a_free_name() -> None:
    tokens = [issued("agent", "h1"), issued("agent-2", "h2", revoked=True)]
    made = first_token("h3", tokens)
    assert made is not None
    assert (made.name, made.token_hash) == ("agent-3", "h3")


def test_a_start_does_not_undo_that_the_operator_revoked_the_token() -> None:
    assert first_token("h1", [issued("agent", "h1", revoked=True)]) is None


@pytest.mark.parametrize("fault", ["readable by others", "not a text"])
def test_a_token_file_that_cannot_be_taken_keeps_no_desk_from_starting(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home(tmp_path)
    write_private(home.token_file, "cda_x")
    made = home_token(home, [])
    assert made is not None
    assert made.token_hash == token_hash("cda_x")
    if fault == "not a text":
        home.token_file.write_bytes(b"\xff")
    else:
        home.token_file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert home_token(home, []) is None
    assert "agent.token adds no token" in caplog.text
    assert "cda_x" not in caplog.text


def test_a_home_without_a_token_file_adds_no_token(tmp_path: Path) -> None:
    assert home_token(Home(tmp_path), []) is None


def test_a_coin_that_the_venue_does_not_list_is_refused_by_name() -> None:
    assert missing_coins({BTC, FOO}, {BTC}, ()) == [FOO]
    error = unlisted([FOO], {SOL, BTC})
    assert (error.field, error.allowed) == ("coins", "BTC, SOL")
    assert error.message.startswith("coins: FOO is not listed")


def test_coins_that_are_all_listed_are_no_error() -> None:
    assert missing_coins({BTC}, {BTC}, ()) == []


def test_what_the_venue_lacks_of_the_default_list_is_left_out() -> None:
    assert missing_coins({Coin(name) for name in BUNDLED_COINS}, {BTC}, ()) == []


def test_a_coin_of_the_book_that_was_delisted_does_not_leave_the_book_without_a_guard() -> None:
    assert missing_coins({BTC, SOL, FOO}, {BTC}, {SOL}) == [FOO]
