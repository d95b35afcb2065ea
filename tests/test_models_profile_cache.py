"""What the doctor found is kept, goes stale, and changes what runs send where it must."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent
from qianda.models.http import open_http
from qianda.models.messages import Usage
from qianda.models.probes import probe
from qianda.models.profile_cache import Profile, known, profiles_path, recall, remember
from qianda.models.resolve import Endpoint, resolve
from qianda.models.servers import server_kinds
from qianda.testing import Call, Fault, ScriptedServer, Turn

URL, MODEL = "http://127.0.0.1:8000/v1", "qwen3-8b"
Body = dict[str, Any]
NO_PARSER = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'


@dataclass(frozen=True)
class Guest:
    """Somebody who comes."""

    name: str
    age: int


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: 18 degrees"


def test_a_profile_is_kept_per_server_and_model() -> None:
    profile = Profile("0.32.0", {"tools": "refused"}, time.time())
    remember(URL, MODEL, profile)
    remember(URL, "other", Profile("0.32.0", {}, time.time()))
    assert recall(URL, MODEL) == profile
    assert recall(URL, MODEL, version="0.32.0") == profile
    assert recall(URL, MODEL, version="0.33.0") == Profile()
    assert recall("http://127.0.0.1:8001/v1", MODEL) == Profile()
    assert profiles_path().stat().st_mode & 0o777 == 0o600
    assert [path.name for path in profiles_path().parent.iterdir()] == ["profiles.json"]


def test_a_profile_is_stale_after_a_week_and_leaves_with_the_next() -> None:
    remember(URL, MODEL, Profile("1", {"tools": "refused"}, time.time() - 8 * 86_400))
    assert recall(URL, MODEL) == Profile()
    remember(URL, "other", Profile("1", {}, time.time()))
    assert len(json.loads(profiles_path().read_text())) == 1


def test_the_password_of_an_address_is_not_kept() -> None:
    url = "http://ada:secret@gpu-box:8000/v1"
    remember(url, MODEL, Profile("1", {"tools": "native"}, time.time()))
    assert recall(url, MODEL).facts == {"tools": "native"}
    assert "secret" not in profiles_path().read_text()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"x": 1}', f'{{"{URL}\\n{MODEL}": {{"found_at": "now", "facts": 3}}}}']
)
def test_a_damaged_file_is_no_profile(text: str) -> None:
    profiles_path().parent.mkdir(parents=True)
    profiles_path().write_text(text)
    assert recall(URL, MODEL) == Profile()
    remember(URL, MODEL, Profile("1", {}, time.time()))
    assert recall(URL, MODEL).version == "1"


def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QIANDA_DATA_DIR", str(tmp_path / "file" / "qianda"))
    remember(URL, MODEL, Profile("1", {}, time.time()))
    assert recall(URL, MODEL) == Profile()


def no_tool_parser(body: Body) -> Turn | Fault:
    """A vLLM that was started without a tool parser."""
    if body.get("tools") and body.get("tool_choice") != "none":
        return Fault.status(400, body={"error": {"message": NO_PARSER, "type": "BadRequestError", "code": 400}})
    if body["messages"][-1]["role"] == "tool":
        return Turn("18 degrees.")
    return Turn(raw='<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>')


async def found_by_the_doctor(url: str) -> Profile:
    endpoint = await resolve(server=url)
    async with open_http(url) as http:
        findings = await probe(endpoint, http)
    return Profile("0.32.0", {finding.check: finding.fact for finding in findings if finding.fact}, time.time())


async def test_tools_work_on_a_vllm_that_refuses_them() -> None:
    async with ScriptedServer(default=no_tool_parser) as server:
        result = await Agent(server=server.url, tools=[get_weather]).run("The weather in Paris?")
        assert result.output == "18 degrees."
        asked = [body.get("tool_choice") for body in server.requests]
        assert asked == [None, "none", None, "none"]  # refused, mended, and again for the second turn

        remember(server.url, server.model, await found_by_the_doctor(server.url))
        server.requests.clear()
        result = await Agent(server=server.url, tools=[get_weather]).run("The weather in Paris?")
        assert result.output == "18 degrees."
        assert [body.get("tool_choice") for body in server.requests] == ["none", "none"]


async def test_calls_that_a_stream_loses_are_asked_for_without() -> None:
    xml = "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>"

    def hermes_parser(body: Body) -> Turn:
        if body["messages"][-1]["role"] == "tool":
            return Turn("18 degrees.")
        return Turn(usage=Usage(300, 31)) if body.get("stream") else Turn(raw=xml)

    async with ScriptedServer(default=hermes_parser, model="qwen3-coder-30b-a3b") as server:
        profile = await found_by_the_doctor(server.url)
        assert profile.facts["tools"] == "lost"
        remember(server.url, server.model, profile)
        result = await Agent(server=server.url, tools=[get_weather]).run("The weather in Paris?")
        assert result.output == "18 degrees."


async def test_the_soft_switch_is_used_where_the_servers_switch_does_nothing() -> None:
    def heeds_the_prompt(body: Body) -> Turn:
        return Turn("391", reasoning="" if "/no_think" in json.dumps(body["messages"]) else "Well.")

    async with ScriptedServer(default=heeds_the_prompt) as server:
        profile = await found_by_the_doctor(server.url)
        assert profile.facts["switch"] == "soft"
        remember(server.url, server.model, profile)
        server.requests.clear()
        await Agent(server=server.url, thinking=False).run("17 times 23?")
        (body,) = server.requests
        assert "/no_think" in body["messages"][-1]["content"]
        assert "chat_template_kwargs" not in body


def versions_asked(server: ScriptedServer) -> int:
    return sum(request.path == "/version" for request in server.received)


async def test_another_version_or_model_behind_the_name_is_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedServer(default=no_tool_parser) as server:
        endpoint = await resolve(server=server.url)
        assert endpoint.fingerprint
        facts = {"tools": "refused"}
        async with open_http(server.url) as http:
            remember(server.url, server.model, Profile("0.32.0", facts, time.time(), endpoint.fingerprint))
            assert (await known(endpoint, http)).facts == facts
            assert versions_asked(server) == 1
            assert await known(replace(endpoint, fingerprint="another"), http) == Profile()
            monkeypatch.setattr("qianda.testing.vllm_server.VERSION", "0.33.0")
            assert await known(endpoint, http) == Profile()
            asked = versions_asked(server)
            remember(server.url, server.model, Profile("0.32.0", {"tools": "native"}, time.time()))
            await known(endpoint, http)
            assert versions_asked(server) == asked  # nothing hangs on it, so nobody asks


async def test_the_fingerprint_changes_with_the_model_and_not_by_itself() -> None:
    async def fingerprint(window: int) -> str:
        async with ScriptedServer(window=window) as server:
            first, second = [(await resolve(server=server.url)).fingerprint for _ in range(2)]
            assert first == second
            return first

    assert await fingerprint(8_192) != await fingerprint(16_384)


@pytest.mark.parametrize(
    ("kind", "fact", "structured"),
    [
        ("vllm", "older", "guided_json"),
        ("vllm", "refused", ""),
        ("vllm", "schema", "json_schema"),
        ("vllm", "ignored", "json_schema"),
        ("openai", "schema", "json_schema"),
        ("llamacpp", "schema", "json_schema"),
    ],
)
def test_schemas_go_the_way_that_was_found(kind: str, fact: str, structured: str) -> None:
    endpoint = Endpoint(url=URL, kind=server_kinds()[kind], model=MODEL, why="")
    profile = Profile("1", {"structured": fact}, time.time())
    assert profile.applied(endpoint).kind.structured == structured
    assert profile.tells(endpoint) == (endpoint.kind.structured != structured)


async def test_an_older_vllm_is_held_to_a_schema_in_its_own_way() -> None:
    async with ScriptedServer('{"name": "Ann", "age": 31}', model="Qwen2.5-7B-Instruct") as server:
        remember(server.url, server.model, Profile("0.32.0", {"structured": "older"}, time.time()))
        result = await Agent(server=server.url, output_type=Guest).run("Ann is 31 years old.")
        assert result.output == Guest("Ann", 31)
        (body,) = server.requests
        assert body["guided_json"]["required"] == ["name", "age"]
        assert "response_format" not in body


async def test_a_server_that_does_all_is_asked_as_before() -> None:
    async with ScriptedServer(default=Turn("Hi")) as server:
        await Agent(server=server.url, thinking=False).run("Hi")
        remember(server.url, server.model, Profile("1", {"tools": "native", "switch": "works"}, time.time()))
        await Agent(server=server.url, thinking=False).run("Hi")
        assert server.requests[0] == server.requests[1]


async def test_what_the_user_says_wins() -> None:
    remember(URL, MODEL, Profile("1", {"tools": "refused"}, time.time()))
    async with ScriptedServer(Turn(calls=[Call("get_weather", {"city": "Paris"})]), "18") as server:
        remember(server.url, server.model, Profile("0.32.0", {"tools": "refused"}, time.time()))
        await Agent(server=server.url, tools=[get_weather], extra_body={"tool_choice": "auto"}).run("?")
        assert server.requests[0]["tool_choice"] == "auto"
