"""Qwen-Agent and ours, live: its tools in our agents, our tools and agents in its ``Assistant``, its backends."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent, ConfigurationError, Context, ServerRefused, TextPart, ToolMessage, tool
from qianda.models.config import load_config
from qianda.models.events import Retrying
from qianda.models.messages import AssistantMessage, MediaPart
from qianda.models.qwen_agent import load_qwen_agent, qwen_agent_server
from qianda.models.resolve import resolve
from qianda.testing import Call, ScriptedServer, Turn
from qianda.testing.http_server import LoopbackServer, Request, Response
from qianda.tools import files, shell
from qianda.tools.effects import Effects
from qianda.tools.named import tools_named
from qianda.tools.qwen_agent import QwenAgentTool, as_qwen_agent, qwen_agent_tool

HOUSE = Path(__file__).parent.parent
HERMES = '<tool_call>\n{"name": "%s", "arguments": %s}\n</tool_call>'
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

TRACES = """
import asyncio, logging, os, signal, sys, threading, warnings
from pathlib import Path
import numpy  # which has filters of its own

def traces():
    loggers = logging.Logger.manager.loggerDict
    shown = [name for name, logger in loggers.items() if isinstance(logger, logging.Logger)
             and any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers)]
    return {
        "signals": {name: signal.getsignal(name) for name in signal.valid_signals()},
        "log handlers": (shown, logging.root.handlers[:], logging.root.level, logging.lastResort),
        "levels": [name for name, logger in loggers.items() if name.startswith("qwen") and logger.level],
        "policy": type(asyncio.get_event_loop_policy()),
        "warnings": warnings.filters[:],
        "environment": dict(os.environ),
        "threads": threading.enumerate(),
        "hooks": (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr, warnings.showwarning),
        "folder": (os.getcwd(), sorted(os.listdir())),
    }

before = traces()
from qianda.tools.named import tools_named
assert "qwen_agent" not in sys.modules
[extractor] = tools_named("qwen-agent:web_extractor", Path.cwd())
import qwen_agent
after = traces()
print(*(name for name in before if before[name] != after[name]), "changed")
print(extractor.name, extractor.consent, extractor.read_only, extractor.origin, extractor.schema.parameters)
"""


def test_loading_leaves_no_trace(tmp_path: Path) -> None:
    """Also, a tool of its is there by name, and runs only when someone allows it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRACES], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    changed, extractor = done.stdout.splitlines()
    assert changed == "changed"
    name, consent, read_only, origin, parameters = extractor.split(maxsplit=4)
    assert (name, consent, read_only, origin) == ("web_extractor", "False", "False", "Qwen-Agent")
    assert "'url': {'type': 'string', 'description': 'The webpage url.'}" in parameters


@pytest.fixture(scope="module")
def add() -> Any:
    """A class of tool as Qwen-Agent's users write them, in the old way with a list of parameters."""
    base = load_qwen_agent("qwen_agent.tools.base")

    def call(self: Any, params: str, **_: Any) -> Any:
        given = self._verify_json_format_args(params)
        if given["a"] < 0:
            raise ValueError("only from 0\nsecond line")
        return {"sum": given["a"] + given.get("b", 0) + self.cfg.get("more", 0)}

    parameters = [
        {"name": "a", "type": "integer", "description": "a number", "required": True},
        {"name": "b", "type": "integer", "required": False},
    ]
    cls = type("Add", (base.BaseTool,), {"description": "Adds.", "parameters": parameters, "call": call})
    return base.register_tool("qianda_add")(cls)


def returning(value: Any, name: str = "give") -> Any:
    """A tool object that returns something, or calls it first."""
    base = load_qwen_agent("qwen_agent.tools.base").BaseTool
    work: Callable[[], Any] = value if callable(value) else lambda: value
    return type("Give", (base,), {"name": name, "description": "", "call": lambda *_, **__: work()})()


async def run_tool(ours: QwenAgentTool, arguments: str = "{}") -> Any:
    return await ours.call(ours.read_arguments(arguments), Context())


async def test_its_tool_in_our_agent(add: Any) -> None:
    calls = [Call("qianda_add", {"a": "2", "b": 3}), Call("qianda_add", {"a": -1}), Call("qianda_add", {"b": 1})]
    async with ScriptedServer(Turn(calls=calls), "Five.") as server:
        result = await Agent(server=server.url, tools=[qwen_agent_tool(add, {"more": 10})]).run("2 + 3?")
    assert result.output == "Five."
    said = [message.content for message in result.messages if isinstance(message, ToolMessage)]
    assert said[:2] == ['{"sum":15}', "qianda_add failed: ValueError: only from 0"]
    assert '"a" is missing' in str(said[2])


