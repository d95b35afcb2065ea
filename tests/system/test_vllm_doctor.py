"""``qianda doctor`` on a real vLLM that is set up well, without parsers, and with the parser of another format."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from qianda import Agent
from qianda.cli.main import main

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

HERMES = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
XML = "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>"
TEXT = {"hermes": HERMES, "xml": XML, "bare": HERMES}

Look = Callable[..., dict[str, Any]]


def on(*configurations: str) -> Any:
    return pytest.mark.parametrize("vllm", configurations, indirect=True)


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Look:
    """The doctor's report on a server, its findings by check."""
    # All the time that a busy machine may need: here it is what is found that counts.
    monkeypatch.setattr("qianda.cli.doctor.QUICK_SECONDS", 100)

    def run(vllm: Any, model: str, call: str, thought: str | None = "17 times 20 is 340.") -> dict[str, Any]:
        vllm.say_to(
            {
                "What is the weather in Paris now?": [{"thought": thought, "text": call}],
                "What is 17 times 23?": [{"thought": thought, "text": "391"}],
                "Which colour has a clear sky": [{"thought": thought, "text": '{"verdict": "blue"}'}],
            }
        )
        assert main(["doctor", vllm.url, "--model", model, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        return report | {finding["check"]: finding for finding in report["findings"]}

    return run


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {finding["check"]: finding["status"] for finding in report["findings"]}


async def runs(vllm: Any, model: str, call: str, thought: str | None = "I ask.") -> None:
    """A run on the server, as found, makes the call."""
    cities: list[str] = []

    def get_weather(city: str) -> str:
        """The weather."""
        cities.append(city)
        return "Sunny."

    marker = vllm.say({"thought": thought, "text": call}, {"thought": thought, "text": "It is sunny."})
    result = await Agent(server=vllm.url, model=model, tools=[get_weather]).run(f"The weather? {marker}")
    assert (result.output, cities, result.usage.requests) == ("It is sunny.", ["Paris"], 2)


@on("hermes", "xml")
def test_a_server_that_is_set_up_well(vllm: Any, look: Look) -> None:
    report = look(vllm, vllm.models[0], TEXT[vllm.configuration])
    assert (report["kind"], report["version"], report["qwen"]) == ("vllm", "0.32.0", True)
    assert report["window"]["seen"] == "32,768 tokens"
    assert statuses(report) == {
        "answers": "ok",
        "window": "ok",
        "tools": "ok",
        "reasoning": "ok",
        "switch": "ok",
        "structured": "ok",
        # Qwen3.5 sees images; this one, of that name, does not.
        "images": "problem" if vllm.configuration == "xml" else "no",
    }


@on("bare")
def test_a_server_without_parsers(vllm: Any, look: Look) -> None:
    report = look(vllm, vllm.models[0], HERMES)
    assert (report["tools"]["status"], report["tools"]["fact"]) == ("problem", "refused")
    assert "--enable-auto-tool-choice --tool-call-parser hermes" in report["tools"]["cure"]
    assert (report["reasoning"]["status"], report["reasoning"]["fact"]) == ("problem", "inline")
    assert "--reasoning-parser qwen3" in report["reasoning"]["cure"]
    assert (report["switch"]["status"], report["structured"]["status"]) == ("ok", "ok")


@on("bare")
async def test_what_was_found_serves_runs(vllm: Any, look: Look) -> None:
    await asyncio.to_thread(look, vllm, vllm.models[0], HERMES)
    await runs(vllm, vllm.models[0], HERMES)


@on("hermes")
async def test_a_parser_of_another_format(vllm: Any, look: Look) -> None:
    coder = vllm.models[1]
    report = await asyncio.to_thread(look, vllm, coder, XML, None)
    assert (report["tools"]["status"], report["tools"]["fact"]) == ("problem", "lost")
    assert "--tool-call-parser qwen3_coder" in report["tools"]["cure"]
    await runs(vllm, coder, XML, None)


@on("hermes")
def test_a_model_that_is_no_qwen(vllm: Any, look: Look) -> None:
    report = look(vllm, vllm.models[2], HERMES)
    assert report["qwen"] is False
    assert report["tools"]["status"] == "ok"
