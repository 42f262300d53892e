import io
import logging

from server.logs import RedactingFormatter


def log(formatter: logging.Formatter, message: str, *arguments: object, error: bool = False) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    if error:
        logger.error("it failed", exc_info=ValueError(message))
    else:
        logger.warning(message, *arguments)
    return stream.getvalue()


def test_known_secrets_and_anything_like_a_token_never_reach_a_log() -> None:
    formatter = RedactingFormatter(["verysecretkey", ""])
    assert "verysecretkey" not in log(formatter, "signed with %s", "verysecretkey")
    assert "cda_abcdefghij" not in log(formatter, "token cda_abcdefghij was used")
    assert "verysecretkey" not in log(formatter, "bad key verysecretkey", error=True)


def test_a_line_says_when_in_utc_how_bad_and_who() -> None:
    line = log(RedactingFormatter([]), "hello %s", "there")
    assert line.endswith("Z WARNING test: hello there\n")


def test_short_texts_are_no_secrets() -> None:
    assert "hello" in log(RedactingFormatter(["e"]), "hello")
