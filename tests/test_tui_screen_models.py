"""The screen of models and servers, switching between them in mid-conversation, and how much the model thinks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tui_person import Person, chatting

from qianda import tool
from qianda.cli.chat import chat as open_chat
from qianda.cli.opening import Choices
from qianda.models import resolve
from qianda.models.config import load_config, user_config_path
from qianda.models.config_file import change_setting
from qianda.models.detection import FoundModel, FoundServer
from qianda.models.probes import Finding
from qianda.models.profile_cache import recall, remember_findings
from qianda.models.servers import server_kinds
from qianda.models.thinking import Thinking
from qianda.testing import Call, ScriptedServer, Turn
from qianda.testing.script import Says
from qianda.tui import app
from qianda.tui.conversation import Changes


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: rain"


@pytest.fixture(autouse=True)
def nothing_else_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of this machine is found, and no demo model."""

    async def none(http: object = None) -> list[FoundServer]:
        del http
        return []

    monkeypatch.setattr(resolve, "probe_local", none)
    monkeypatch.setattr("qianda.models.embedded.weights_present", lambda: False)


@asynccontextmanager
async def two(first: list[Says], second: list[Says], **options: Any) -> AsyncGenerator[tuple[Person, ScriptedServer]]:
    """A chat with one server, and another that the settings name."""
    async with ScriptedServer(*second, model="qwen2.5-7b-instruct", window=32_768) as other:
        change_setting(user_config_path(), "server", other.url)
        async with chatting(server=ScriptedServer(*first, window=40_960), **options) as person:
            yield person, other


async def test_the_conversation_goes_on_at_another_server_with_a_model_of_another_family() -> None:
    look = Turn("Looking.", reasoning="It wants weather.", calls=[Call("weather", {"city": "Oslo"})])
    async with two(
        [look, Turn("Rain.", reasoning="So rain.")], [Turn("Still rain.")], tools=[weather], size=(110, 30)
    ) as (person, other):
        await person.says("weather in Oslo?")
        await person.press("f3")
        await person.sees("qwen3-8b", "in use", "40,960", "qwen2.5-7b-instruct", other.url)
        assert "on, off" in person.line("▸ qwen3-8b")
        await person.press("down")
        await person.sees("Thinking: no")
        await person.press("enter")
        await person.until(lambda: person.in_chat)
        await person.sees("From here on qwen2.5-7b-instruct answers", "weather in Oslo?")
        await person.says("and now?")
        await person.sees("Still rain.")
        sent: list[dict[str, Any]] = other.requests[-1]["messages"]
        assert [message["role"] for message in sent if message["role"] != "system"] == [
            "user",
            "assistant",
            "tool",
            "assistant",
            "user",
        ]
        assert "wants weather" not in str(sent)
        assert "rain" in str(sent)


async def test_a_switch_that_fails_leaves_the_model_and_what_was_said() -> None:
    async with two([Turn("One."), Turn("Two.")], []) as (person, other):
        await person.says("count")
        await person.press("f3")
        await person.sees("qwen2.5-7b-instruct")
        await other.__aexit__(None, None, None)
        await person.press("down", "enter")
        await person.sees("Nothing is changed")
        await person.until(lambda: person.app.chat.conversation is not None)
        await person.says("on")
        await person.sees("Two.")
        assert "count" in str(person.server.requests[-1]["messages"])
        opened = len(person.changes)
        await person.says("/model qwen3")
        await person.sees("It is in use")
        assert len(person.changes) == opened
        await person.says("/model nonsense")
        await person.sees("No server that answers has a model nonsense")


async def test_thinking_is_changed_for_the_next_prompts_without_opening_anything_anew() -> None:
    async with chatting(Turn("One."), Turn("Two."), Turn("Three."), size=(100, 30)) as person:
        opened = len(person.changes)
        await person.says("/thinking off")
        await person.says("go")
        assert person.server.requests[-1]["chat_template_kwargs"] == {"enable_thinking": False}
        await person.sees("no thinking")
        await person.press("f3")
        await person.sees("In use: qwen3-8b · no thinking")
        await person.press("t")
        await person.sees("In use: qwen3-8b · default thinking")
        await person.press("t")
        await person.sees("In use: qwen3-8b · thinking")
        await person.press("b")
        await person.press(*"2000", "enter")
        await person.sees("thinking, 2,000 tokens at most")
        await person.press("escape")
        await person.says("on")
        assert "enable_thinking" in str(person.server.requests[-1])
        await person.says("/thinking high")
        await person.sees("Qwen3 has no levels of thinking effort")
        await person.says("/thinking never")
        await person.sees("There is no thinking never")
        await person.says("/thinking default")
        await person.says("more")
        assert "chat_template_kwargs" not in person.server.requests[-1]
        assert len(person.changes) == opened
        assert person.app.chat.changes.thinking == "default"


async def test_the_choice_is_saved_and_what_the_doctor_knows_is_shown() -> None:
    async with chatting(Turn("Hi."), size=(120, 40)) as person:
        endpoint = person.app.chat.endpoint
        assert endpoint is not None
        cured = Finding(check="tools", status="problem", seen="calls come as text", fact="text", cure="Use a parser")
        remember_findings(endpoint, "1", [cured])
        assert recall(endpoint.url, endpoint.model).findings == (cured,)
        await person.says("/thinking off")
        await person.press("f3")
        await person.sees("tools: calls come as text", "Use a parser", "Apache")
        await person.press("s")
        await person.sees("Use qwen3-8b at")
        await person.press("y")
        await person.sees("Saved")
        config = load_config(Path.cwd())
        assert (config.server, config.model, config.thinking) == (person.server.url, "qwen3-8b", False)


async def test_servers_that_do_not_answer_and_unknown_models_are_said_honestly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def found(http: object = None) -> list[FoundServer]:
        del http
        return [FoundServer("http://127.0.0.1:9/v1", server_kinds()["vllm"], (FoundModel("gemma-3", 8192),))]

    monkeypatch.setattr(resolve, "probe_local", found)
    change_setting(user_config_path(), "server", "http://127.0.0.1:1/v1")
    async with chatting(Turn("Hi."), size=(100, 30)) as person:
        await person.press("f3")
        await person.sees("127.0.0.1:1", "not in the table", "gemma-3", "8,192")
        await person.press("end")
        await person.sees("it runs on safe defaults")


def test_a_chat_that_is_not_recorded_keeps_its_conversation_and_a_key_its_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the command line gives the chat opens agents one after another."""
    monkeypatch.setenv("SOME_KEY", "secret-of-the-first")
    seen: list[Any] = []

    async def opens(open_agent: Any) -> None:
        async with ScriptedServer("One.") as first, ScriptedServer("Two.", model="qwen2.5-7b") as second:
            for changes in (
                Changes(server=first.url),
                Changes(server=second.url, thinking=Thinking(budget=50) if seen else "default"),
            ):
                agent = await open_agent(None, None, lambda _: None, changes)
                async with agent:
                    await agent.session("one").run("Hello")
                    seen.append((await agent.endpoint()).api_key)
            assert "One." in str(second.requests[-1]["messages"])

    def run_tui(open_agent: Any, **_: Any) -> int:
        asyncio.run(opens(open_agent))
        return 0

    monkeypatch.setattr(app, "run_tui", run_tui)
    monkeypatch.setattr("qianda.cli.chat.is_terminal", lambda _: True)
    open_chat(Choices(record=False, server="http://127.0.0.1:1/v1", api_key_env="SOME_KEY"))
    assert set(seen) == {None}
