"""A prompt as the editor holds it: its text, and what the labels in it stand for."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.models.messages import Content

MOST_LINES = 20
MOST_CHARACTERS = 2_000
"""What is longer when it is pasted becomes a label."""

Attached = str | Path
"""A pasted text, or a file."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person wants to say.

    Args:
        text: with a label in the place of each attachment.
        attached: by its label.
        content: what is sent in the place of the text, where that is settled already.
    """

    text: str
    attached: Mapping[str, Attached] = field(default_factory=dict[str, Attached])
    content: Content | None = None

    @property
    def plain(self) -> bool:
        """Whether it goes as it stands: nothing is attached or mentioned."""
        return not self.attached and "@" not in self.text and self.content is None

    @property
    def whole(self) -> str:
        """The text, what was pasted in its place."""
        spans = label_spans(self.text, self.attached)
        parts, at = list[str](), 0
        for start, end, label in spans:
            value = self.attached[label]
            parts += [self.text[at:start], value if isinstance(value, str) else label]
            at = end
        return "".join([*parts, self.text[at:]])

    @property
    def files(self) -> list[Path]:
        """The attached files, in order."""
        values = [self.attached[label] for _, _, label in label_spans(self.text, self.attached)]
        return [value for value in values if isinstance(value, Path)]

    def with_text(self, text: str) -> Draft:
        """Another text with those of the attachments whose labels are in it."""
        kept = {label: value for label, value in self.attached.items() if label in text}
        return replace(self, text=text, attached=kept)


def label_spans(text: str, labels: Iterable[str]) -> list[tuple[int, int, str]]:
    """Where labels stand: start, end and label."""
    shapes = "|".join(map(re.escape, sorted(labels, key=len, reverse=True)))
    return [(*found.span(), found[0]) for found in re.finditer(shapes, text)] if shapes else []


def label_of(value: Attached, taken: Container[str], *, image: bool = False) -> str:
    """A label for an attachment that is not in use."""
    if isinstance(value, Path):
        name = "".join(character if character.isprintable() else "?" for character in value.name)
        what = t("image {name}", name=name) if image else t("file {name}", name=name)
    elif (lines := value.count("\n") + (not value.endswith("\n"))) > MOST_LINES:
        what = t("pasted {count} lines", count=f"{lines:,}")
    else:
        what = t("pasted {count} characters", count=f"{len(value):,}")
    label, number = f"[{what}]", 1
    while label in taken:
        number += 1
        label = f"[{what} #{number}]"
    return label


def is_large(text: str) -> bool:
    """Whether a pasted text becomes a label."""
    return len(text) > MOST_CHARACTERS or text.count("\n") > MOST_LINES


def joined(drafts: Iterable[Draft]) -> Draft:
    """Several as one, a paragraph each."""
    texts: list[str] = []
    attached: dict[str, Attached] = {}
    for draft in drafts:
        text = draft.text
        for label, value in draft.attached.items():
            new = label if attached.get(label, value) == value else label_of(value, {*attached, *draft.attached})
            text = text.replace(label, new)
            attached[new] = value
        texts.append(text)
    return Draft("\n\n".join(texts), attached)
