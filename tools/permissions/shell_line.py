"""Reads a shell command line by bash's grammar: its simple commands, redirections, and whether all of it is known."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split(" "))


_STATEMENTS = _names(
    "program list pipeline subshell compound_statement negated_command if_statement elif_clause else_clause "
    "while_statement do_group redirected_statement variable_assignments"
)
_TOKENS = _names("; & && || | |& ( ) { } ! if then elif else fi while until do done for in \n")
_RESERVED = _names("{ ! if then elif else while until do for in")  # words to bash only where they stand alone
_WORDS = _names(
    "word number raw_string string concatenation simple_expansion expansion command_substitution process_substitution "
    "brace_expression ansi_c_string arithmetic_expansion"
)
_INSIDE_WORDS = _WORDS | _names('string_content variable_name special_variable_name " $ ${ } { .. , $( ) ` <( >(')
_LOOP_VARIABLE = re.compile(r"[a-z]{1,8}")  # none that a program reads from its environment
_LONGEST = 10_000


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command.

    Args:
        text: its value where it is literal, else as it was written.
        literal: the shell changes nothing in it but its quotes.
        pattern: it has unquoted ``*``, ``?`` or ``[``, which the shell replaces by names of files.
    """

    text: str
    literal: bool = True
    pattern: bool = False

    @property
    def fixed(self) -> bool:
        """Whether the command gets exactly this text."""
        return self.literal and not self.pattern


@dataclass(frozen=True, slots=True)
class Redirection:
    """A file that the shell opens for a command; ``target`` is not fixed where its name is not known."""

    writes: bool
    target: Word


@dataclass(slots=True)
class Line:
    """What a command line does.

    Args:
        commands: the words of every simple command in it, assignments before a command included, also in substitutions.
        redirections: the files that it reads and writes by ``<`` and ``>``.
        unclear: what about it cannot be judged, in a few words; "" when all is known.
    """

    commands: list[tuple[Word, ...]] = field(default_factory=list[tuple[Word, ...]])
    redirections: list[Redirection] = field(default_factory=list[Redirection])
    unclear: str = ""

    def doubt(self, why: str) -> None:
        """Note the first thing that cannot be judged."""
        self.unclear = self.unclear or why


def read_line(command: str) -> Line:
    """Read a command line; what is not understood for certain is ``unclear``, never left out in silence."""
    line = Line()
    if len(command) > _LONGEST:
        line.doubt("its length")
        return line
    # Where other programs see a space or nothing, bash sees a part of a word.
    unseen = ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp")
    if any(unicodedata.category(char) in unseen and char not in " \n\t" for char in command):
        line.doubt("invisible characters")
    if re.search(r"(?<![\s\\])(\\\\)*\\\n", command):
        line.doubt("a word over two lines")
    try:
        parser = _parser()
    except ImportError:
        line.doubt("the shell's grammar: pip install tree-sitter tree-sitter-bash")
        return line
    source = command.encode("utf-8", "surrogatepass")
    root = parser.parse(source).root_node
    if root.has_error:
        line.doubt("a part that is not valid shell")
    if source[: root.start_byte].strip() or source[root.end_byte :].strip():
        line.doubt("a part that is not valid shell")
    try:
        _Reader(source, line).statement(root)
    except RecursionError:
        line.doubt("its depth")
    return line


@lru_cache(maxsize=1)
def _parser() -> Any:
    # By name: without the packages nothing is allowed, and everything else goes on.
    tree_sitter, bash = import_module("tree_sitter"), import_module("tree_sitter_bash")
    return tree_sitter.Parser(tree_sitter.Language(bash.language()))


class _Node(Protocol):
    """A node of the syntax tree, as far as it is needed here."""

    @property
    def type(self) -> str: ...
    @property
    def text(self) -> bytes | None: ...
    @property
    def start_byte(self) -> int: ...
    @property
    def end_byte(self) -> int: ...
    @property
    def is_named(self) -> bool: ...
    @property
    def children(self) -> Sequence[_Node]: ...
    @property
    def named_children(self) -> Sequence[_Node]: ...
    def child_by_field_name(self, name: str, /) -> _Node | None: ...


