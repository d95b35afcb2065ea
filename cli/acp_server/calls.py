"""Tool calls as editors show them: title, kind, files with lines, differences."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from acp import text_block, tool_content, tool_diff_content
from acp.schema import ContentToolCallContent, FileEditToolCallContent, TextContentBlock, ToolCallLocation, ToolKind

from qianda.cli.acp_server.content import content_blocks
from qianda.cli.terminal import clean
from qianda.models.errors import ToolError
from qianda.models.messages import Content
from qianda.tools.builtin.matching import find_alike
from qianda.tools.effects import NO_EFFECTS, Effects
from qianda.tools.tool import Tool
from qianda.tools.undo_store import UndoError, UndoStore
from qianda.tools.workspace import resolve

Shown = ContentToolCallContent | FileEditToolCallContent
_LONGEST = 120  # characters of a value in a title
_LARGEST = 1_000_000  # bytes of a file whose difference is shown
_MOST_FILES = 20
_KNOWN: dict[str, tuple[ToolKind, str]] = {
    "read_file": ("read", "Read {path}"),
    "list_files": ("read", "List {path}"),
    "read_document": ("read", "Read {path}"),
    "view_image": ("read", "Look at {path}"),
    "read_skill": ("read", "Read the skill {name}"),
    "grep": ("search", "Search for {pattern}"),
    "search_notes": ("search", "Search notes {words}"),
    "write_file": ("edit", "Write {path}"),
    "edit_file": ("edit", "Edit {path}"),
    "write_note": ("edit", "Note on {topic}"),
    "move_file": ("move", "Move {path} {to}"),
    "run_command": ("execute", "`{command}`"),
    "python": ("execute", "`{code}`"),
    "jobs": ("execute", "Background jobs"),
    "web_fetch": ("fetch", "Fetch {url}"),
    "web_search": ("fetch", "Search the web for {query}"),
    "calculator": ("think", "Compute {expression}"),
    "plan": ("think", "Plan"),
    "ask_user": ("think", "Ask: {question}"),
    "task": ("think", "{agent}: {task}"),
}


@dataclass(slots=True)
class ShownCall:
    """A call on the editor's screen.

    Args:
        name: the tool's.
        workspace: the folder that paths are relative to.
        tool: what is called, where it is known.
    """

    name: str
    workspace: Path
    tool: Tool | None
    id: str = field(default_factory=lambda: str(uuid4()))
    title: str = ""
    kind: ToolKind = "other"
    given: dict[str, Any] = field(default_factory=dict[str, Any])
    effects: Effects = NO_EFFECTS
    over: bool = False
    files: list[ToolCallLocation] = field(default_factory=list[ToolCallLocation])

    def fill(self, arguments: str = "", *, inner: bool = False) -> None:
        """Take the arguments in: JSON text, or "" while they are written; ``inner`` is a call of another agent."""
        try:
            self.given = self.tool.read_arguments(arguments) if self.tool and arguments else _decoded(arguments)
        except ToolError:
            self.given = _decoded(arguments)
        self.effects = self.tool.effects(self.given) if self.tool and self.given else NO_EFFECTS
        self.kind, pattern = _KNOWN.get(self.name, ("other", ""))
        if self.name == "move_file" and arguments and not self.given.get("to"):
            self.kind, pattern = "delete", "Throw away {path}"
        given = defaultdict(str, {name: _line(value) for name, value in self.given.items()})
        words = " ".join(f"{name}={value}" for name, value in given.items())
        title = pattern.format_map(given) if pattern and given else f"{self.name} {words}"
        self.title = ("↳ " if inner else "") + title.strip()
        paths = map(self._inside, dict.fromkeys([*self.effects.writes, *self.effects.reads]))
        self.files = [
            ToolCallLocation(path=str(path), line=self._line_in(path)) for path in paths if path and not path.is_dir()
        ]

    def _inside(self, path: object) -> Path | None:
        """The place of a path that the model wrote, where it is one of the workspace's."""
        try:
            return resolve(self.workspace, path) if isinstance(path, str) else None
        except ToolError:
            return None

    def _line_in(self, path: Path) -> int | None:
        lines = str(self.given.get("lines", "")).partition("-")[0].strip()
        if lines.isdecimal():
            return max(int(lines), 1)
        old, text = str(self.given.get("old_text") or ""), _text(path) if self.name == "edit_file" else None
        return text.count("\n", 0, text.index(old)) + 1 if text and old and old in text else None

    def result(self, content: Content) -> list[Shown]:
        """What came out; what is no Markdown is shown as it is."""
        plain = self.kind in ("read", "search", "execute")
        return [
            tool_content(text_block(fenced(block.text)) if plain and isinstance(block, TextContentBlock) else block)
            for block in content_blocks(content)
        ]

    def preview(self) -> list[Shown]:
        """What the call would do to a file, or the whole command, or all arguments."""
        if found := self.difference(now=True):
            return found
        if command := self.effects.command or (self.name == "python" and self.given.get("code")):
            return said(fenced(str(command)))
        return said("\n".join(f"**{clean(name)}:** {_whole(value)}" for name, value in self.given.items()))

    def difference(self, *, now: bool) -> list[Shown]:
        """What the arguments say that becomes of a file; ``now``: with all that is around it in the file now."""
        path = self._inside(self.given.get("path"))
        if path is None or self.name not in ("write_file", "edit_file"):
            return []
        old, new = self.given.get("old_text"), str(self.given.get("new_text", self.given.get("content", "")))
        text = _text(path) if now else None
        if isinstance(old, str) and text is not None:
            edited = _edited(text, old, new)
            old, new = (old, new) if edited is None else (text, edited)
        elif self.name == "write_file":
            old = text
        return [tool_diff_content(str(path), new, old if isinstance(old, str) else None)]

    def changes(self, store: UndoStore, run_id: str, step: int) -> list[Shown]:
        """What the call did to files, as undo kept it in one of its steps; nothing where it did not."""
        found: list[Shown] = []
        try:
            for one in [one for one in store.changes(run_id) if one.step == step][:_MOST_FILES]:
                old, new = (store.content(state or "") for state in (one.before, one.after))
                if max(len(old), len(new)) <= _LARGEST and b"\0" not in old + new:
                    before = old.decode(errors="replace") if one.before else None
                    path = self.workspace / one.path
                    found.append(tool_diff_content(str(path), new.decode(errors="replace"), before))
        except UndoError:
            return []
        return found


def said(text: str) -> list[Shown]:
    """A text under a call; nothing for ""."""
    return [tool_content(text_block(text))] if text else []


def fenced(text: str) -> str:
    """A block of code in Markdown, whatever the text holds."""
    fence, text = "```", clean(text).rstrip()
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def _decoded(arguments: str) -> dict[str, Any]:
    try:
        value: object = json.loads(arguments)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(path: Path) -> str | None:
    """The text of a file; None when there is none, or it is no text of bearable size."""
    try:
        return path.read_bytes().decode() if path.is_file() and path.stat().st_size <= _LARGEST else None
    except (OSError, ValueError):
        return None


def _edited(text: str, old: str, new: str) -> str | None:
    """The text as ``edit_file`` would leave it, or None when it cannot be told."""
    if old and old in text:
        return text.replace(old, new)
    found = find_alike(text, old, new)
    return text[: found[0].start] + found[0].new + text[found[0].end :] if len(found) == 1 else None


def _line(value: object) -> str:
    line = " ".join(clean(_string(value)).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _whole(value: object) -> str:
    text = _string(value)
    return f"\n{fenced(text)}" if "\n" in text else clean(text)


def _string(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
