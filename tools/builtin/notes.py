"""The built-in tools for notes: a long-term memory in files that the user can read and edit."""

from __future__ import annotations

import re
from datetime import datetime

from qianda.models.config import data_dir
from qianda.models.errors import ToolError
from qianda.tools.context import Context
from qianda.tools.effects import Effects
from qianda.tools.function_tool import tool

_MOST = 20  # paragraphs that one search shows


def _file(topic: str) -> str:
    name = re.sub(r"[^\w]+", "-", topic.lower()).strip("-")
    return f"{name[:60] or 'notes'}.md"


def _written(given: dict[str, str]) -> Effects:
    return Effects(writes=(str(data_dir() / "notes" / _file(given["topic"])),))


@tool(origin="built-in", consent=False, parallel=False, effects=_written)
def write_note(topic: str, text: str, context: Context, replaces: str = "") -> str:
    """Note something that later conversations should know.

    Args:
        topic: file of notes, in one or two words
        text: what to note; empty to delete what is replaced
        context: told before a file is changed
        replaces: words of an older note that this one takes the place of
    """
    path = data_dir() / "notes" / _file(topic)
    old = path.read_text(encoding="utf-8") if path.is_file() else f"# {topic}\n"
    paragraphs = re.split(r"\n\s*\n", old.strip())
    if replaces:
        kept = [paragraph for paragraph in paragraphs if replaces not in paragraph]
        if len(kept) == len(paragraphs):
            raise ToolError(f"no note in {path.name} has the words {replaces!r}")
        paragraphs = kept
    if text.strip():
        paragraphs.append(f"{datetime.now().astimezone():%Y-%m-%d}: {' '.join(text.split())}")
    path.parent.mkdir(parents=True, exist_ok=True)
    context.changing(path)
    path.write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    return f"noted in {path}"


@tool(origin="built-in", consent=False, read_only=True)
def search_notes(context: Context, words: str = "") -> str:
    """Search the notes of earlier conversations.

    Args:
        context: says where the workspace is
        words: what to look for; nothing to list the topics
    """
    places = (context.workspace / ".qianda" / "notes", data_dir() / "notes")
    files = [path for place in places for path in sorted(place.glob("*.md"))]
    if not words.strip():
        return "Topics: " + ", ".join(path.stem for path in files) if files else "There are no notes yet"
    wanted = set(words.lower().split())
    found: list[tuple[int, str]] = []
    for path in files:
        for paragraph in re.split(r"\n\s*\n", path.read_text(encoding="utf-8", errors="replace").strip()):
            hits = sum(word in f"{path.stem} {paragraph}".lower() for word in wanted)
            if hits and not paragraph.startswith("#"):
                found.append((hits, f"[{path.stem}] {paragraph}"))
    found.sort(key=lambda each: -each[0])
    return "\n\n".join(text for _, text in found[:_MOST]) or "No note has these words"
