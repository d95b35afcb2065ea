"""From a draft to what is sent: what it mentions goes with it, as the tools that read would show it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from qianda.models.errors import QiandaError, ToolError
from qianda.models.messages import Content, MediaPart, Part, TextPart
from qianda.tools.builtin.files import list_files, list_folder, read_file, read_lines
from qianda.tools.builtin.images import view_image
from qianda.tools.builtin.text_files import human_size
from qianda.tools.context import Context
from qianda.tools.results import cap_text
from qianda.tools.secrets import redact, redact_content
from qianda.tools.tool import DEFAULT_MAX_OUTPUT
from qianda.tools.workspace import is_inside
from qianda.tui.prompt.draft import Draft
from qianda.tui.prompt.dropped import is_image
from qianda.tui.prompt.words_at import BEFORE, NO_NAME
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tools.permissions import Permissions
    from qianda.tui.prompt.shell import CommandOutput

_MENTION = re.compile(rf'{BEFORE}@(?:"(?P<quoted>[^"\n]+)"|(?P<bare>[^{NO_NAME}]+))')
_LARGEST_IMAGE = 20_000_000  # bytes of one that is sent as it is, where Pillow is not installed


async def content_of(
    draft: Draft, outputs: Sequence[CommandOutput], workspace: Path, permissions: Permissions | None
) -> tuple[Content, list[str]]:
    """What is sent for a draft.

    Args:
        draft: what the person wrote.
        outputs: of commands that the person ran since the last prompt.
        workspace: what mentions are relative to.
        permissions: files that a rule denies are not read.

    Returns:
        The content, text first; and a line for each thing that could not be read, and is not sent.
    """
    attached = _Attached(workspace, permissions)
    await asyncio.to_thread(attached.read, draft)
    texts = attached.texts + [
        f'<command name="{_name(each.command)}">\n{cap_text(redact(each.text), DEFAULT_MAX_OUTPUT)}\n</command>'
        for each in outputs
    ]
    given: Sequence[Part] = () if draft.content is None or isinstance(draft.content, str) else draft.content
    said = draft.whole if draft.content is None else draft.content if isinstance(draft.content, str) else ""
    text = "\n\n".join(filter(None, [said, *texts]))
    media = [*given, *attached.media]
    if not media:
        return text, attached.problems
    return (*([TextPart(text)] if text else []), *media), attached.problems


def mentions(text: str, workspace: Path) -> Iterator[tuple[str, Path]]:
    """The files and folders that a text mentions by ``@path`` or ``@"path with spaces"``, each once.

    Args:
        text: what the person wrote; a mention of something that does not exist is none.
        workspace: what they are relative to.

    Yields:
        The mention as it is written, and the path.
    """
    seen = set[Path]()
    for found in _MENTION.finditer(text):
        bare = found["bare"] or ""
        for written in (found["quoted"] or bare, bare.rstrip(".,:;!?)]}>'")):
            path = Path.home() / written[2:] if written.startswith("~/") else workspace / written
            if written and os.path.exists(path):  # noqa: PTH110 - the other one raises for names that are too long
                if path not in seen:
                    seen.add(path)
                    yield f'@"{written}"' if found["quoted"] else f"@{written}", path
                break


@dataclass
class _Attached:
    """What goes with one prompt."""

    workspace: Path
    permissions: Permissions | None

    def __post_init__(self) -> None:
        self.texts: list[str] = []
        self.media: list[Part] = []
        self.problems: list[str] = []

    def read(self, draft: Draft) -> None:
        """Read what a draft mentions and what is attached to it."""
        for path in [*draft.files, *(path for _, path in mentions(draft.text, self.workspace))]:
            name = _name(path.relative_to(self.workspace).as_posix() if path.is_relative_to(self.workspace) else path)
            try:
                self._read(path, name)
            except (QiandaError, OSError, ValueError) as error:
                self.problems.append(t("{name} is not sent: {error}", name=name, error=error))

    def _read(self, path: Path, name: str) -> None:
        inside = is_inside(self.workspace, path) or path.is_relative_to(self.workspace)
        # A file elsewhere is named by the person, not found by a tool: its folder is where it is read.
        context = Context(workspace=self.workspace if inside else path.parent)
        given = str(path)
        folder = path.is_dir()
        tool = list_files if folder else view_image if is_image(path) else read_file
        if self.permissions and (verdict := self.permissions.judge(tool, {"path": given})).action == "deny":
            raise ToolError(verdict.reason)
        if folder:
            self.texts.append(f'<folder name="{name}">\n{redact(list_folder(given, context))}\n</folder>')
        elif is_image(path):
            self.media += _image(path, context)
        else:
            self.texts.append(f'<file name="{name}">\n{redact(read_lines(given, "", context))}\n</file>')


def _image(path: Path, context: Context) -> list[Part]:
    """An image at a size that models read well; as it is where Pillow is not installed."""
    if find_spec("PIL") is None:
        if (size := path.stat().st_size) > _LARGEST_IMAGE:
            raise ToolError(t("it has {size}", size=human_size(size)))
        return [TextPart(path.name), MediaPart.from_file(path)]
    content = redact_content(view_image(str(path), context).content)
    return [TextPart(content)] if isinstance(content, str) else list(content)


def _name(name: object) -> str:
    return str(name).replace('"', "'").replace("\n", " ")
