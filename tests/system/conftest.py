"""A real vLLM on the CPU, which says what a test scripts; one at a time, started when the first test wants it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

LONGEST = ("vllm", "pypi", "llamacpp")
HOUSE = Path(__file__).resolve().parents[2]
WINDOW = 32_768

CODER = "Qwen/Qwen3-Coder-30B-A3B-Instruct"
TOOLS_ON = ["--enable-auto-tool-choice", "--reasoning-parser", "qwen3", "--tool-call-parser"]
# The first name is the model's that fits the configuration, the others are for what does not.
CONFIGURATIONS = {
    "hermes": (["Qwen/Qwen3-8B", CODER, "meta-llama/Llama-3.1-8B-Instruct"], [*TOOLS_ON, "hermes"]),
    "xml": (
        ["Qwen/Qwen3.5-9B"],
        [*TOOLS_ON, "qwen3_coder", "--chat-template", str(HOUSE / "tests/fixtures/qwen3.5/chat_template.jinja")],
    ),
    "bare": (["Qwen/Qwen3-8B"], []),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first, so that two processes are ready at about the same time (``make test-system``)."""

    def place(item: pytest.Item) -> int:
        return next((at for at, mark in enumerate(LONGEST) if item.get_closest_marker(mark)), len(LONGEST))

    items.sort(key=place)


class VLLM:
    """A vLLM that runs.

    Args:
        configuration: which one of ``CONFIGURATIONS``.
        url: its base URL.
        script: the file in which it looks up what to say.
    """

    def __init__(self, configuration: str, url: str, script: Path) -> None:
        self.configuration = configuration
        self.url = url
        self.models = CONFIGURATIONS[configuration][0]
        self._script = script
        self._numbers = itertools.count()

    def say(self, *replies: Mapping[str, str | None]) -> str:
        """Answer the next conversation by these replies, one per request.

        Returns:
            The marker that its prompt must hold.
        """
        marker = f"(Conversation {next(self._numbers)}.)"
        self.say_to({marker: replies})
        return marker

    def say_to(self, script: Mapping[str, Sequence[Mapping[str, str | None]]]) -> None:
        """From now on, answer conversations by what their prompts hold."""
        draft = self._script.with_suffix(".draft")
        draft.write_text(json.dumps(script), encoding="utf-8")
        draft.replace(self._script)


def _start(configuration: str, parts: Path, folder: Path) -> tuple[subprocess.Popen[str], str, Path]:
    """Start one and wait until it listens."""
    names, options = CONFIGURATIONS[configuration]
    script = folder / "script.json"
    script.write_text("{}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [parts / "venv/bin/python", "-m", "vllm.entrypoints.openai.api_server", "--model", parts / "model"]
    command += ["--served-model-name", *names, "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--max-model-len", str(WINDOW), "--max-num-seqs", "8"]
    command += ["--logits-processors", "scripted_tokens:ScriptedTokens", *options]
    environment = {
        **os.environ,
        "HOME": str(folder),
        "PYTHONPATH": str(HOUSE / "tests/servers"),
        "SCRIPTED_TOKENS": str(script),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    process = subprocess.Popen(
        [str(word) for word in command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: list[str] = []
    ready = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                lines.append(line)
                if "Application startup complete" in line:
                    ready.set()
        ready.set()

    threading.Thread(target=read, name=f"vllm-{process.pid}", daemon=True).start()
    told = ready.wait(360)
    if not told or process.poll() is not None:
        _stop(process)
        pytest.fail(f"vLLM did not start: {''.join(lines[-40:])}")
    return process, f"http://127.0.0.1:{port}/v1", script


def _stop(process: subprocess.Popen[str]) -> None:
    """End the server and the processes of its engine."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for thread in threading.enumerate():
        if thread.name == f"vllm-{process.pid}":
            thread.join(30)  # it closes the pipe when the last process of the engine is gone


@pytest.fixture(scope="session")
def vllm(request: pytest.FixtureRequest, parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLM]:
    """A vLLM in the configuration that the test names as parameter; pytest groups the tests by it."""
    process, url, script = _start(request.param, parts / "vllm", tmp_path_factory.mktemp("vllm"))
    yield VLLM(request.param, url, script)
    _stop(process)
