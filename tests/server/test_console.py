"""How a command's errors come out: one sentence and one JSON object, wrapped in task groups or not."""

import json

import pytest

from portfolio.core.errors import InputError, RefusedError
from server.console import Console, run


def failing(error: BaseException) -> dict[str, object]:
    raise error


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_error_in_groups_of_one_is_said_like_a_bare_one(
    depth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    error: Exception = InputError("speed: 0 must be greater than zero.", field="speed", next_step="Raise it.")
    for _ in range(depth):
        error = ExceptionGroup("tasks", [error])

    def work(_: Console) -> dict[str, object]:
        return failing(error)

    assert run(True, work) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["field"] == "speed"
    assert said.err == "speed: 0 must be greater than zero.\nRaise it.\n"


@pytest.mark.parametrize(
    "group",
    [
        ExceptionGroup("tasks", [ZeroDivisionError()]),
        ExceptionGroup("tasks", [RefusedError("one"), ZeroDivisionError()]),
        ExceptionGroup("tasks", [RefusedError("one"), InputError("two")]),
    ],
    ids=["not ours", "ours beside a fault", "two of ours"],
)
def test_a_group_that_hides_anything_else_keeps_its_traceback(group: ExceptionGroup[Exception]) -> None:
    with pytest.raises(ExceptionGroup):
        run(True, lambda _: failing(group))
