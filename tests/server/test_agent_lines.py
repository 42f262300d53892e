"""Whose line it was, when the line itself cannot be served."""

import pytest

from server.agent_lines import LINE_BYTES_MAX, is_id, request_id, rpc_error, too_long

DEEP = b"[" * 100_000 + b"]" * 100_000
LONG = b'{"text":"' + b"x" * LINE_BYTES_MAX + b'"}'


@pytest.mark.parametrize("nested", [DEEP, LONG], ids=["deep", "long"])
@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'{"jsonrpc":"2.0","id":5,"method":"x","params":%b}\n', 5),
        (b' { "method" : "x" , "id" : "a-1" , "params" : %b }\n', "a-1"),
        (b'{"method":"x","params":%b,"jsonrpc":"2.0","id":5}\n', 5),
        (b'{"method":"x","params":%b, "id": "z" }\n', "z"),
        (b'{"method":"x","params":{"a":%b,"id":5}}\n', None),
        (b'{"method":"x","params":{"id":5,"a":%b}}\n', None),
        (b'{"method":"x","note":"say \\"id\\":5,","params":%b}\n', None),
        (b'{"jsonrpc":"2.0","id":007,"method":"x","params":%b}\n', None),
        (b'{"jsonrpc":"2.0","id":"\xff","method":"x","params":%b}\n', None),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"x","params":%b}\n', None),
    ],
)
def test_the_id_of_a_line_too_deep_or_too_long_is_read_and_never_guessed(
    line: bytes, found: int | str | None, nested: bytes
) -> None:
    assert request_id(line % nested) == found


@pytest.mark.parametrize("nested", [b'{"a":1}', b"3", DEEP, LONG], ids=["object", "number", "deep", "long"])
@pytest.mark.parametrize(
    "line",
    [b'{"jsonrpc":"2.0","id":3,"result":%b}', b'{"error":%b,"jsonrpc":"2.0","id":3}'],
)
def test_the_id_of_an_answer_is_not_one_of_the_clients_requests(line: bytes, nested: bytes) -> None:
    assert request_id(line % nested) is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'{"jsonrpc":"2.0","id":5,"method":\n', 5),
        (b'{"jsonrpc":"2.0","method":,"id":5}\n', None),
        (b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"a":1%b}}\n' % (b"0" * 5000), 5),
        (b'{"params":{"a":"\\ud800"},"id":"b","method":"x"}\n', "b"),
        (b'{"id":"\\ud800","method":"x"}\n', None),
        (b'{"id":1%b,"method":"x"}\n' % (b"0" * 5000), None),
        (b"[]\n", None),
        (b"\xff\x00 no json\n", None),
    ],
)
def test_a_line_that_is_no_message_still_names_its_request_where_that_is_sure(
    line: bytes, found: int | str | None
) -> None:
    assert request_id(line) == found


@pytest.mark.parametrize("value", [0, -1, 10**50, "", "a"])
def test_integers_and_writable_texts_are_ids(value: object) -> None:
    assert is_id(value)


@pytest.mark.parametrize("value", [None, True, 1.0, "\ud800", [1], {}], ids=repr)
def test_nothing_else_is_an_id(value: object) -> None:
    assert not is_id(value)


def test_a_refused_line_hears_the_limit_and_that_nothing_was_done() -> None:
    error = too_long()
    assert error["code"] == -32600
    assert str(LINE_BYTES_MAX) in error["message"]
    assert error == rpc_error(
        -32600,
        "bad_input",
        "This message is longer than 4194304 bytes, the most of one line.",
        "Send less; nothing was done.",
    )
