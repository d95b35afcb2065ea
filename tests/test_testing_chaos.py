"""The fault table: every row recovers or ends with the one error that it names, as SSE and as JSON."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qianda import Agent
from qianda.models import attempts as attempts_module
from qianda.testing import ChaosServer
from qianda.testing.chaos import ROWS, Answer, Row
from qianda.testing.chaos.server import Shape
from qianda.testing.chaos.table import table, try_row
from qianda.testing.script import Call, Turn

BY_NAME = {row.name: row for row in ROWS}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(attempts_module, "wait_after", lambda attempt, error: 0.0)


@pytest.mark.parametrize(
    ("row", "shape"),
    [pytest.param(row, shape, id=f"{row.name}-{shape}") for row in ROWS for shape in row.shapes],
)
async def test_a_row_ends_as_it_says(row: Row, shape: Shape) -> None:
    outcome = await try_row(row, shape)
    assert outcome.found == row.expected, outcome.detail


def test_rows_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(ROWS) >= 30


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (replace(BY_NAME["503 for ever"], expected="recovers"), "ServerOverloaded"),
        (Row("wrong text", "lies", [Answer(Turn("Rain."))]), "answers 'Rain.'"),
        (
            Row("wrong call", "asks for Paris", [Answer(Turn(calls=[Call("weather", {"city": "Paris"})]))], at="call"),
            "calls",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Row) else "",
)
async def test_what_is_wrong_is_called_wrong(row: Row, found: str) -> None:
    outcome = await try_row(row, "sse")
    assert not outcome.ok
    assert outcome.found.startswith(found)
    assert "FAIL, expected: recovers" in table([outcome])


async def test_an_agent_without_the_tool_is_only_told() -> None:
    async with ChaosServer("break in the text") as server:
        result = await Agent(server=server.url).run("How is the weather?")
    assert result.output == server.row.said
    assert len(server.requests) == 3


def test_an_unknown_row_is_named() -> None:
    with pytest.raises(ValueError, match="no row 'brake'; there are: no answer"):
        ChaosServer("brake")
