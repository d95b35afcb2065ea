"""The protocol's own TypeScript client drives ``qianda acp``: an approval, a denial, a stop, and the session loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qianda.testing import Call, Fault, ScriptedServer, Turn, serving

pytestmark = pytest.mark.node
DRIVER = Path(__file__).with_name("acp_client.mjs")


def drive(parts: Path, server: ScriptedServer, scenario: dict[str, Any]) -> dict[str, Any]:
    """What the agent said and asked while the client went through a scenario."""
    sdk = parts / "acp/npm/node_modules/@agentclientprotocol/sdk/dist/v1/stable/acp.js"
    if not sdk.is_file():
        pytest.skip("the TypeScript client is not here: tests/system/setup_acp.sh")
    node = shutil.which("node")
    assert node is not None
    agent = [sys.executable, "-m", "qianda", "acp", "--server", server.url, "--no-sandbox"]
    command = [node, str(DRIVER), str(sdk), json.dumps(scenario), *agent]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def calls(updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each call as it stands after its updates."""
    found: dict[str, dict[str, Any]] = {}
    for update in updates:
        if update["sessionUpdate"] in ("tool_call", "tool_call_update"):
            found.setdefault(update["toolCallId"], {}).update(update)
    return list(found.values())


def text(updates: list[dict[str, Any]], kind: str) -> str:
    return "".join(update["content"]["text"] for update in updates if update["sessionUpdate"] == kind)


def test_an_approval_a_denial_a_stop_and_the_session_loaded(tmp_path: Path, parts: Path) -> None:
    (tmp_path / "price.txt").write_text("price = 14\n")
    edit = Call("edit_file", {"path": "price.txt", "old_text": "14", "new_text": "15"})
    turns = [
        Turn("I change it.", reasoning="Which file?", calls=[edit]),
        Turn("Changed."),
        Turn(calls=[Call("run_command", {"command": "rm price.txt"})]),
        Turn("Then it stays."),
        Turn("One two three " * 50, fault=Fault.hang(after=20)),
        Turn("As before."),
    ]
    with serving(ScriptedServer(*turns, window=32_768)) as server:
        prompts = [
            {"text": "Set it to 15", "answer": "once"},
            {"text": "Remove it", "answer": "no"},
            {"text": "Count", "cancelAt": "two"},
        ]
        said = drive(parts, server, {"cwd": str(tmp_path), "prompts": prompts})
        name = said["session"]["sessionId"]
        again = drive(
            parts, server, {"cwd": str(tmp_path), "load": name, "prompts": [{"text": "And?", "mode": "auto"}]}
        )

    assert said["initialized"]["agentInfo"]["name"] == "qianda"
    assert said["stops"] == ["end_turn", "end_turn", "cancelled"]
    assert said["exit"] == 0
    assert (tmp_path / "price.txt").read_text() == "price = 15\n"
    edited, removed = calls(said["updates"])
    assert (edited["status"], edited["locations"]) == ("completed", [{"path": str(tmp_path / "price.txt"), "line": 1}])
    assert edited["content"] == [
        {"type": "diff", "path": str(tmp_path / "price.txt"), "oldText": "price = 14\n", "newText": "price = 15\n"}
    ]
    assert (removed["status"], removed["title"]) == ("failed", "⊘ Denied: `rm price.txt`")
    first, second = said["asked"]
    assert [option["kind"] for option in first["options"]][:2] == ["reject_once", "allow_once"]
    assert "rm price.txt" in second["toolCall"]["content"][0]["content"]["text"]
    assert text(said["updates"], "agent_thought_chunk").strip() == "Which file?"

    assert [found["sessionId"] for found in again["listed"]["sessions"]] == [name]
    assert again["stops"] == ["end_turn"]
    assert text(again["updates"], "user_message_chunk") == "Set it to 15Remove itCount"
    assert text(again["updates"], "agent_message_chunk").endswith("As before.")
    assert [call["status"] for call in calls(again["updates"])] == ["completed", "failed"]
