"""Results that are too long: head and tail at once, the rest page by page, and nothing in the prompt before."""

from __future__ import annotations

import re
from typing import Any

import pytest

from qianda import Agent, tool
from qianda.testing import Call, ScriptedServer, Turn

TEXT = "".join(f"line {number}\n" for number in range(4_000))


@tool(max_output=1_000)
def long() -> str:
    """A long text."""
    return TEXT


def tools_of(request: Any) -> list[str]:
    return [item["function"]["name"] for item in request["tools"]]


def shown(request: Any) -> str:
    return request["messages"][-1]["content"]


async def test_the_rest_is_read_by_page_and_the_tool_is_there_only_then() -> None:
    ids: list[tuple[str, str]] = []

    def answer(request: Any) -> Turn:
        page = len(server.requests) - 1
        ids.extend(re.findall(r'read_more\(id="(\w+)", page=1\) reads them, (\d+) pages', shown(request)))
        text_id, count = ids[0]
        return Turn(calls=[Call("read_more", {"id": text_id, "page": page})]) if page <= int(count) else Turn("Read.")

    async with ScriptedServer(Turn(calls=[Call("long")]), default=answer) as server:
        await Agent(server=server.url, tools=[long]).run("read it")
    assert tools_of(server.requests[0]) == ["long"]
    assert tools_of(server.requests[1]) == ["long", "read_more"]
    head, tail = re.split(r"\n\[… [^\n]+ …\]\n", shown(server.requests[1]))
    middle = "".join(re.sub(r"\n\[page \d+ of \d+\]$", "", shown(request)) for request in server.requests[2:])
    assert head + middle + tail == TEXT


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"id": "nope"}, 'nothing is kept under "nope"; make the call again'),
        ({"id": "ID", "page": 9}, "there is no page 9: this text has 5 pages"),
        ({"id": "ID", "page": 0}, "there is no page 0"),
    ],
)
async def test_what_is_not_there_is_said(arguments: dict[str, Any], answer: str) -> None:
    def more(request: Any) -> Turn:
        if len(server.requests) == 3:
            return Turn("Oh.")
        (text_id,) = re.findall(r'read_more\(id="(\w+)"', shown(request))
        return Turn(calls=[Call("read_more", {**arguments, "id": arguments["id"].replace("ID", text_id)})])

    async with ScriptedServer(Turn(calls=[Call("long")]), default=more) as server:
        await Agent(server=server.url, tools=[long]).run("read it")
    assert answer in shown(server.requests[2])


async def test_a_later_run_of_the_session_reads_on(tmp_path: Any) -> None:
    def answer(request: Any) -> Turn:
        if request["messages"][-1]["role"] == "tool":
            return Turn("Ok.")
        (text_id,) = re.findall(r"read_more\(id=\W+(\w+)", str(request["messages"]))
        return Turn(calls=[Call("read_more", {"id": text_id})])

    async with ScriptedServer(Turn(calls=[Call("long")]), Turn("Long."), default=answer) as server:
        agent = Agent(server=server.url, tools=[long], journal=tmp_path / "journal.db")
        await agent.session("s").run("read it")
        await agent.session("s").run("go on")
    assert "[page 1 of 5]" in shown(server.requests[-1])


async def test_a_short_result_brings_no_tool() -> None:
    @tool
    def short() -> str:
        return "ok"

    async with ScriptedServer(Turn(calls=[Call("short")]), Turn("Ok.")) as server:
        await Agent(server=server.url, tools=[short]).run("go")
    assert tools_of(server.requests[1]) == ["short"]
