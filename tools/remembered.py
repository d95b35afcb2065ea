"""What the built-in tools remember of a conversation: what it read, and where its shell is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from qianda.models.errors import ToolError


@dataclass(eq=False, slots=True)
class Remembered:
    """The memory of one conversation.

    Args:
        folder: where its next command runs, relative to the workspace; "" is the workspace.
        texts: by file, a hash of the text that the model last read or wrote.
    """

    folder: str = ""
    texts: dict[Path, int] = field(default_factory=dict[Path, int])

    def note(self, path: Path, text: str) -> None:
        """The model has seen a file's text, or written it."""
        self.texts[path] = hash(text)

    def check(self, path: Path, text: str, name: str) -> None:
        """See that a file still holds what the model knows of it; one that it never read may be changed.

        Raises:
            ToolError: somebody else has changed it.
        """
        if self.texts.get(path, hash(text)) != hash(text):
            raise ToolError(f'"{name}" was changed by somebody else since you read it; read it again, then change it')


_memories: WeakKeyDictionary[AsyncExitStack, Remembered] = WeakKeyDictionary()


def remembered(closing: AsyncExitStack | None) -> Remembered:
    """The memory of the conversation that ``Context.closing`` belongs to; outside of one, an empty one."""
    return Remembered() if closing is None else _memories.setdefault(closing, Remembered())