class _Reader:
    def __init__(self, source: bytes, line: Line) -> None:
        self._source = source
        self._line = line

    def statement(self, node: _Node) -> None:
        kind = node.type
        match kind:
            case "command":
                self._command(node)
            case "file_redirect":
                self._redirection(node)
            case "herestring_redirect":
                for child in node.named_children:
                    self._word(child)
            case "variable_assignment":
                self._line.commands.append((self._assignment(node),))
            case "for_statement":
                self._loop(node)
            case "comment":
                before = self._source[node.start_byte - 1 : node.start_byte]
                if before not in (b"", b" ", b"\t", b"\n", b";"):
                    self._line.doubt("a comment inside a word")
            case _ if kind in _STATEMENTS:
                self._parts(node)
            case _:
                self._line.doubt(_plain(kind))
                self._substitutions(node)

    def _parts(self, node: _Node) -> None:
        self._covered(node)
        for child in node.children:
            if child.is_named:
                self.statement(child)
            elif child.type not in _TOKENS:
                self._line.doubt(child.type)

    def _covered(self, node: _Node, *, apart: bool = False) -> None:
        """See that the grammar left nothing out between the parts, and split nothing that bash sees as one word."""
        for one, other in zip(node.children, node.children[1:], strict=False):
            gap = self._source[one.end_byte : other.start_byte]
            glued = not gap and (one.type in _RESERVED or (apart and other.type in _WORDS))
            if glued or re.fullmatch(rb"(\s|\\\n)*", gap) is None:
                self._line.doubt("a part that is not valid shell")

    def _command(self, node: _Node) -> None:
        self._covered(node, apart=True)
        words: list[Word] = []
        for child in node.children:
            match child.type:
                case "command_name":
                    words.append(self._word(child.children[0] if child.children else child))
                case "variable_assignment":
                    words.append(self._assignment(child))
                case "file_redirect" | "herestring_redirect":
                    self.statement(child)
                case _:
                    words.append(self._word(child))
        self._line.commands.append(tuple(words))

    def _assignment(self, node: _Node) -> Word:
        value = node.child_by_field_name("value")
        if node.children[0].type != "variable_name":
            self._line.doubt("an array")
        if value is None:
            return Word(_text(node))
        if value.type not in _WORDS:
            self._line.doubt("an array")
            self._substitutions(value)
            return Word(_text(node), literal=False)
        word = self._word(value)
        name = self._source[node.start_byte : value.start_byte].decode()
        return Word(name + word.text, word.literal, word.pattern)

    def _loop(self, node: _Node) -> None:
        self._covered(node)
        for child in node.children:
            if child.type == "variable_name":
                if not _LOOP_VARIABLE.fullmatch(_text(child)):
                    self._line.doubt("a loop that sets a variable of the environment")
            elif child.type in _WORDS:
                self._word(child)
            elif child.is_named:
                self.statement(child)
            elif child.type not in _TOKENS:
                self._line.doubt(child.type)

    def _redirection(self, node: _Node) -> None:
        self._covered(node)
        operator = ""
        targets: list[_Node] = []
        for child in node.children:
            if child.type == "file_descriptor":
                if not re.fullmatch(rb"\s\d", self._source[child.start_byte - 1 : child.end_byte]):
                    self._line.doubt("a redirection")
                continue
            if child.is_named:
                targets.append(child)
            else:
                operator = child.type
        if operator in ("<&-", ">&-"):
            return
        if len(targets) != 1 or operator not in ("<", ">", ">>", ">|", "&>", "&>>", ">&", "<&"):
            self._line.doubt("a redirection")
            for target in targets:
                self._substitutions(target)
            return
        word = self._word(targets[0])
        if operator in (">&", "<&") and word.text.isdigit():
            return
        if word.fixed and word.text == "/dev/null":
            return
        if not word.fixed or word.text.startswith(("/dev/", "/proc/")):
            self._line.doubt(f"a redirection to {word.text}")
        self._line.redirections.append(Redirection(writes=not operator.startswith("<"), target=word))

    def _word(self, node: _Node) -> Word:
        """The word, and into the line what it runs by substitution."""
        if node.type not in _WORDS:
            self._line.doubt(_plain(node.type))
        found = self._substitutions(node)
        word, substitutes, valid = _evaluate(_text(node))
        if not valid or (substitutes and not found):
            self._line.doubt("a part that is not valid shell")
        return word

    def _substitutions(self, node: _Node) -> bool:
        """Read what the parts of a node run; whether there is anything."""
        kind = node.type
        if kind in ("command_substitution", "process_substitution"):
            if "\\" in _text(node) and _text(node).startswith("`"):
                self._line.doubt("backslashes inside backquotes")
            self._covered(node)
            for child in node.named_children:
                self.statement(child)
            return True
        if kind == "expansion" and not re.fullmatch(r"\s*\$\{\w+\}", _text(node)):
            self._line.doubt("an expansion other than ${NAME}")
        if kind == "arithmetic_expansion":
            self._line.doubt("arithmetic")  # bash runs substitutions that stand in a variable's value
        if kind in ("command", "file_redirect") or kind in _STATEMENTS:
            self.statement(node)
            return True
        if kind not in _INSIDE_WORDS:
            self._line.doubt(_plain(kind))
        found = False
        for child in node.children:
            found |= self._substitutions(child)
        return found


def _evaluate(raw: str) -> tuple[Word, bool, bool]:
    """Take the quotes off a word, beside the grammar and as a check of it.

    Returns:
        The word, whether something in it runs a command, and whether it can be one word.
    """
    text: list[str] = []
    literal, pattern, substitutes, valid = not raw.startswith("~"), False, False, True
    quoted = False  # by "
    at = 0
    while at < len(raw):
        char, following = raw[at], raw[at + 1 : at + 2]
        at += 1
        if char == "\\":
            if quoted and following not in ("$", "`", '"', "\\"):
                text.append(char)
                continue
            text.append(following)
            at += 1
        elif char == '"':
            quoted = not quoted
        elif char == "'" and not quoted:
            end = raw.find("'", at)
            if end < 0:
                return Word(raw, literal=False), substitutes, False
            text.append(raw[at:end])
            at = end + 1
        elif char == "`" or (char == "$" and (following not in ("", '"', " ") or (following == '"' and not quoted))):
            literal = False
            substitutes |= char == "`" or (following == "(" and raw[at + 1 : at + 2] != "(")
        elif not quoted and char in "<>" and following == "(":
            literal, substitutes = False, True
        else:
            if not quoted and literal and char in "|&;()<> \t\n":
                valid = False
            literal &= quoted or char != "{" or raw in ("{}", "{")
            literal &= quoted or char != "~" or raw[at - 2 : at - 1] not in ("=", ":")
            pattern |= not quoted and char in "*?["
            text.append(char)
    return Word("".join(text) if literal else raw.strip(), literal, pattern), substitutes, valid


def _text(node: _Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _plain(kind: str) -> str:
    return kind.replace("_", " ")
