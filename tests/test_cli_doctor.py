"""``qianda doctor``: what it says of servers that are set up well, badly, or are none."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from qianda.cli.doctor_report import Progress
from qianda.cli.main import main
from qianda.cli.terminal import Terminal
from qianda.models.config import data_dir
from qianda.models.http import open_http
from qianda.models.probes import Finding, probe
from qianda.models.profile_cache import profiles_path, recall
from qianda.models.resolve import resolve
from qianda.testing import Call, Fault, ScriptedServer, Turn, serving

Body = dict[str, Any]
HERMES = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
XML = "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>"
NO_PARSER = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'


def error(code: int, message: str) -> Fault:
    return Fault.status(code, body={"error": {"message": message, "type": "BadRequestError", "code": code}})


def which(body: Body) -> str:
    """The probe that a request belongs to."""
    if body.get("tools"):
        return "tools"
    if body.get("response_format"):
        return "structured"
    if isinstance(body["messages"][-1]["content"], list):
        return "images"
    return "reasoning" if body.get("chat_template_kwargs", {}).get("enable_thinking") else "switch"


def server(model: str = "Qwen/Qwen3-8B", *, window: int = 32_768, **answers: Turn | Fault) -> ScriptedServer:
    """One that does everything right but for what is given by probe."""
    right: dict[str, Turn | Fault] = {
        "tools": Turn(calls=[Call("get_weather", {"city": "Paris"})]),
        "reasoning": Turn("391", reasoning="17 times 20 is 340."),
        "switch": Turn("391"),
        "structured": Turn('{"verdict": "blue"}'),
        "images": Turn("Red."),
    }
    say: Callable[[Body], Turn | Fault] = lambda body: (right | answers)[which(body)]  # noqa: E731  # one expression
    return ScriptedServer(default=say, model=model, window=window)


Look = Callable[..., tuple[int, Body, str]]


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str]) -> Look:
    """Run the doctor on a server: its exit code, its JSON with findings by check, and its text."""

    def run(tested: ScriptedServer, *options: str) -> tuple[int, Body, str]:
        with serving(tested) as opened:
            main(["doctor", opened.url, *options])
            shown = capsys.readouterr().out
            code = main(["doctor", opened.url, "--json", *options])
        report = json.loads(capsys.readouterr().out)
        return code, report | {finding["check"]: finding for finding in report["findings"]}, shown

    return run


def test_a_server_that_is_set_up_well(look: Look) -> None:
    started = time.monotonic()
    code, report, shown = look(server())
    assert time.monotonic() - started < 10
    assert code == 0
    assert {finding["status"] for finding in report["findings"]} == {"ok"}
    assert [finding["check"] for finding in report["findings"]] == [
        "answers",
        "window",
        "tools",
        "reasoning",
        "switch",
        "structured",
        "images",
    ]
    assert report["version"] == "0.32.0"
    assert (report["family"], report["qwen"]) == ("Qwen3", True)
    assert "version 0.32.0" in shown
    assert "cure" not in shown


@pytest.mark.parametrize(
    ("model", "answer", "fact", "cure", "meanwhile"),
    [
        ("Qwen3-8B", Turn(raw=HERMES), "text", "--enable-auto-tool-choice --tool-call-parser hermes", "from the text"),
        ("Qwen3.5-9B", Turn(raw=XML), "text", "--tool-call-parser qwen3_coder", "from the text"),
        ("Qwen3-8B", error(400, NO_PARSER), "refused", "--enable-auto-tool-choice", "tool_choice none"),
        ("Qwen3-8B", error(400, "this model has no tools"), "unsupported", "--tool-call-parser", "refuses"),
    ],
)
def test_a_tool_parser_that_is_off(
    look: Look, model: str, answer: Turn | Fault, fact: str, cure: str, meanwhile: str
) -> None:
    code, report, shown = look(server(model, tools=answer))
    finding = report["tools"]
    assert code == 0
    assert (finding["status"], finding["fact"]) == ("problem", fact)
    assert cure in finding["cure"]
    assert cure in shown
    assert meanwhile in finding["meanwhile"]


def test_a_tool_parser_for_another_format_loses_the_call(look: Look) -> None:
    # What vLLM streams of an XML call with the Hermes parser: nothing but the count of tokens.
    from qianda.models.messages import Usage

    _, report, _ = look(server("Qwen3-Coder-30B-A3B", tools=Turn(usage=Usage(300, 31))))
    assert (report["tools"]["status"], report["tools"]["fact"]) == ("problem", "gone")
    assert "31 tokens" in report["tools"]["seen"]
    assert "qwen3_coder" in report["tools"]["cure"]


def test_no_call_is_no_evidence(look: Look) -> None:
    _, report, _ = look(server(tools=Turn("It is sunny.")))
    assert report["tools"]["status"] == "unknown"
    assert "It is sunny." in report["tools"]["seen"]


@pytest.mark.parametrize(
    ("model", "raw"), [("Qwen3-8B", "<think>\nWell, 340 …"), ("Qwen3.6-27B", "Well, 340 and 51.\n</think>\n\n391")]
)
def test_a_reasoning_parser_that_is_off(look: Look, model: str, raw: str) -> None:
    _, report, _ = look(server(model, reasoning=Turn(raw=raw)))
    assert (report["reasoning"]["status"], report["reasoning"]["fact"]) == ("problem", "inline")
    assert "--reasoning-parser qwen3" in report["reasoning"]["cure"]


@pytest.mark.parametrize("turn", [Turn("391", reasoning="Well."), Turn(raw="<think>\nWell.</think>391")])
def test_a_thinking_switch_that_does_nothing(look: Look, turn: Turn) -> None:
    _, report, _ = look(server(switch=turn))
    assert (report["switch"]["status"], report["switch"]["fact"]) == ("problem", "dead")
    assert "--chat-template" in report["switch"]["cure"]


def test_a_model_that_does_not_think_is_not_asked_to(look: Look) -> None:
    tested = server("Qwen2.5-7B-Instruct")
    _, report, _ = look(tested)
    assert "reasoning" not in report
    assert "switch" not in report
    assert {which(body) for body in tested.requests} == {"tools", "structured", "images"}


@pytest.mark.parametrize(
    ("answer", "fact"), [(Turn("Blue."), "ignored"), (error(400, "response_format is not supported"), "refused")]
)
def test_schemas_that_do_not_hold(look: Look, answer: Turn | Fault, fact: str) -> None:
    _, report, _ = look(server(structured=answer))
    assert (report["structured"]["status"], report["structured"]["fact"]) == ("problem", fact)
    assert "asks again" in report["structured"]["meanwhile"]


def test_a_model_without_images_has_no_problem(look: Look) -> None:
    _, report, shown = look(server(images=error(400, "At most 0 image(s) may be provided")))
    assert report["images"]["status"] == "no"
    assert "At most 0 image(s)" in shown


def test_images_that_the_model_does_not_see(look: Look) -> None:
    _, report, _ = look(server(images=Turn("There is no picture.")))
    assert report["images"]["status"] == "unknown"


def test_a_window_that_is_too_small(look: Look) -> None:
    code, report, shown = look(server(window=4_096))
    assert code == 0
    assert report["window"]["status"] == "problem"
    assert "--max-model-len 32768" in shown


async def probed(tested: ScriptedServer, **bounds: float) -> dict[str, Finding]:
    async with tested:
        endpoint = await resolve(server=tested.url)
        async with open_http(tested.url) as http:
            return {finding.check: finding for finding in await probe(endpoint, http, **bounds)}


async def test_a_probe_that_is_too_slow_to_tell_is_cut_off_alone() -> None:
    findings = await probed(server(tools=Turn(fault=Fault.hang(after=1))), seconds=30, each=1)
    assert findings["tools"].status == "unknown"
    assert "not known yet: the server was too slow" in findings["tools"].seen
    assert findings["switch"].status == "ok"


async def test_one_slot_is_not_asked_twice_at_once_and_the_whole_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qianda.models.listening.one_slot", lambda _: True)
    tested = server(tools=Turn(fault=Fault.hang(after=1)))
    findings = await probed(tested, seconds=0.5)
    # The first one used up the time; none of the others was sent.
    assert {which(body) for body in tested.requests} == {"tools"}
    assert {findings[check].status for check in ("tools", "reasoning", "images")} == {"unknown"}


def test_a_server_that_never_answers_ends_it_in_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("qianda.cli.doctor.QUICK_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert main(["doctor", f"http://127.0.0.1:{silent.getsockname()[1]}/v1", "--json"]) == 5
    captured = capsys.readouterr()
    assert "did not answer within 0 s" in captured.err
    assert "--full waits longer" in captured.err
    assert json.loads(captured.out)["usable"] is False


def test_an_older_vllm_that_knows_schemas_by_another_field(look: Look) -> None:
    def older(body: Body) -> Turn | Fault:
        if body.get("response_format"):
            return error(400, "Input should be 'text' or 'json_object'")
        return Turn('{"verdict": "blue"}') if "guided_json" in body else Turn("391")

    _, report, _ = look(ScriptedServer(default=older, model="Qwen2.5-7B-Instruct", window=32_768))
    assert (report["structured"]["status"], report["structured"]["fact"]) == ("ok", "older")
    assert "guided_json" in report["structured"]["seen"]


@pytest.mark.parametrize("model", ["Qwen2.5-VL-7B-Instruct", "Qwen3.5-9B"])
def test_a_model_that_reads_images_on_a_server_that_takes_none(look: Look, model: str) -> None:
    _, report, shown = look(server(model, images=error(400, "At most 0 image(s) may be provided")))
    assert (report["images"]["status"], report["images"]["fact"]) == ("problem", "blind")
    assert "without --limit-mm-per-prompt" in shown
    assert "can do nothing" in shown


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_what_is_being_done_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown: list[str] = []
    for err in (Screen(), io.StringIO()):
        progress = Progress(Terminal(io.StringIO(), err, interactive=True, colour=False, unicode=True))
        progress.show("Asking\x1b a server …")
        progress.clear()
        shown.append(err.getvalue())
    assert shown == ["\r\x1b[2KAsking\\x1b a server …\r\x1b[2K", ""]


def test_a_server_that_refuses_everything_cannot_be_used(look: Look, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ScriptedServer(default=error(500, "CUDA out of memory"))) as opened:
        assert main(["doctor", opened.url]) == 5
    captured = capsys.readouterr()
    assert "CUDA out of memory" in captured.err
    assert captured.err.count("\n") == 1


def test_a_model_that_is_no_qwen_works_all_the_same(look: Look) -> None:
    code, report, shown = look(server("meta-llama/Llama-3.1-8B-Instruct"))
    assert code == 0
    assert report["qwen"] is False
    assert "not a Qwen: works all the same" in shown
    assert report["tools"]["status"] == "ok"


def test_a_model_that_is_no_qwen_is_not_told_a_parser_of_qwen(look: Look) -> None:
    raw = Turn(raw="<think>\nWell, 340 …")
    _, report, _ = look(server("meta-llama/Llama-3.1-8B-Instruct", tools=error(400, NO_PARSER), reasoning=raw))
    assert "--tool-call-parser NAME (NAME: the one that the server's manual has" in report["tools"]["cure"]
    assert "--reasoning-parser NAME (NAME: " in report["reasoning"]["cure"]
    assert "qwen" not in (report["tools"]["cure"] + report["reasoning"]["cure"]).lower()


def test_a_closed_port(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ScriptedServer()) as opened:
        url = opened.url
    assert main(["doctor", url]) == 5
    captured = capsys.readouterr()
    assert f"No server answers at {url}" in captured.err
    assert "Start it, or choose another" in captured.err
    assert "(what answers: " in captured.err
    assert captured.err.count("\n") == 1


def test_a_plain_web_server(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ScriptedServer()) as opened:
        assert main(["doctor", f"{opened.origin}/shop"]) == 5
    captured = capsys.readouterr()
    assert "not a model server" in captured.err
    assert "most end in /v1" in captured.err


def test_what_was_found_is_kept_for_runs_and_tells_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QIANDA_API_KEY", "sk-very-secret")
    tested = server(tools=error(400, NO_PARSER))
    tested.api_key = "sk-very-secret"
    with serving(tested) as opened:
        assert main(["doctor", opened.url]) == 0
        profile = recall(opened.url, "Qwen/Qwen3-8B")
    capsys.readouterr()
    assert profile.version == "0.32.0"
    assert profile.facts["tools"] == "refused"
    assert profile.fields == {"tool_choice": "none"}
    assert profiles_path().parent == data_dir()
    assert profiles_path().stat().st_mode & 0o777 == 0o600
    assert "sk-very-secret" not in profiles_path().read_text()


def test_what_there_was_no_time_for_stays_as_it_was_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [Turn(fault=Fault.hang(after=1)), error(400, NO_PARSER)]
    tested = ScriptedServer(default=lambda body: answers[-1] if body.get("tools") else Turn("391"), window=32_768)
    with serving(tested) as opened:
        main(["doctor", opened.url])
        answers.pop()
        monkeypatch.setattr("qianda.cli.doctor.QUICK_SECONDS", 2)
        main(["doctor", opened.url])
        assert "not known yet" in capsys.readouterr().out
        assert recall(opened.url, "qwen3-8b").facts["tools"] == "refused"


def test_a_report_to_share(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    monkeypatch.setenv("QIANDA_API_KEY", "sk-very-secret")
    tested = server("/home/ada/models/Qwen3-8B", tools=error(400, f"{NO_PARSER}: sk-very-secret at /home/ada"))
    tested.api_key = "sk-very-secret"
    with serving(tested) as opened:
        assert main(["doctor", opened.url, "--report", "report.md"]) == 0
        port = opened.url.partition("127.0.0.1:")[2].partition("/")[0]
    assert "report.md" in capsys.readouterr().err
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "- model: Qwen3-8B\n" in report
    assert "| tool calls | problem |" in report
    assert "--tool-call-parser hermes" in report
    for secret in ("sk-very-secret", port, "/home/ada/models"):
        assert secret not in report


def test_a_report_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(server()) as opened:
        assert main(["doctor", opened.url, "--report", "missing/report.md"]) == 2
    assert "missing/report.md" in capsys.readouterr().err
