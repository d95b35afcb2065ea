"""What is wrong with a prompt before it is sent, and what can be done about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qianda.tui.prompt.draft import Draft
from qianda.tui.prompt.dropped import is_image
from qianda.tui.prompt.popup import Suggestion
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.models.resolve import Endpoint

PASTED = ".qianda/pasted"
"""Folder of the workspace for pasted texts: tools find it there, also in their sandbox."""
_CHARACTERS = 4  # of one token of ASCII text, at most on average
_OTHERS = 1.2  # of other scripts


def tokens_of(text: str) -> int:
    """About how many tokens a text has, at least."""
    if text.isascii():
        return len(text) // _CHARACTERS
    plain = len(text.encode("ascii", "ignore"))
    return int(plain // _CHARACTERS + (len(text) - plain) // _OTHERS)


def takes_images(model: str) -> bool:
    """Whether a model reads images; what is not known about does."""
    from qianda.models.catalog.entries import understand

    named = understand(model)
    return named.model is None or named.derived or "image" in named.model.input


def choices(
    draft: Draft, endpoint: Endpoint, workspace: Path, show: Callable[[Draft], None], send: Callable[[], None]
) -> list[Suggestion]:
    """What can be done about a prompt that will not do; nothing when nothing is wrong with it.

    Args:
        draft: the prompt.
        endpoint: the model that would get it.
        workspace: where a text that is too long can be saved.
        show: puts another draft into the editor.
        send: sends it as it is.
    """
    anyway = Suggestion(t("Send it all the same"), does=send)
    pasted = {label: value for label, value in draft.attached.items() if isinstance(value, str)}
    tokens = sum(map(tokens_of, pasted.values()))
    if endpoint.window and tokens > endpoint.window:
        facts = t("about {tokens} tokens; the window has {window}", tokens=f"{tokens:,}", window=f"{endpoint.window:,}")
        save = Suggestion(t("Save as a file and mention it"), facts, does=lambda: show(saved(draft, workspace)))
        return [save, anyway]
    images = {label: "" for label, value in draft.attached.items() if isinstance(value, Path) and is_image(value)}
    if "@" in draft.text:
        from qianda.tui.prompt.mentions import mentions

        images |= {written: written[1:] for written, path in mentions(draft.text, workspace) if is_image(path)}
    if images and not takes_images(endpoint.model):

        def leave_out() -> None:
            text = draft.text
            for written, left in images.items():
                text = text.replace(written, left)
            show(draft.with_text(text))

        facts = t("{model} takes no images", model=endpoint.model)
        return [Suggestion(t("Leave the images out"), facts, does=leave_out), anyway]
    return []


def saved(draft: Draft, workspace: Path) -> Draft:
    """The prompt with its pasted texts in files of the workspace, which it mentions by name.

    Raises:
        OSError: they cannot be written.
    """
    folder = workspace / PASTED
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    text = draft.text
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number, (label, value) in enumerate(draft.attached.items(), 1):
        if isinstance(value, str):
            name = f"{stamp}-{number}.txt"
            (folder / name).write_text(value, "utf-8", errors="replace")
            text = text.replace(label, f"{PASTED}/{name}")
    return draft.with_text(text)
