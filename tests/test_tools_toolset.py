"""Sets of tools, and tools on demand: joined, chosen, renamed, found by a search and then called."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qianda import Agent, ConfigurationError, tool
from qianda.models.events import CallFinished
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools import Context, Tool, Toolset, calculator, files, fit, on_demand, shell


def made(name: str, description: str) -> Tool:
    async def work(subject: str = "") -> str:
        return f"{name} {subject}".strip()

    return tool(name=name, description=description)(work)


CATALOGUE = [
    made("send_email", "Send a message to somebody's mailbox."),
    made("createCalendarEvent", "Put an appointment into the calendar."),
    made("query_weather", "查询某个城市的天气预报。"),
    made("book_train", "预订高铁车票,可选座位。"),
    made("list_issues", "List the open issues of a repository."),
    made("resize_image", "Make a picture smaller or larger."),
]


def names(tools: Any) -> list[str]:
    return [item.name for item in tools]


async def found(query: str) -> list[str]:
    added: list[Tool] = []
    (search,) = on_demand(CATALOGUE)
    await search.call(search.read_arguments(json.dumps({"query": query})), Context(add_tools=added.extend))
    return names(added)


def test_sets_are_joined_prefixed_chosen_from_and_renamed() -> None:
    both = Toolset(files()) + shell()
    assert names(both) == [*names(files()), "run_command", "jobs"]
    plain: list[Tool] = [calculator]
    assert names(plain + Toolset(shell())) == ["calculator", "run_command", "jobs"]
    assert names(both.only("grep", "read_file")) == ["grep", "read_file"]
    assert names(both.without("grep").without("run_command", "jobs")) == names(files())[:-1]
    assert names(Toolset(shell()).prefixed("box_")) == ["box_run_command", "box_jobs"]
    assert names(both.only("grep", "read_file").renamed({"grep": "search"})) == ["search", "read_file"]
    assert isinstance(both, tuple)


def test_a_renamed_tool_is_named_so_to_the_model_and_keeps_the_rest() -> None:
    (renamed,) = Toolset([calculator]).prefixed("my_")
    assert renamed.schema.name == "my_calculator"
    assert renamed.schema.parameters == calculator.schema.parameters
    assert renamed.read_only


@pytest.mark.parametrize("change", ["only", "without", "renamed"])
def test_a_name_that_is_not_there_is_an_error_with_the_close_one(change: str) -> None:
    tools = Toolset(files())
    with pytest.raises(ConfigurationError, match=r"no tool named 'read_files'.*Did you mean 'read_file'"):
        getattr(tools, change)({"read_files": "x"} if change == "renamed" else "read_files")


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("send an email", "send_email"),
        ("calendar appointments", "createCalendarEvent"),
        ("杭州天气怎么样", "query_weather"),
        ("高铁票", "book_train"),
        ("open issue", "list_issues"),
        ("IMAGE", "resize_image"),
        ("list_issues", "list_issues"),
    ],
)
async def test_the_search_finds_by_name_and_description_in_english_and_chinese(query: str, first: str) -> None:
    assert (await found(query))[0] == first


async def test_what_is_not_found_is_answered_with_the_names() -> None:
    (search,) = on_demand(CATALOGUE)
    result = await search.call({"query": "zzz"}, Context())
    assert result.failed
    assert all(name in str(result.content) for name in names(CATALOGUE))


def test_many_names_do_not_fill_the_prompt() -> None:
    (search,) = on_demand([made(f"tool_number_{number}", "") for number in range(2_000)])
    assert "There are 2000: tool_number_0, " in search.schema.description
    assert len(search.schema.description) < 800


def test_what_fits_stays_and_what_does_not_is_on_demand() -> None:
    assert fit(CATALOGUE) == CATALOGUE
    assert names(fit(CATALOGUE, budget=100)) == ["find_tools"]


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_found_tools_are_in_the_next_requests_of_that_run_only(kind: str, tmp_path: Any) -> None:
    turns = [
        Turn(calls=[Call("find_tools", {"query": "weather 天气"})]),
        Turn(calls=[Call("query_weather", {"subject": "杭州"})]),
        Turn("Rain."),
    ]
    async with ScriptedServer(*turns, Turn("Hi.")) as server:
        journal = tmp_path / "journal.db" if kind == "file" else None
        agent = Agent(server=server.url, tools=[calculator, *on_demand(CATALOGUE)], journal=journal)
        async with agent:
            result = await agent.run("weather?")
            await agent.run("hello")
    assert result.output == "Rain."
    assert server.requests[2]["messages"][-1]["content"] == "query_weather 杭州"
    sent = [[item["function"]["name"] for item in request["tools"]] for request in server.requests]
    assert sent[0] == ["calculator", "find_tools"]
    assert sent[1][:2] == sent[0]
    assert "query_weather" in sent[1]
    assert sent[2] == sent[1]
    assert sent[3] == sent[0]


async def test_a_tool_that_is_known_from_before_is_called_without_a_search() -> None:
    async with ScriptedServer(Turn(calls=[Call("book_train", {"subject": "x"})]), Turn("Booked.")) as server:
        agent = Agent(server=server.url, tools=on_demand(CATALOGUE))
        async with agent.stream("again") as run:
            events = [event async for event in run]
    assert [event.content for event in events if isinstance(event, CallFinished)] == ["book_train x"]
