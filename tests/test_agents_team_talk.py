"""Agents in one conversation: handed over, and in a group."""

from __future__ import annotations

from typing import Any

import pytest

from qianda import Agent, ConfigurationError
from qianda.agents.team import GroupChat, Router
from qianda.testing import Call, ScriptedServer, Turn


def hand_over(to: str, reason: str = "") -> Turn:
    return Turn(calls=[Call("hand_over", {"agent": to, "reason": reason})])


async def test_a_conversation_is_handed_over() -> None:
    async with ScriptedServer(hand_over("bills", "it is a bill"), "Paid.", "Again.") as server:
        desk, bills = (Agent(server=server.url, instructions=name) for name in ("desk", "bills"))
        router = Router(agents={"desk": (desk, "asks"), "bills": (bills, "bills and payments")})
        result = await router.run("My bill is wrong")
        assert (result.output, result.speaker, result.path) == ("Paid.", "bills", ("desk", "bills"))
        again = await router.run("And now?", history=result.messages, first=result.speaker)
        assert (again.speaker, again.output) == ("bills", "Again.")
    first, second, third = [request["messages"] for request in server.requests]
    assert first[0]["content"] == "desk"
    assert [message["content"] for message in second if message["role"] != "assistant"] == [
        "bills",
        "My bill is wrong",
        "handed over to bills",
        "(You go on with this conversation. it is a bill)",
    ]
    assert third[-1]["content"] == "And now?"
    assert "bills and payments" in server.requests[0]["tools"][0]["function"]["description"]
    assert "hand_over" not in desk.tools
    assert result.usage.requests == 2


async def test_handing_over_has_an_end() -> None:
    async with ScriptedServer(hand_over("b"), hand_over("a"), "enough") as server:
        agents = {name: (Agent(server=server.url), name) for name in "ab"}
        result = await Router(agents=agents, handovers=2).run("go")
    assert result.path == ("a", "b", "a")
    assert "tools" not in server.requests[-1]


def group(server: ScriptedServer, **options: Any) -> GroupChat:
    return GroupChat(agents={name: Agent(server=server.url) for name in ("Ann", "Bob", "Cid")}, **options)


async def test_in_turn() -> None:
    async with ScriptedServer("one", "two", "three", "four [done]") as server:
        said = await group(server).run("Begin")
    assert [(each.speaker, each.text) for each in said] == [
        ("Ann", "one"),
        ("Bob", "two"),
        ("Cid", "three"),
        ("Ann", "four [done]"),
    ]
    assert "user: Begin\n\nAnn: one" in server.requests[1]["messages"][-1]["content"]
    assert server.requests[3]["messages"][-1]["content"] == "Bob: two\n\nCid: three"  # and its own words before


async def test_by_name() -> None:
    async with ScriptedServer("yes, Ann?", "Ask Bob.", "So?") as server:
        said = await group(server, policy="by_name", turns=3).run("What says cid?")
    assert [each.speaker for each in said] == ["Cid", "Ann", "Bob"]


async def test_by_a_model() -> None:
    async with ScriptedServer("Bob", "hello", "nobody") as server:
        said = await group(server, policy="by_model", chooser=Agent(server=server.url)).run("Begin")
        assert [each.speaker for each in said] == ["Bob"]
        with pytest.raises(ConfigurationError, match="chooses"):
            group(server, policy="by_model")


async def test_by_a_function() -> None:
    async with ScriptedServer("hello") as server:
        said = await group(server, policy=lambda said, names: names[-1] if len(said) == 1 else None).run("Begin")
    assert [each.speaker for each in said] == ["Cid"]
