"""One command line before the rules: all that it runs, in wrappers and substitutions too, and what covers it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from qianda.tools.permissions.readers import Looking
from qianda.tools.permissions.rules import Rule
from qianda.tools.permissions.shell_line import Line, Redirection, Word, read_line
from qianda.tools.permissions.wrappers import Inner, inner_of

Words = tuple[Word, ...]
_READERS = ("cat", "head", "tail", "less", "more", "nl", "tac", "grep", "sed", "awk", "strings", "xxd", "od", "base64")


class Command:
    """A command line.

    Args:
        text: as the shell gets it.
        workspace: the folder that it may look at without a question.
        folder: where the shell starts; the workspace by default.
    """

    def __init__(self, text: str, workspace: Path, folder: Path | None = None) -> None:
        self._text = text
        self._workspace = workspace
        self._folder = folder or workspace

    @cached_property
    def _line(self) -> Line:
        return read_line(self._text)

    @cached_property
    def _nested(self) -> list[tuple[Words, Inner, int]]:
        """Every simple command with what it runs, outer before inner, and how deep it stands."""
        found: list[tuple[Words, Inner, int]] = []
        open_ = [(words, 0) for words in self._line.commands]
        while open_:
            words, depth = open_.pop(0)
            inner = inner_of(words, depth)
            found.append((words, inner, depth))
            open_ += [(command, depth + 1) for line in inner.lines for command in line.commands]
        return found

    @property
    def unclear(self) -> str:
        """What of the line cannot be judged; "" when all is known."""
        inside = (
            why for _, inner, _ in self._nested for why in (inner.unclear, *(line.unclear for line in inner.lines))
        )
        return self._line.unclear or next((why for why in inside if why), "")

    def all(self) -> list[Words]:
        """Every simple command of the line."""
        return [words for words, _, _ in self._nested]

    def redirections(self) -> list[Redirection]:
        """Every file that the shells open."""
        return self._line.redirections + [
            redirection for _, inner, _ in self._nested for line in inner.lines for redirection in line.redirections
        ]

    @cached_property
    def _looking(self) -> Looking:
        return Looking(self._workspace, self._folder, self.all())

    def looks(self, words: Words) -> bool:
        """Whether a simple command of the line changes nothing and reads only what it may."""
        return self._looking.only_looks(words)

    def files(self, word: Word) -> list[Path]:
        """What a word may name, links followed."""
        return self._looking.files(word) if "\0" not in word.text else []

    def seen(self, word: Word) -> list[Path]:
        """What a word may name, by its name and with links followed."""
        return self.files(word) + [Path(os.path.normpath(folder / word.text)) for folder in self._looking.folders]

    @cached_property
    def named(self) -> list[Path]:
        """Every path that a word of the line may be."""
        texts = ((word, word.text.rpartition("=")[2]) for words in self.all() for word in words[1:])
        named = (Word(text, word.literal, word.pattern) for word, text in texts if text and not text.startswith("-"))
        return [path for word in dict.fromkeys(named) for path in self.seen(word)]

    @cached_property
    def looked_at(self) -> list[Path]:
        """The paths among the words of commands that read files."""
        readers = (words for words in self.all() if words and words[0].text.rpartition("/")[2] in _READERS)
        return [path for words in readers for word in dict.fromkeys(words[1:]) for path in self.seen(word)]

    def covered(self, rules: Sequence[Rule]) -> tuple[list[str], str]:
        """What lets the whole line run, or why it may not.

        Args:
            rules: allow rules for this tool.

        Returns:
            What covers the parts, and "" or a reason that continues "run_command …".
        """
        if self._line.unclear:
            return [], f"holds {self._line.unclear}, which no pattern can allow"
        covered: list[str] = []
        for words in self._line.commands:
            by, why = self._covers(words, rules, 0)
            if why:
                return [], why
            covered += by
        return list(dict.fromkeys(covered)), ""

    def _covers(self, words: Words, rules: Sequence[Rule], depth: int) -> tuple[list[str], str]:
        shown = " ".join(shlex.quote(word.text) if " " in word.text else word.text for word in words)
        fitting = next((rule for rule in rules if not rule.wild and rule.fits_command(words)), None)
        if fitting is not None:
            return [fitting.described], ""
        if self.looks(words):
            return ["it changes nothing"], ""
        inner = inner_of(words, depth)
        if inner.unclear:
            return [], f"would run `{shown}`: {inner.unclear} cannot be judged"
        covered: list[str] = []
        fitting = next((rule for rule in rules if rule.fits_command(words)), None)
        if fitting is None and not inner.harmless:
            return [], f"would run `{shown}`, which no rule allows"
        if fitting is not None:
            covered.append(fitting.described)
        for line in inner.lines:
            if line.unclear:
                return [], f"would run `{shown}`: {line.unclear} cannot be judged"
            for command in line.commands:
                by, why = self._covers(command, rules, depth + 1)
                if why:
                    return [], why
                covered += by
        return covered, ""
