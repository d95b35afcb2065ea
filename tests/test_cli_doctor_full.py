"""``qianda doctor --full``: a good model passes every check, a bad one fails each for its reason."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from qianda.cli.live_cases import CASES
from qianda.cli.main import main
from qianda.models.errors import ServerUnreachable
from qianda.testing import Call, Fault, ScriptedServer, Turn, serving

Body = dict[str, Any]

CITIES = {
    "Vienna": "sunny",
    "北京": "晴天",
    "大阪": "晴れです",
    "부산": "맑음",
    "القاهرة": "مشمس",
    "Казан": "солнечно",
    "Córdoba": "18 grados",
    "เชียงใหม่": "แดดออก",
}
CODE = 'print("a\\n", \'b\')  # {"x": [1]}'
# What a good model calls, by a piece of the prompt; the first that fits.
CALLS: list[tuple[str, list[Call]]] = [
    ("Paris and in Tokyo", [Call("get_weather", {"city": "Paris"}), Call("get_weather", {"city": "Tokyo"})]),
    ("fahrenheit", [Call("get_weather", {"city": "Paris", "unit": "fahrenheit"})]),
    ("weather in Paris", [Call("get_weather", {"city": "Paris"})]),
    ("And in Tokyo", [Call("get_weather", {"city": "Tokyo"})]),
    ("Which users", [Call("list_users")]),
    ("Ada", [Call("find_user", {"name": "Ada"})]),
    ("Mail 'Lunch'", [Call("send_mail", {"to": ["a@x.org", "b@x.org"], "subject": "Lunch"})]),
    (
        "dinner",
        [Call("plan_dinner", {"place": "Roma", "guests": [{"name": "Ann", "age": 31}, {"name": "Bo", "age": 28}]})],
    ),
    ("Heat", [Call("set_heating", {"room": "kitchen", "degrees": 20.5, "hours": 3, "quiet": True})]),
    ("价格", [Call("write_note", {"text": "价格：¥42，谢谢 😀"})]),
    ("print(", [Call("write_note", {"text": CODE})]),
    ("R&D", [Call("write_note", {"text": "<b>R&D</b> </br>"})]),
    ("Atlantis", [Call("get_weather", {"city": "Atlantis"})]),
    *((city, [Call("get_weather", {"city": city})]) for city in CITIES),
]
ANSWERS = {
    "capital of France": "Paris.",
    "hello in one word": "Hello!",
    "Which city did I": "Paris.",
    "17 times 23": "It is 391.",
    "clear sky": '{"verdict": "blue"}',
    "Which colour": "Red.",
    "secret number": "48213",
    "Ann is 31": '{"name": "Ann", "age": 31}',
    "good mood": '{"people": [{"name": "Ann", "age": 31}, {"name": "Bo", "age": 28}], "mood": "good"}',
}


def good(body: Body) -> Turn:
    """The turn of a model that does what it is asked."""
    last = max(at for at, message in enumerate(body["messages"]) if message["role"] == "user")
    content = body["messages"][last]["content"]
    prompt = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
    results = [message["content"] for message in body["messages"][last + 1 :] if message["role"] == "tool"]
    if body.get("max_tokens") == 16 and "story" in prompt:
        return Turn("Once upon a time", finish="length")
    reasoning = "Let me see." if body.get("chat_template_kwargs", {}).get("enable_thinking") else ""
    if not results and body.get("tools"):
        for piece, calls in CALLS:
            if piece in prompt:
                return Turn(calls=calls, reasoning=reasoning)
    if "balance" in prompt and len(results) == 1:
        return Turn(calls=[Call("get_balance", {"user_id": "U-7731"})])
    said = next((answer for piece, answer in ANSWERS.items() if piece in prompt), "")
    said = said or next((f"{answer} 18°" for city, answer in CITIES.items() if city in prompt), "")
    return Turn(said or " ".join(results), reasoning=reasoning)


def bad(body: Body) -> Turn:
    """The turn of a model that calls nothing, thinks always and knows one sentence, in the wrong tags."""
    return Turn(raw="<think>Hm.</think>I am </tool_call> not sure.")


def test_a_good_model_passes_and_the_report_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with serving(ScriptedServer(default=good, model="qwen3-8b", window=65_536)) as server:
        code = main(["doctor", server.url, "--full", "--report", "report.md"])
    shown = capsys.readouterr()
    assert "✗" not in shown.out, shown.out
    assert code == 0, shown.err
    names = [case.name for case in CASES]
    assert 30 <= len(names) == len(set(names)) < 40
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"{len(names)} of {len(names)} passed" in report
    for name in names:
        assert re.search(rf"^  ✓ .*: {re.escape(name)} \(\d+\.\d s\)$", shown.out, re.MULTILINE)
        assert f"| {name} |" in report


def test_a_bad_model_fails_and_each_failure_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ScriptedServer(default=bad, model="qwen3-8b", window=65_536)) as server:
        code = main(["doctor", server.url, "--full", "--json"])
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    failed = {check["name"]: check["seen"] for check in report["checks"] if check["status"] == "fail"}
    assert code == 1
    assert "live checks failed" in captured.err
    assert len(failed) == len(report["checks"]) - 1
    assert [check["name"] for check in report["checks"] if check["status"] == "skip"] == ["a red square"]
    assert "no call" in failed["one call"]
    assert "it thought" in failed["thinking off"]
    assert "</tool_call> is in the answer" in failed["no tools"]
    assert "not with length" in failed["cut at 16 tokens"]


def test_what_a_model_does_not_have_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    def textual(body: Body) -> Turn | Fault:
        images = isinstance(body["messages"][-1]["content"], list)
        return Fault.status(400, body={"error": {"message": "no image input", "code": 400}}) if images else good(body)

    with serving(ScriptedServer(default=textual, model="Qwen2.5-7B-Instruct", window=8_192)) as server:
        assert main(["doctor", server.url, "--full", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    skipped = {check["name"] for check in report["checks"] if check["status"] == "skip"}
    thinking = {check["name"] for check in report["checks"] if check["about"] == "thinking"} - {"thinking off"}
    assert skipped == {"a red square", "found in 20,000 tokens", *thinking}


def test_ctrl_c_leaves_what_there_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def interrupted(body: Body) -> Turn:
        if "Which users" in str(body["messages"]):
            signal.raise_signal(signal.SIGINT)
        return good(body)

    with serving(ScriptedServer(default=interrupted, model="qwen3-8b", window=65_536)) as server:
        code = main(["doctor", server.url, "--full", "--json", "--report", "report.md"])
    report = json.loads(capsys.readouterr().out)
    statuses = {check["name"]: (check["status"], check["seen"]) for check in report["checks"]}
    assert code == 130
    assert len(statuses) == len(CASES)
    assert statuses["one call"] == ("pass", "")
    assert statuses["found in 20,000 tokens"] == ("skip", "stopped before it was its turn")
    assert "stopped before it was its turn" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_the_whole_is_bounded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("qianda.cli.live_checks.FULL_SECONDS", 0.5)

    def slow(body: Body) -> Turn:
        return Turn(fault=Fault.hang(after=1)) if "Say hello" in str(body["messages"]) else good(body)

    with serving(ScriptedServer(default=slow, model="qwen3-8b", window=65_536)) as server:
        assert main(["doctor", server.url, "--full"]) == 0
    shown = capsys.readouterr().out
    assert "36 of them, 0 minutes at most; Ctrl+C keeps what there is" in shown
    assert re.search(r"\d+ of 36 passed, 0 failed, [1-9]\d* skipped, in \d s\n$", shown)


def test_a_server_that_goes_away_is_not_asked_thirty_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("qianda.cli.live_checks.SIDE_BY_SIDE", 1)

    async def gone(*_: Any) -> Any:
        raise ServerUnreachable("No server answers any more")

    monkeypatch.setattr("qianda.cli.live_checks._run", gone)
    with serving(ScriptedServer(default=good, model="qwen3-8b", window=65_536)) as server:
        assert main(["doctor", server.url, "--full", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [check["status"] for check in checks] == ["fail"] + ["skip"] * (len(CASES) - 1)
    assert {check["seen"] for check in checks[1:]} == {"the server is gone"}
