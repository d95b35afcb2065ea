"""The prompt by a person's keys: suggestions, attachments, the queue, shell commands, the history."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_mcp_features import lively
from test_mcp_features import opened as opened_servers
from test_tui_app import FakeAgent, FakeRun, Person, chatting
from test_tui_prompt_parts import PNG, put
from textual import events
from textual.events import Paste

from qianda.models.config import data_dir
from qianda.models.events import InputReceived
from qianda.models.messages import MediaPart
from qianda.tools.mcp import MCPToolset
from qianda.tools.trust import trust
from qianda.tui.prompt.popup import MOST_ROWS


def shown(person: Person) -> list[str]:
    """The rows of the list above the prompt."""
    return [item.text for item in person.chat.editor.popup.items]


async def offered(person: Person, *texts: str) -> None:
    """Wait until the list has these rows."""
    try:
        await person.until(lambda: set(texts) <= set(shown(person)))
    except TimeoutError:
        pytest.fail(f"{texts} are not among {shown(person)}")


async def presses(person: Person, *keys: str) -> None:
    """Keys as fast as a terminal sends them."""
    for key in keys:
        character = {"slash": "/", "space": " "}.get(key, key if len(key) == 1 else None)
        person.app.post_message(events.Key(key, character))
    await person.pilot.pause()
    await person.pilot.pause()


async def pastes(person: Person, text: str) -> None:
    person.app.post_message(Paste(text))
    before = person.chat.editor.text
    await person.until(lambda: person.chat.editor.text != before)


async def over(person: Person, run: FakeRun | None = None) -> None:
    (run or person.run).done()
    await person.until(lambda: not person.app.chat.busy)


async def test_commands_are_offered_and_chosen_by_keys_and_mouse() -> None:
    async with chatting() as person:
        editor = person.chat.editor
        await presses(person, "slash")
        await offered(person, "/clear", "/help", "/history [TEXT]")
        await person.sees("begin a new conversation")
        assert editor.popup.size.height == MOST_ROWS
        await presses(person, "up")
        assert editor.popup.current == editor.popup.items[-1]
        await presses(person, "down", "down", "tab")
        assert editor.text.startswith("/")
        assert editor.text.endswith(" ")
        assert not shown(person)
        editor.clear()
        await presses(person, *"/hlp")
        assert shown(person)[0] == "/help"
        await presses(person, "escape")
        assert not shown(person)
        assert editor.text == "/hlp"
        await presses(person, *"zz")
        assert not shown(person)  # nothing fits
        editor.clear()
        await presses(person, *"/atta", "enter")
        assert editor.text == "/attach "  # it needs to know what
        editor.clear()
        await presses(person, *"/hel", "enter")
        await person.sees("Keys and commands")
        await presses(person, "escape")
        await presses(person, *"/cle")
        await offered(person, "/clear")
        await person.pilot.click(type(editor.popup), offset=(4, 0))
        await person.until(lambda: len(person.agent.sessions) == 2)
        assert not editor.text
        assert person.app.focused is editor
        await presses(person, "slash")
        assert editor.popup.display
        asked = person.asks()
        await person.sees("Run write_file?")
        await person.until(lambda: not editor.popup.display)  # an approval has the place to itself
        asked.cancel()
        await person.until(lambda: person.app.focused is editor)
        assert editor.text == "/"


async def test_files_are_offered_and_go_with_the_prompt() -> None:
    put(
        {
            "src/main.py": "print(1)\n",
            "src/other.py": "",
            "my notes.txt": "bought milk\n",
            "说明.md": "你好\n",
            ".gitignore": "*.log",
        }
    )
    async with chatting() as person:
        editor = person.chat.editor
        await presses(person, *"see @man")
        await offered(person, "src/main.py")
        await presses(person, "tab", *"and @no")
        assert editor.text == "see @src/main.py and @no"
        await offered(person, "my notes.txt")
        await presses(person, "enter", *"@", "说")
        await offered(person, "说明.md")
        await presses(person, "tab", *"in @src")
        await offered(person, "src/")
        await presses(person, "tab")
        await offered(person, "src/other.py")  # further in
        await presses(person, "enter")
        editor.insert("a@b.example")
        assert not shown(person)
        text = 'see @src/main.py and @"my notes.txt" @说明.md in @src/ a@b.example'
        assert editor.text == text.replace("@src/ ", "@src/main.py ") or editor.text == text
        await presses(person, "enter")
        await person.until(lambda: person.agent.conversation.runs)
        prompt = person.run.prompt
        assert isinstance(prompt, str)
        assert '<file name="src/main.py">\nprint(1)\n</file>' in prompt
        assert '<file name="my notes.txt">\nbought milk\n</file>' in prompt
        assert "你好" in prompt
        await person.sees("▸ with src/main.py, my notes.txt, 说明.md")
        assert "bought milk" not in person.screen()
        person.chat.transcript.action_toggle_block(person.chat.transcript.stack.blocks[0].serial)
        await person.sees("bought milk")
        await person.types("also @src/main.py")
        await presses(person, "escape", "enter")
        await person.until(lambda: person.run.steered)
        assert "print(1)" in str(person.run.steered[0])
        person.run.emit(InputReceived, content=person.run.steered[0], steering=True)
        await over(person)
        await person.types("@.gitignore")
        await presses(person, "escape", "escape", "enter")
        await person.until(lambda: len(person.agent.conversation.runs) == 2)
        await presses(person, "escape")
        await person.until(lambda: editor.text == "@.gitignore")


async def test_a_prompt_with_a_mention_waits_for_a_model() -> None:
    put({"a.txt": "what it says"})
    agent = FakeAgent()
    agent.may_open.clear()
    async with chatting(agent) as person:
        await person.types("read @a.txt ")
        await presses(person, "enter")
        agent.may_open.set()
        await person.until(lambda: agent.conversation.runs)
        assert "what it says" in str(person.run.prompt)


class ServingAgent(FakeAgent):
    """An agent with an MCP server."""

    servers: MCPToolset

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Any]:
        yield SimpleNamespace(mcp=self.servers)


async def test_own_commands_skills_and_what_servers_offer() -> None:
    here = put(
        {
            ".qianda/commands/review.md": "---\ndescription: look it over\n---\nReview $ARGUMENTS with care.",
            ".qianda/skills/baking/SKILL.md": "---\nname: baking\ndescription: bread\n---\nKnead.",
        }
    )
    trust(here)
    agent = ServingAgent()
    _, server = lively()
    async with opened_servers(server) as toolset, chatting(agent) as person:
        agent.servers = toolset
        await presses(person, "slash")
        await offered(person, "/review […]", "/baking […]", "/lively:review language=…")
        await presses(person, *"revi", "tab", *"a.py")
        assert person.chat.editor.text == "/review a.py"
        await presses(person, "enter")
        await person.until(lambda: agent.conversation.runs)
        assert person.run.prompt == "Review a.py with care."
        await over(person)
        for text, prompt in (("/baking now", "Use the skill baking. now"), ("/lively:review Rust", "Rust")):
            await person.types(text)
            count = len(agent.conversation.runs)
            await presses(person, "escape", "enter")
            await person.until(lambda count=count: len(agent.conversation.runs) > count)
            assert prompt in str(person.run.prompt)
            await over(person)
        await person.types("/lively:review")
        await presses(person, "escape", "enter")
        await person.sees("/lively:review: write language=…")
        assert person.chat.editor.text == "/lively:review"
        await presses(person, "space")
        await offered(person, "language=")
        await presses(person, "tab", *"p")
        await offered(person, "python", "perl")
        await presses(person, "down", "tab")
        assert person.chat.editor.text == "/lively:review language=perl "
        person.chat.editor.clear()
        await presses(person, *"@live")
        await person.until(lambda: any(text.startswith("lively:") for text in shown(person)))
        await presses(person, "tab")
        assert person.chat.editor.text.startswith("@lively:")


async def test_a_long_paste_is_a_label_that_is_sent_whole() -> None:
    long = "".join(f"line {number}\r\n" for number in range(1204))
    async with chatting() as person:
        editor = person.chat.editor
        await pastes(person, "short\ttext\r\nin two lines ")
        assert editor.text == "short\ttext\nin two lines "
        await pastes(person, long)
        assert editor.text.endswith("[pasted 1,204 lines]")
        await presses(person, "left", "x")
        assert editor.text.endswith("lines x[pasted 1,204 lines]")
        await presses(person, "delete")
        assert editor.text.endswith("lines x")
        await presses(person, "ctrl+underscore")
        assert editor.text.endswith("lines x[pasted 1,204 lines]")
        await presses(person, "end", "backspace")
        assert editor.text.endswith("lines x")
        await pastes(person, long)
        await pastes(person, long.replace("1", "2"))
        assert editor.text.endswith("[pasted 1,204 lines][pasted 1,204 lines #2]")
        await presses(person, "enter")
        await person.until(lambda: person.agent.conversation.runs)
        assert str(person.run.prompt).count("line 1203\n") == 1
        assert str(person.run.prompt).endswith("line 2203\n")
        await person.sees("more characters")
        assert "line 900" not in person.screen()
        await presses(person, "escape")
        await person.until(lambda: editor.text.endswith("[pasted 1,204 lines #2]"))
        await presses(person, "enter")
        await person.until(lambda: len(person.agent.conversation.runs) == 2)
        assert "line 1203\n" in str(person.run.prompt)


async def test_what_does_not_fit_the_window_becomes_a_file_if_the_person_wants() -> None:
    async with chatting() as person:
        editor = person.chat.editor
        await person.types("sum up ")
        await pastes(person, "0123456 " * 1_250_000)
        assert shown(person) == ["Save as a file and mention it", "Send it all the same"]
        await person.sees("about 2,500,000 tokens; the window has 32,768")
        await presses(person, "escape")
        assert not shown(person)
        await presses(person, "enter")
        assert shown(person)
        assert not person.agent.conversation.runs
        await presses(person, "enter")
        name = editor.text.removeprefix("sum up ")
        assert name.startswith(".qianda/pasted/")
        assert await asyncio.to_thread(os.path.getsize, name) == 10_000_000
        await presses(person, "enter")
        await person.until(lambda: person.agent.conversation.runs)
        assert person.run.prompt == f"sum up {name}"
        await over(person)
        await pastes(person, "0123456 " * 100_000)
        await presses(person, "down", "enter")
        await person.until(lambda: len(person.agent.conversation.runs) == 2)
        assert len(person.run.prompt) == 800_000


def make_images(folder: Path) -> Path:
    """One in the workspace, and one elsewhere with a space in its name."""
    Path("shot.png").write_bytes(PNG)
    (folder / "my shot.png").write_bytes(PNG)
    return folder / "my shot.png"


async def test_images_are_attached_and_a_model_without_eyes_is_told_of(tmp_path: Path) -> None:
    image = make_images(tmp_path)
    async with chatting() as person:
        editor = person.chat.editor
        await pastes(person, str(image).replace(" ", "\\ "))
        assert editor.text == "[image my shot.png]"
        await person.sees("qwen3-8b takes no images")
        await presses(person, "enter")
        assert editor.text == ""
        await person.types(f"/attach {image}")
        await presses(person, "enter")
        await person.until(lambda: editor.text == "[image my shot.png]")
        await presses(person, "enter")
        assert not person.agent.conversation.runs
        await presses(person, "down", "enter")
        await person.until(lambda: person.agent.conversation.runs)
        assert isinstance(person.run.prompt[-1], MediaPart)
        await over(person)
        await person.types("see @shot.png")
        await presses(person, "escape", "enter")
        await person.sees("qwen3-8b takes no images")
        await presses(person, "enter")
        assert editor.text == "see shot.png"
        editor.clear()
        await person.types("/attach nothing.txt")
        await presses(person, "enter")
        await person.sees("nothing.txt does not exist")


async def test_prompts_are_queued_taken_back_and_sent_one_after_another() -> None:
    async with chatting() as person:
        editor, runs = person.chat.editor, person.agent.conversation.runs
        await presses(person, "ctrl+q")
        await person.sees("Ctrl+C twice quits")
        await presses(person, *"one", "ctrl+q")
        await person.until(lambda: runs)  # nothing to wait for
        for text in ("two", "three", "four"):
            await presses(person, *text, "ctrl+q")
        await person.sees("3 queued")
        await person.sees("queued: two")
        assert not person.run.steered
        await presses(person, "up")
        await person.until(lambda: editor.text == "four")
        await person.sees("2 queued")
        editor.clear()
        person.run.done()
        await person.until(lambda: len(runs) == 2)
        assert person.run.prompt == "two"
        await person.sees("1 queued")
        await presses(person, "escape")
        await person.sees("What is queued was not sent")
        assert len(runs) == 2
        assert editor.text == "two"
        await person.sees("held: three")
        editor.clear()
        await presses(person, *"between", "enter")
        await person.until(lambda: len(runs) == 3)
        await over(person)
        await person.sees("held: three")  # until the person says so
        await presses(person, "ctrl+q")
        await person.until(lambda: len(runs) == 4)
        assert person.run.prompt == "three"
        await person.sees_no("queued: ")
        await presses(person, *"five", "ctrl+q")
        await person.sees("queued: five")
        await person.pilot.click(type(person.chat.waiting), offset=(3, 0))
        await person.until(lambda: editor.text == "five")
        await person.sees_no("queued: ")


async def test_shell_commands_are_the_persons_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2hunter2")
    put({"sub/there.txt": ""})
    async with chatting() as person:
        await person.types("!cd sub && echo hi $SECRET_TOKEN && cat")
        await presses(person, "enter")
        await person.sees("goes with your next prompt: ! cd sub")
        assert "hunter2" not in person.screen()
        await person.types("!!ls; exit 3")
        await presses(person, "enter")
        await person.sees("there.txt")  # in the folder where the last one ended
        await person.sees("exit code 3")
        assert "✗ failed" in person.screen()
        await person.until(lambda: person.app.chat.shell is not None and not person.app.chat.shell.stop())
        await person.types("!echo begun; sleep 100")
        await presses(person, "enter")
        await person.until(lambda: "  └ begun" in person.screen())
        await person.types("!ls")
        await presses(person, "enter")
        await person.sees("A command is running; Esc stops it")
        person.chat.editor.clear()
        await presses(person, "escape")
        await person.sees("✗ stopped")
        await person.says("what now?")
        assert str(person.run.prompt).startswith('what now?\n\n<command name="cd sub')
        assert "hi" in str(person.run.prompt)
        assert "there.txt" not in str(person.run.prompt)
        await person.sees_no("goes with your next prompt")


async def test_the_history_is_found_by_words_and_kept() -> None:
    async with chatting() as person:
        editor = person.chat.editor
        await presses(person, "ctrl+f")
        await person.sees("Nothing was sent yet")
        for text in ("fix the parser", "write a poem\nabout tea", "fix the tests"):
            await person.says(text)
            await over(person)
        await person.types("draft")
        await presses(person, "ctrl+f")
        assert not shown(person)
        await presses(person, "escape")
        assert editor.text == "draft"
        editor.clear()
        await presses(person, "ctrl+f")
        assert shown(person) == ["fix the tests", "write a poem", "fix the parser"]
        await presses(person, *"fix")
        assert shown(person) == ["fix the tests", "fix the parser"]
        await presses(person, "down", "enter")
        assert editor.text == "fix the parser"
        editor.clear()
        await person.types("/history tea")
        await presses(person, "escape", "enter")
        await person.until(lambda: shown(person) == ["write a poem"])
        await presses(person, "enter")
        assert editor.text == "write a poem\nabout tea"
    async with chatting(record=lambda: False) as person:
        await presses(person, "up")
        await presses(person, "up")
        assert person.chat.editor.text == "fix the tests"
        person.chat.editor.clear()
        await person.says("not for the record")
    assert "not for the record" not in (data_dir() / "prompts.jsonl").read_text()


async def test_the_prompt_is_written_in_an_editor_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    script = put({"editor.sh": '#!/bin/sh\n[ "$1" = fail ] && exit 7\nprintf "\\n中文" >> "$2"\n'}) / "editor.sh"
    script.chmod(0o755)
    async with chatting() as person:
        monkeypatch.setattr(person.app, "suspend", nullcontext)  # there is no terminal to give away
        await person.types("draft")
        await presses(person, "ctrl+g")
        await person.sees("No editor is set: export EDITOR=nano")
        monkeypatch.setenv("EDITOR", f"'{script}' fail")
        await presses(person, "ctrl+g")
        await person.sees("ended with exit code 7")
        assert person.chat.editor.text == "draft"
        monkeypatch.setenv("VISUAL", f"{script} go")
        await presses(person, "ctrl+g")
        await person.until(lambda: person.chat.editor.text == "draft\n中文")


async def test_keys_in_a_burst_do_what_they_do_one_by_one() -> None:
    async with chatting() as person:
        for key in ("a", "b", "backspace", "c", "left", "x", "home", "你", "shift+enter", "tab", "d"):
            person.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await person.until(lambda: len(person.chat.editor.text) == 6)
        assert person.chat.editor.text == "你\ndaxc"
        person.chat.editor.clear()
        for key in ("slash", "h", "e", "l", "enter"):
            person.app.post_message(events.Key(key, "/" if key == "slash" else key if len(key) == 1 else None))
        await person.sees("Keys and commands")


async def test_launch_reads_no_history_and_imports_no_completion() -> None:
    code = "import sys, qianda.tui.app; print([n for n in sys.modules if n.startswith('qianda.tui.prompt.')])"
    process = await asyncio.create_subprocess_exec(*(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    for name in ("completion", "mentions", "shell", "files", "own_commands", "checking"):
        assert f"prompt.{name}'" not in out.decode()
