"""Commands of the user's and a folder's own: Markdown files whose text becomes a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qianda.agents.skills import split_front
from qianda.models.config import user_config_path

ARGUMENTS = "$ARGUMENTS"
_LARGEST = 200_000  # bytes


@dataclass(frozen=True, slots=True)
class CustomCommand:
    """A command that is there.

    Args:
        name: what stands behind the slash: the file's name.
        description: what it does: of the front matter, else its first line.
        takes: what may stand behind it: the front matter's ``argument-hint``, else "[…]" where the text has a place.
        text: the prompt.
    """

    name: str
    description: str
    takes: str
    text: str

    def filled_in(self, arguments: str) -> str:
        """The prompt with what stood behind the name: in the place of ``$ARGUMENTS``, else at its end."""
        if ARGUMENTS in self.text:
            return self.text.replace(ARGUMENTS, arguments)
        return f"{self.text}\n\n{arguments}".strip()


def list_commands(workspace: Path) -> list[CustomCommand]:
    """The user's commands and those of a trusted workspace, which come first where a name is twice."""
    from qianda.tools.trust import COMMANDS, is_trusted

    folders = [user_config_path().with_name("commands")]
    if (brought := workspace / COMMANDS).is_dir() and is_trusted(workspace):
        folders.append(brought)
    found = {path.stem: path for folder in folders for path in sorted(folder.glob("*.md"))}
    commands = [_read(name, path) for name, path in found.items()]
    return sorted((command for command in commands if command is not None), key=lambda command: command.name)


def _read(name: str, path: Path) -> CustomCommand | None:
    try:
        if path.stat().st_size > _LARGEST:
            return None
        front, text = split_front(path.read_text("utf-8-sig", errors="replace"))
    except OSError:
        return None
    text = text.strip()
    description = front.get("description") or text.partition("\n")[0].lstrip("# ")
    takes = front.get("argument-hint") or ("[…]" if ARGUMENTS in text else "")
    return CustomCommand(name, " ".join(description.split())[:200], takes, text) if text else None
