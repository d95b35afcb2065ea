"""The chat where no model answers, and where one is found: what it says, and connecting one by keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_tui_app import FakeAgent, Person, chatting
from textual.widgets import Input

import qianda.models.resolve as resolving
from qianda.models import embedded
from qianda.models.config import load_config, user_config_path
from qianda.models.config_file import remember_server
from qianda.models.detection import FoundModel, FoundServer
from qianda.models.errors import NoServer, ServerUnreachable
from qianda.models.events import RunFinished
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.testing import ScriptedServer
from qianda.testing.script import Turn
from qianda.tui.conversation import Changes


class Found(FakeAgent):
    """Its server was found, not named."""

    async def endpoint(self) -> Endpoint:
        return replace(await super().endpoint(), found=True)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[FoundServer]:
    """The servers that answer on this machine."""
    found: list[FoundServer] = []

    async def probe() -> list[FoundServer]:
        return found

    monkeypatch.setattr(resolving, "probe_local", probe)
    monkeypatch.setattr(embedded, "available", lambda: False)
    return found


def without_server(*more: Exception) -> FakeAgent:
    agent = FakeAgent()
    agent.failures = [NoServer("No model server answers on this machine", cure="Start one"), *more]
    return agent


async def connected(person: Person) -> Changes:
    await person.until(lambda: person.agent.sessions)
    assert person.app.screen is person.chat
    return person.agent.changes


async def test_a_server_that_is_found_is_said_in_a_line_and_no_screen_opens() -> None:
    async with chatting(Found()) as person:
        await person.sees("Found qwen3-8b, vLLM at http://127.0.0.1:8000/v1: ready")
        assert person.app.screen is person.chat


async def test_a_screen_helps_where_nothing_answers_and_esc_leaves_it(here: list[FoundServer]) -> None:
    assert not here
    async with chatting(without_server()) as person:
        await person.sees("Connect a model")
        await person.sees("No model server answers on the usual ports")
        await person.sees("Model Studio (Beijing)")
        await person.sees("needs pip install 'qianda[local]'")
        await person.pilot.press("escape")
        await person.sees("✗ No model server answers on this machine. Start one. /connect helps, Ctrl+R")
        assert person.app.focused is person.chat.editor
        person.agent.failures.append(NoServer("Still no model server"))
        await person.types("hello")
        await person.pilot.press("enter")
        await person.sees("Connect a model")
        await person.pilot.press("escape")
        await person.sees("takes it back")
        await person.pilot.press("escape")
        assert person.chat.editor.text == "hello"
        await person.pilot.press("ctrl+r")
        await person.until(lambda: person.agent.sessions)


async def test_a_named_server_that_does_not_answer_opens_no_screen() -> None:
    agent = FakeAgent()
    agent.failures = [ServerUnreachable("No server answers at http://gpu.example", cure="Start it")]
    async with chatting(agent) as person:
        await person.sees("Start it. Ctrl+R tries again,")
        assert person.app.screen is person.chat


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_found_server_is_tested_and_remembered_only_if_the_person_says_so(
    here: list[FoundServer], keeps: bool
) -> None:
    async with ScriptedServer(default=Turn("391"), window=32_768) as server:
        here.append(FoundServer(server.url, server_kinds()["vllm"], (FoundModel("qwen3-8b", 32_768),)))
        async with chatting(without_server()) as person:
            await person.sees("Answers on this machine")
            await person.pilot.press("enter")
            await person.sees("qwen3-8b answers. Use it, and remember it in")
            await person.sees("✓ answers")
            assert not user_config_path().exists()
            await person.pilot.press("y" if keeps else "n")
            changes = await connected(person)
            assert (changes.server, changes.model, changes.api_key) == (server.url, "qwen3-8b", None)
            assert load_config(Path.cwd()).server == (server.url if keeps else None)


async def test_an_address_that_wants_a_key_asks_for_it_unseen(here: list[FoundServer]) -> None:
    assert not here
    async with (
        ScriptedServer(default=Turn("391"), api_key="sk-secret-1") as server,
        chatting(without_server(), size=(120, 40)) as person,
    ):
        await person.sees("An address …")
        await answered(person, "nonsense", "neither a server's name nor its address")
        await answered(person, server.url, "It wants a key")
        await typed(person, "sk-secret-1")
        assert "sk-secret-1" not in person.screen()
        await person.pilot.press("enter")
        await person.sees("Use it, and remember it in")
        await person.pilot.press("y")
        changes = await connected(person)
        assert changes.api_key == "sk-secret-1"
        assert "sk-secret-1" not in repr(changes)
        assert load_config(Path.cwd()).key_for(server.url) == "sk-secret-1"
        assert user_config_path().stat().st_mode & 0o777 == 0o600


async def typed(person: Person, text: str) -> None:
    await person.until(lambda: isinstance(person.app.focused, Input))
    assert isinstance(person.app.focused, Input)
    person.app.focused.value = text
    await person.pilot.pause()


async def answered(person: Person, text: str, seen: str) -> None:
    await person.pilot.press("enter")
    await typed(person, text)
    await person.pilot.press("enter")
    await person.sees(seen)


@pytest.mark.parametrize("installed", [True, False])
async def test_the_demo_model_says_what_it_needs(
    here: list[FoundServer], monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    assert not here
    monkeypatch.setattr(embedded, "available", lambda: installed)
    fetched: list[str] = []
    monkeypatch.setattr(embedded, "ensure_weights", lambda notify: (notify("on its way"), fetched.append("demo")))
    async with chatting(without_server()) as person:
        await person.sees("The demo model")
        await person.pilot.press("end")
        await person.sees("135 million parameters")
        await person.pilot.press("enter")
        if not installed:
            await person.sees("In a shell: pip install 'qianda[local]'")
            return
        await person.sees("Fetch the demo model, 93 MB")
        await person.pilot.press("y")
        assert (await connected(person)).server == "embedded"
        assert fetched == ["demo"]


async def test_a_server_that_goes_away_says_what_to_do_and_ctrl_r_looks_again() -> None:
    async with chatting() as person:
        run = await person.says("go")
        run.emit(RunFinished, reason="error", which="ServerUnreachable", message="The connection broke. Start it again")
        await person.sees("The server does not answer any more. Start it again, then send again; Ctrl+R")
        await person.pilot.press("ctrl+r")
        await person.until(lambda: len(person.agent.sessions) == 2)


def test_a_key_stays_with_the_server_that_it_was_written_beside() -> None:
    path = user_config_path()
    path.parent.mkdir(parents=True)
    path.write_text('server = "http://old.example/v1"\napi_key = "sk-old"\nmodel = "m"\n')
    remember_server(path, "http://new.example/v1", None, None)
    config = load_config(Path.cwd())
    assert (config.server, config.model, config.key_for("http://new.example/v1")) == (
        "http://new.example/v1",
        None,
        None,
    )
    assert config.key_for("http://old.example/v1") == "sk-old"
    remember_server(path, "modelstudio-cn", "qwen-plus", "sk-new")
    config = load_config(Path.cwd())
    assert config.key_for("modelstudio-cn") == "sk-new"
    assert config.key_for("http://new.example/v1") is None