async def test_registered_names_ask_first(add: Any) -> None:
    assert add.name == "qianda_add"
    ours = qwen_agent_tool("qianda_add")
    assert (ours.consent, qwen_agent_tool(add).consent, qwen_agent_tool(add()).consent) == (False, True, True)
    assert ours.schema.parameters == {
        "type": "object",
        "properties": {"a": {"type": "integer", "description": "a number"}, "b": {"type": "integer"}},
        "required": ["a"],
    }
    touched = ours.effects(
        {"a": 1, "url": "https://example.org/a", "files": ["file:///etc/passwd", "../b", "some text"]}
    )
    assert touched == Effects(urls=("https://example.org/a",), reads=("/etc/passwd", "../b"))
    async with ScriptedServer(Turn(calls=[Call("qianda_add", {"a": 1})]), "Not allowed.") as server:
        result = await Agent(server=server.url, tools=[ours]).run("1?")
    [said] = [message for message in result.messages if isinstance(message, ToolMessage)]
    assert said.outcome == "denied"


async def test_content_items_become_parts(tmp_path: Path) -> None:
    item = load_qwen_agent("qwen_agent.llm.schema").ContentItem
    picture = tmp_path / "plot.png"
    picture.write_bytes(base64.b64decode(PNG))
    items = [
        item(text="Here:"),
        item(image=str(picture)),
        item(image="https://example.org/a.png"),
        item(audio=f"data:audio/wav;base64,{PNG}"),
        item(video=["a.png", "b.png"]),
        item(file=str(tmp_path / "data.csv")),
        item(image=str(tmp_path / "missing.png")),
    ]
    result = await run_tool(qwen_agent_tool(returning(items)))
    assert result.content == (
        TextPart("Here:"),
        MediaPart("image", f"data:image/png;base64,{PNG}"),
        MediaPart("image", "https://example.org/a.png"),
        MediaPart("audio", f"data:audio/wav;base64,{PNG}"),
        MediaPart("video", frames=("a.png", "b.png")),
        TextPart(f"[file: {tmp_path / 'data.csv'}]"),
        TextPart(f"[image: {tmp_path / 'missing.png'}]"),
    )
    assert (await run_tool(qwen_agent_tool(returning("text")))).content == "text"
    assert (await run_tool(qwen_agent_tool(returning([1, 2])))).content == "[1,2]"


async def test_a_tool_that_hangs_is_given_up() -> None:
    go_on = threading.Event()
    ours = qwen_agent_tool(returning(go_on.wait), timeout=0.05)
    result = await run_tool(ours)
    go_on.set()
    assert result.failed
    assert result.content == "give did not finish within 0.05 s and was given up; it may still be running"


def test_what_is_no_tool_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"no tool 'web_extracto'.*web_extractor"):
        tools_named("qwen-agent:web_extracto", Path.cwd())
    with pytest.raises(ConfigurationError, match="is no tool of Qwen-Agent"):
        qwen_agent_tool(print)
    needy = type("Needy", (type(returning("")),), {"name": "needy", "__init__": lambda self, cfg: cfg["token"]})
    with pytest.raises(ConfigurationError, match="tool needy cannot be used: KeyError: 'token'"):
        qwen_agent_tool(needy)
    assert qwen_agent_tool(returning("", name="天气"), name="weather").schema.name == "weather"


@tool
async def weather(city: str, days: int = 1) -> str:
    """Weather forecast.

    Args:
        city: any city.
        days: how many.
    """
    if city == "Atlantis":
        raise ValueError("no such city")
    return f"sunny in {city} for {days}"


PROGRAMS = re.findall(r"```python\n(.*?)```", (HOUSE / "docs/qwen-agent.md").read_text(encoding="utf-8"), re.DOTALL)


async def run_program(program: str, server: LoopbackServer, capsys: pytest.CaptureFixture[str]) -> str:
    """Run one of the document, here: importing Qwen-Agent once more would take seconds."""
    program = program.replace("http://127.0.0.1:8000", server.origin)
    await asyncio.to_thread(exec, compile(program, "docs/qwen-agent.md", "exec"), {"__name__": "__main__"})
    return capsys.readouterr().out


