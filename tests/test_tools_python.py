"""The Python interpreter keeps its state for a conversation, shows plots, and is never left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent
from qianda.models.messages import MediaPart, TextPart
from qianda.testing import Call, ScriptedServer, Turn, serving
from qianda.tools import Context, ToolResult, python
from qianda.tools.builtin import kernel
from qianda.tools.builtin.kernel import Kernel, short_traceback

(TOOL,) = python()


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path) -> Iterator[None]:
    """No interpreter of a test outlives it."""
    yield
    assert running(tmp_path) == []


def running(folder: Path) -> list[str]:
    """Interpreters that work in a folder."""
    found = subprocess.run(["pgrep", "-f", "ipykernel_launcher"], capture_output=True, text=True, check=False)
    links = [Path(f"/proc/{pid}/cwd") for pid in found.stdout.split()]
    return [str(link) for link in links if link.exists() and link.resolve() == folder]


async def run(context: Context, code: str, **arguments: Any) -> str:
    result: ToolResult = await TOOL.call({"code": code, **arguments}, context)
    assert isinstance(result.content, str)
    return ("FAILED " if result.failed else "") + result.content


async def test_variables_stay_and_errors_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "42")
    shown: list[str] = []
    async with AsyncExitStack() as closing:
        context = Context(workspace=tmp_path, closing=closing, progress=shown.append)
        assert await run(context, "x = 21\nprint('你好')\nx * 2") == "你好\n42"
        assert shown == ["你好\n"]
        assert await run(context, "x += 1") == "(no output; print what you want to see)"
        assert await run(context, "import os\nprint(x, os.getcwd(), os.environ.get('MY_API_KEY'))") == (
            f"22 {tmp_path} None"
        )
        assert await run(context, "def f(n):\n    return f(n - 1) if n else 1 / 0\nf(9)") == (
            "FAILED Traceback (most recent call last):\n  Cell In[4], line 3\n    f(9)\n  (8 frames left out)\n"
            "  Cell In[4], line 2 in f\n    return f(n - 1) if n else 1 / 0\n"
            "  Cell In[4], line 2 in f\n    return f(n - 1) if n else 1 / 0\nZeroDivisionError: division by zero"
        )
        assert "SyntaxError: invalid syntax" in await run(context, "x = +")
        assert "does not support input" in await run(context, "input()")
        assert await run(context, "import subprocess; print(subprocess.getoutput('echo $((6 * 7))'))") == "42"
        long = await run(context, "print('y' * 5_000_000)")
        assert len(long) < 21_000
        assert "left out here" in long
        stopped = await run(context, "print('on it', flush=True)\nwhile True: pass", timeout=1)
        assert stopped.startswith("FAILED on it\nTraceback")
        assert stopped.endswith("[stopped: it did not finish within 1 s; the variables are kept]")
        assert await run(context, "x") == "22"


async def test_an_interpreter_that_dies_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_INTERRUPT_SECONDS", 0.5)
    async with AsyncExitStack() as closing:
        context = Context(workspace=tmp_path, closing=closing)
        assert await run(context, "x = 1\nimport os; os.kill(os.getpid(), 9)") == (
            "FAILED [the interpreter is gone: it was killed by SIGKILL; the next call starts a new one, "
            "without the variables]"
        )
        deaf = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
        assert "NameError: name 'x'" in await run(context, "x")
        assert "the interpreter is gone: it did not stop after 1 s" in await run(context, deaf, timeout=1)
        assert running(tmp_path) == []


async def test_a_cancelled_call_leaves_an_interpreter_that_can_be_used(tmp_path: Path) -> None:
    begun = asyncio.Event()
    async with AsyncExitStack() as closing:
        context = Context(workspace=tmp_path, closing=closing, progress=lambda _: begun.set())
        call = asyncio.create_task(run(context, "x = 5; print('begun', flush=True)\nwhile True: pass"))
        async with asyncio.timeout(50):
            await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await run(context, "x") == "5"


async def test_a_plot_is_seen_by_the_model_and_the_run_ends_its_interpreter(tmp_path: Path) -> None:
    plot = "import matplotlib.pyplot as plt\nplt.plot(data)\nplt.show()"
    calls = [Turn(calls=[Call("python", {"code": code})]) for code in ("data = [1, 4, 9]", plot)]
    with serving(ScriptedServer(*calls, "It rises.", model="qwen3-vl-8b")) as server:
        agent = Agent(server=server.url, tools=python(), permissions="auto", workspace=tmp_path, sandbox="off")
        async with agent:
            result = await agent.run("Plot the data.")
            assert running(tmp_path) == []  # the run's own, although the agent goes on
        sent = str(server.requests[-1]["messages"])
    assert result.output == "It rises."
    assert "data:image/png;base64,iVBOR" in sent
    content = next(m.content for m in reversed(result.messages) if m.role == "tool")
    assert [type(part) for part in content] == [TextPart, MediaPart]


async def test_a_session_keeps_its_variables_from_run_to_run(tmp_path: Path) -> None:
    calls = [Turn(calls=[Call("python", {"code": code})]) for code in ("x = 'kept'", "x")]
    with serving(ScriptedServer(calls[0], "Done.", calls[1], "Yes.")) as server:
        agent = Agent(server=server.url, tools=python(), permissions="auto", workspace=tmp_path, sandbox="off")
        async with agent:
            session = agent.session("work")
            await session.run("Remember.")
            await session.run("Recall.")
            assert len(running(tmp_path)) == 1
        assert "'kept'" in str(server.requests[-1]["messages"])
    assert running(tmp_path) == []


async def test_served_over_mcp_it_keeps_its_variables_until_the_client_goes(tmp_path: Path) -> None:
    from mcp import Client, StdioServerParameters, stdio_client
    from mcp_types import TextContent

    options = StdioServerParameters(command=sys.executable, args=["-m", "qianda.mcp_servers", "python"], cwd=tmp_path)
    async with asyncio.timeout(50), Client(stdio_client(options)) as client:
        await asyncio.gather(*(client.call_tool("python", {"code": code}) for code in ("x = 6", "y = 7")))
        answer = (await client.call_tool("python", {"code": "x * y"})).content[0]
        assert isinstance(answer, TextContent)
        assert answer.text == "42"


async def test_where_nothing_can_be_kept_each_call_has_its_own(tmp_path: Path) -> None:
    assert await run(Context(workspace=tmp_path), "6 * 7") == "42"
    assert running(tmp_path) == []


async def test_missing_packages_are_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "find_spec", lambda _: None)
    assert await run(Context(workspace=tmp_path), "1") == (
        "FAILED this needs packages that are not installed; tell the user: pip install 'qianda[python]'"
    )


async def test_one_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel.sys, "executable", "/bin/false")
    with pytest.raises(Exception, match="does not start: it says nothing"):
        await Kernel.start(tmp_path, None)


def test_colours_and_rulers_are_taken_out_of_tracebacks() -> None:
    lines = ["\x1b[31mTraceback\x1b[0m (most recent call last):", "", "  Cell In[1], line 1\n    x", "NameError: x"]
    assert short_traceback(lines) == "Traceback (most recent call last):\n  Cell In[1], line 1\n    x\nNameError: x\n"
