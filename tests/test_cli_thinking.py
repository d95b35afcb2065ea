"""``qianda run`` with options of thinking: what reaches the server, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from qianda.cli.main import main
from qianda.testing import ScriptedServer, serving


@pytest.mark.parametrize(
    ("options", "model", "fields"),
    [
        (["--thinking-budget", "500"], "qwen3-8b", {"enable_thinking": True, "thinking_token_budget": 500}),
        (["--effort", "minimal"], "qwen3.8-27b", {"enable_thinking": True, "reasoning_effort": "low"}),
        (["--effort", "none"], "qwen3-8b", {"enable_thinking": False}),
        (["--thinking"], "qwen3-8b", {"enable_thinking": True}),
    ],
)
def test_the_options_reach_the_server(options: list[str], model: str, fields: dict[str, Any]) -> None:
    with serving(ScriptedServer("42", model=model)) as server:
        assert main(["run", "go", "--server", server.url, *options]) == 0
    (request,) = server.requests
    sent = request["chat_template_kwargs"] | request
    assert {name: sent.get(name) for name in fields} == fields


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--no-thinking", "--thinking-budget", "500"], "switched off"),
        (["--effort", "low"], "no levels of thinking effort"),
        (["--effort", "lots"], "lots"),
        (["--thinking-budget", "0"], "--thinking-budget"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    options: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(ScriptedServer()) as server:
        assert main(["run", "go", "--server", server.url, *options]) == 2
    assert server.requests == []
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line