async def test_the_program_with_its_tool(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedServer(Turn(calls=[Call("price", {"product": "kettle"})]), "19.50") as server:
        monkeypatch.setenv("QIANDA_SERVER", server.url)
        assert await run_program(PROGRAMS[0], server, capsys) == "19.50\n"
        assert server.requests[1]["messages"][-1]["content"] == '{"price":19.5,"product":"kettle"}'


async def test_the_program_with_its_assistant(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [
        HERMES % ("weather", '{"city": "Hangzhou"}'),
        HERMES % ("guide", '{"prompt": "Hangzhou"}'),
        "A hat.",
        "No.",
    ]
    async with ScriptedServer(*turns) as server:
        monkeypatch.setenv("QIANDA_SERVER", server.url)
        assert await run_program(PROGRAMS[1], server, capsys) == "No.\n"
        assert "Hangzhou: sunny" in str(server.requests[1]["messages"])
        assert "A hat." in str(server.requests[3]["messages"])


def assistant(server: ScriptedServer, *tools: Any) -> Any:
    """An ``Assistant`` of Qwen-Agent."""
    llm = {"model": "qwen3-8b", "model_server": server.url, "api_key": "EMPTY"}
    return load_qwen_agent("qwen_agent.agents").Assistant(llm=llm, function_list=list(tools))


async def say(bot: Any, text: str) -> list[dict[str, Any]]:
    """Run it in a thread, as its users' servers do; its last list of messages."""

    def work() -> list[dict[str, Any]]:
        *_, last = bot.run([{"role": "user", "content": text}])
        return last

    return await asyncio.to_thread(work)


async def test_our_tool_in_its_assistant() -> None:
    turns = [HERMES % ("weather", '{"city": "杭州", "days": "3"}'), HERMES % ("weather", '{"city": "Atlantis"}')]
    async with ScriptedServer(*turns, "It is sunny.") as server:
        messages = await say(assistant(server, as_qwen_agent(weather)), "Weather in Hangzhou?")
        assert '"name": "weather", "description": "Weather forecast."' in str(
            server.requests[0]["messages"][0]["content"]
        )
    assert [message["content"] for message in messages if message["role"] == "function"] == [
        "sunny in 杭州 for 3",
        "weather failed: ValueError: no such city",
    ]
    assert messages[-1]["content"] == "It is sunny."


async def test_our_agent_in_its_assistant() -> None:
    async with ScriptedServer(Turn(calls=[Call("weather", {"city": "Lhasa"})]), "Take a hat.") as ours:
        agent = Agent(server=ours.url, tools=[weather])
        theirs = as_qwen_agent(agent, name="guide", description="Knows what to wear.")
        async with ScriptedServer(HERMES % ("guide", '{"prompt": "Lhasa tomorrow"}'), "A hat.") as server:
            messages = await say(assistant(server, theirs), "What do I need?")
        assert "sunny in Lhasa" in str(ours.requests[1]["messages"])
    assert [message["content"] for message in messages] == ["", "Take a hat.", "A hat."]
    with pytest.raises(ConfigurationError, match="needs a name and a description"):
        as_qwen_agent(agent)


async def test_our_tools_called_from_many_threads_and_from_a_loop() -> None:
    heard: list[str] = []

    @tool
    async def meet(name: str, context: Context) -> list[TextPart | MediaPart]:
        """Two meet."""
        context.progress(name)
        if len(heard) == 2:
            both.set()
        await both.wait()
        return [TextPart(name), MediaPart("image", "https://example.org/a.png")]

    both = asyncio.Event()
    theirs = as_qwen_agent(meet, context=Context(progress=heard.append))
    results = await asyncio.gather(*(asyncio.to_thread(theirs.call, json.dumps({"name": n})) for n in ("a", "b")))
    assert [[item.value for item in result] for result in results] == [
        [name, "https://example.org/a.png"] for name in ("a", "b")
    ]
    assert sorted(heard) == ["a", "b"]
    # Sync code that is called on somebody's event loop blocks that loop, and still gets its answer.
    assert as_qwen_agent(weather).call({"city": "Xi'an"}) == "sunny in Xi'an for 1"


def test_built_in_tools_stay_inside_their_permissions(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello\n")
    by_name = {each.name: each for each in [*files(), *shell()]}
    context = Context(workspace=tmp_path)
    read = as_qwen_agent(by_name["read_file"], context=context)
    assert "hello" in read.call('{"path": "note.txt"}')
    asked = as_qwen_agent(by_name["write_file"], context=context)
    assert 'permissions="auto"' in asked.call('{"path": "new.txt", "content": "x"}')
    assert not (tmp_path / "new.txt").exists()
    allowed = as_qwen_agent(by_name["write_file"], context=context, permissions="auto")
    allowed.call('{"path": "new.txt", "content": "x"}')
    assert (tmp_path / "new.txt").read_text() == "x"


@pytest.fixture(scope="module")
def stand_in() -> Any:
    """A kind of backend of its own, registered there: replies, or raises, what its list says."""
    llm = load_qwen_agent("qwen_agent.llm.base")
    schema = load_qwen_agent("qwen_agent.llm.schema")
    calling = load_qwen_agent("qwen_agent.llm.function_calling").BaseFnCallModel

    class StandIn(calling):
        says: list[Any]
        asked: list[tuple[list[Any], dict[str, Any]]]

        def _chat_stream(self, messages: list[Any], delta_stream: bool, generate_cfg: dict[str, Any]) -> Iterator[Any]:
            self.asked.append((messages, generate_cfg))
            said = self.says.pop(0)
            for end in range(1, len(said) + 1):
                if isinstance(said[end - 1], Exception):
                    raise said[end - 1]
                yield [schema.Message("assistant", "".join(said[:end]))]

        def _chat_no_stream(self, messages: list[Any], generate_cfg: dict[str, Any]) -> list[Any]:
            raise NotImplementedError

    StandIn.says, StandIn.asked = [], []
    llm.register_llm("qianda_stand_in")(StandIn)
    return StandIn


BACKEND = {"model": "qwen3-8b", "model_type": "qianda_stand_in"}


async def test_its_backend_drives_our_agent(stand_in: Any) -> None:
    stand_in.says[:] = [["I look.\n<tool", '_call>\n{"name": "weather", "arguments": {"ci', 'ty": "X"}}\n</tool_call>']]
    stand_in.says.append(["It is", " sunny."])
    agent = Agent(server=qwen_agent_server({**BACKEND, "generate_cfg": {"top_p": 0.5}}), tools=[weather])
    async with agent.stream("Weather?") as run:
        texts = [event.text async for event in run if event.type == "text_delta"]
    assert texts == ["I look.\n", "It is", " sunny."]
    assert [message.content for message in run.result.messages if isinstance(message, ToolMessage)] == [
        "sunny in X for 1"
    ]
    messages, settings = stand_in.asked[-1]
    assert messages[-1].content == "<tool_response>\nsunny in X for 1\n</tool_response>"
    assert (settings["top_p"], settings["temperature"]) == (0.5, 0.6)


async def test_failures_of_a_backend(stand_in: Any) -> None:
    failure = partial(load_qwen_agent("qwen_agent.llm.base").ModelServiceError, code="InvalidParameter")
    agent = Agent(server=qwen_agent_server(BACKEND))
    stand_in.says[:] = [[failure(message="temperature is wrong")]]
    with pytest.raises(ServerRefused, match="temperature is wrong"):
        await agent.run("Hi")
    stand_in.says[:] = [["Hel", failure(message="Repetitive")]]
    with pytest.raises(ServerRefused, match="Repetitive"):
        await agent.run("Hi")
    stand_in.says[:] = [[ZeroDivisionError("in its code")]]
    with pytest.raises(ServerRefused, match="in its code"):
        await agent.run("Hi")
    with pytest.raises(ConfigurationError, match="does not take these settings: Please set model_type"):
        await Agent(server=qwen_agent_server({"model_type": "nothing"})).run("Hi")
    with pytest.raises(ConfigurationError, match="is no backend"):
        qwen_agent_server(3)


class DashScope(LoopbackServer):
    """DashScope's own interface, not the compatible one: answers with the deltas of messages."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        super().__init__()
        self.answers = list(answers)

    async def answer(self, request: Request, response: Response) -> None:
        answer = self.answers.pop(0)
        if "code" in answer[0]:
            await response.send_json(400, {**answer[0], "request_id": "r"})
            return
        await response.start(200, {"content-type": "text/event-stream"})
        for at, message in enumerate(answer, 1):
            choice = {
                "message": {"role": "assistant", **message},
                "finish_reason": "null" if at < len(answer) else "stop",
            }
            usage = {"input_tokens": 12, "output_tokens": at}
            data = json.dumps({"output": {"choices": [choice]}, "usage": usage, "request_id": "r"})
            await response.write(f"id:{at}\nevent:result\n:HTTP_STATUS/200\ndata:{data}\n\n".encode())
        await response.end()

    def asked(self) -> list[Any]:
        return [(request.path, request.json()) for request in self.received]


@pytest.fixture
def dashscope(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Qwen-Agent sets in the SDK for the whole process is put back."""
    sdk = load_qwen_agent("dashscope")
    monkeypatch.setattr(sdk, "base_http_api_url", sdk.base_http_api_url)
    monkeypatch.setattr(sdk, "api_key", sdk.api_key)


@pytest.mark.usefixtures("dashscope")
async def test_dashscopes_own_interface() -> None:
    call = {"id": "call_7", "type": "function", "index": 0, "function": {"name": "weather", "arguments": '{"city": '}}
    rest = {"id": "", "type": "function", "index": 0, "function": {"name": "", "arguments": '"X"}'}}
    first = [
        {"content": "", "reasoning_content": "Let me"},
        {"content": "", "reasoning_content": " look"},
        {"content": "", "tool_calls": [call]},
        {"content": "", "tool_calls": [rest]},
    ]
    async with DashScope(first, [{"content": "It is"}, {"content": " sunny."}]) as server:
        settings = {"model": "qwen-plus", "model_type": "qwen_dashscope", "api_key": "sk-test"}
        backend = qwen_agent_server({**settings, "base_http_api_url": f"{server.origin}/api/v1"})
        result = await Agent(server=backend, tools=[weather], thinking=True).run("Weather?")
        (path, body), (_, again) = server.asked()
    assert path == "/api/v1/services/aigc/text-generation/generation"
    assert (result.output, result.usage.input_tokens, result.usage.output_tokens) == ("It is sunny.", 24, 6)
    reply = result.messages[1]
    assert isinstance(reply, AssistantMessage)
    assert (reply.reasoning, reply.tool_calls[0].id) == ("Let me look", "call_7")
    assert body["parameters"]["enable_thinking"] is True
    assert body["parameters"]["tools"][0]["function"]["name"] == "weather"
    assert [message["role"] for message in again["input"]["messages"]] == ["user", "assistant", "tool"]


@pytest.mark.usefixtures("dashscope")
async def test_audio_goes_to_dashscope_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with DashScope([{"content": [{"text": "A "}]}, {"content": [{"text": "bell."}]}]) as server:
        monkeypatch.setenv("DASHSCOPE_HTTP_URL", f"{server.origin}/api/v1")
        endpoint = await resolve(
            server="qwen-agent:qwenaudio_dashscope",
            model="qwen-audio-turbo-latest",
            api_key="sk-test",
            config=load_config(tmp_path),
        )
        sound = MediaPart("audio", "data:audio/wav;base64,UklGRg==")
        result = await Agent(server=endpoint).run([TextPart("What is it?"), sound])
        [(path, body)] = server.asked()
    assert result.output == "A bell."
    assert path == "/api/v1/services/aigc/multimodal-generation/generation"
    assert body["input"]["messages"][-1]["content"] == [
        {"text": "What is it?"},
        {"audio": "data:audio/wav;base64,UklGRg=="},
    ]


@pytest.mark.usefixtures("dashscope")
async def test_the_program_with_its_backend(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with DashScope([{"content": "I am Qwen."}]) as server:
        monkeypatch.setenv("DASHSCOPE_HTTP_URL", f"{server.origin}/api/v1")
        assert await run_program(PROGRAMS[2].replace("sk-…", "sk-test"), server, capsys) == "I am Qwen.\n"


@pytest.mark.usefixtures("dashscope")
async def test_refusals_of_dashscope() -> None:
    settings = {"model": "qwen-plus", "model_type": "qwen_dashscope", "api_key": "sk-test"}
    refusal = {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}
    async with DashScope([refusal]) as server:
        agent = Agent(server=qwen_agent_server({**settings, "base_http_api_url": f"{server.origin}/api/v1"}))
        with pytest.raises(ServerRefused, match="inappropriate content"):
            await agent.run("Hi")


@pytest.mark.usefixtures("dashscope")
async def test_a_broken_connection_is_worth_another_try() -> None:
    settings = {"model": "qwen-plus", "model_type": "qwen_dashscope", "api_key": "sk-test"}
    async with DashScope() as server:
        url = f"{server.origin}/api/v1"
    causes: list[str] = []
    async with Agent(server=qwen_agent_server({**settings, "base_http_api_url": url})).stream("Hi") as run:
        async for event in run:
            if isinstance(event, Retrying):
                causes.append(event.cause)
                run.cancel()
    assert causes[0].startswith("Qwen-Agent's backend has no connection: ConnectionError")
