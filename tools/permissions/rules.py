"""Rules: what may run unasked, what is asked, what is denied, by tool, path, command and address."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from qianda.models.config import PERMISSION_MODES, PermissionMode, RuleSetting
from qianda.models.errors import ConfigurationError
from qianda.tools.permissions.shell_line import Word

Action = Literal["allow", "ask", "deny"]
_FORM = re.compile(r"([A-Za-z0-9_*?-]+)(?:\((.*)\))?", re.DOTALL)
_WILD = re.compile(r"[*?[]")
_EXAMPLES = '"read_file", "write_file(docs/**)", "run_command(pytest *)" or "web_fetch(https://docs.python.org/*)"'


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Args:
        action: what it says of the calls that it fits.
        tool: a tool's name, ``*`` and ``?`` as in file names.
        pattern: what of the call it fits, or "" for any call: a command, a path, an address; with ``=`` before it
            exactly this one.
        origin: the file that it stands in, or "".
    """

    action: Action
    tool: str
    pattern: str = ""
    origin: str = ""

    @classmethod
    def parse(cls, action: Action, text: str, origin: str = "") -> Rule:
        """Read a rule such as ``run_command(pytest *)``.

        Raises:
            ConfigurationError: it is not one, or it would let more run than it seems to.
        """
        form = _FORM.fullmatch(text.strip())
        if form is None or form[2] == "":
            where = f"{origin}: " if origin else ""
            raise ConfigurationError(f'{where}"{text}" is not a rule', cure=f"Write one such as {_EXAMPLES}")
        rule = cls(action, form[1], form[2] or "", origin)
        host = rule._host
        if host is not None and "*" in host.removeprefix("*.") and host != "*":
            cure = 'In a host only "*." at its beginning is wild'
            raise ConfigurationError(f'The rule "{text}" fits hosts that it does not name', cure=cure)
        return rule

    def __str__(self) -> str:
        return f"{self.tool}({self.pattern})" if self.pattern else self.tool

    @property
    def described(self) -> str:
        """The rule, what it does, and where it stands."""
        return f"{self.action} {self}" + (f" in {self.origin}" if self.origin else "")

    @property
    def exact(self) -> str | None:
        """The one text that the rule fits, or None."""
        return self.pattern[1:] if self.pattern.startswith("=") else None

    def fits_tool(self, *names: str) -> bool:
        """Whether it speaks of a tool."""
        return any(fnmatchcase(name, self.tool) for name in names if name)

    # Commands.

    def fits_command(self, words: Sequence[Word]) -> bool:
        """Whether an allow rule fits a simple command: word by word, a last ``*`` for any number of them."""
        pattern = _words(self.pattern)
        if self.exact is not None or not pattern or _WILD.search(pattern[0]):
            return False
        rest = pattern[-1] == "*"
        if len(words) < len(pattern) - rest or (len(words) > len(pattern) and not rest):
            return False
        return all(
            item == "*" or (word.fixed and fnmatchcase(word.text, item))
            for word, item in zip(words, pattern[: -1 if rest else None], strict=False)
        )

    @property
    def wild(self) -> bool:
        """Whether it fits more than one command."""
        return self.exact is None and bool(_WILD.search(self.pattern))

    def catches_command(self, words: Sequence[Word]) -> bool:
        """Whether an ask or deny rule fits a simple command, in any of the ways to write it."""
        pattern = self.pattern if self.exact is None else self.exact
        texts = [word.text for word in words]
        while texts and re.match(r"[A-Za-z_]\w*\+?=", texts[0]):
            texts.pop(0)
        if not texts:
            return False
        texts[0] = texts[0].rpartition("/")[2]
        forms = [texts, [word.text for word in words]]
        if texts[0] == "git":
            forms.append(["git", *_without_git_options(texts[1:])])
        bare = pattern.removesuffix(" *")  # "rm *" is also "rm"
        lines = [" ".join(form) for form in forms]
        return any(line in (pattern, bare) or fnmatchcase(line, pattern) for line in lines)

    # Paths and addresses.

    def fits_path(self, path: Path, workspace: Path) -> bool:
        """Whether it fits a path; the path and the workspace are resolved."""
        if "://" in self.pattern:
            return False
        inside = path == workspace or workspace in path.parents
        name = path.relative_to(workspace).as_posix() if inside else path.as_posix()
        if self.exact is not None:
            return self.exact in (name, path.as_posix())
        pattern = os.path.expanduser(self.pattern).removeprefix("./")  # noqa: PTH111 - a pattern is no path
        if self.action == "allow":
            absolute = pattern.startswith("/")
            return _glob(pattern).fullmatch(path.as_posix() if absolute else name if inside else "\0") is not None
        # Where names differ in case only, they may be one file: what is denied is denied in any case.
        regex = _glob(pattern.casefold())
        names = (name, path.as_posix(), *(() if "/" in pattern else (path.name,)))
        return any(regex.fullmatch(text.casefold()) for text in names)

    @property
    def _host(self) -> str | None:
        if "://" in self.pattern:
            return urlsplit(self.pattern.removeprefix("=")).hostname or ""
        return None

    def fits_url(self, url: str) -> bool:
        """Whether it fits an address: ``https://host/path*``, or a host alone."""
        seen = _seen_url(url)
        if seen is None:
            return False
        scheme, host, port, path = seen
        if self.exact is not None:
            return self.exact == url
        if "://" not in self.pattern:
            return _fits_host(host, self.pattern)
        wanted = urlsplit(self.pattern)
        if wanted.scheme != scheme or not _fits_host(host, wanted.hostname or "") or wanted.port != port:
            return False
        return fnmatchcase(path, (wanted.path or "/") + (f"?{wanted.query}" if wanted.query else ""))


def _words(pattern: str) -> list[str]:
    try:
        return shlex.split(pattern)
    except ValueError:
        return []


def _without_git_options(texts: list[str]) -> list[str]:
    at = 0
    while at < len(texts) and texts[at].startswith("-"):
        at += 2 if texts[at] in ("-C", "-c", "--git-dir", "--work-tree", "--namespace") else 1
    return texts[at:]


@lru_cache(maxsize=512)
def _glob(pattern: str) -> re.Pattern[str]:
    """A path pattern: ``*`` within a name, ``**`` over any number of folders."""
    parts: list[str] = []
    for piece in re.findall(r"(?:^|(?<=/))\*\*/|/\*\*$|\*\*|\*|\?|\[[^\]]+\]|.", pattern, re.DOTALL):
        match piece:
            case "**/":
                parts.append("(?:.*/)?")
            case "/**":
                parts.append("(?:/.*)?")
            case "**":
                parts.append(".*")
            case "*":
                parts.append("[^/]*")
            case "?":
                parts.append("[^/]")
            case _ if piece[0] == "[" and len(piece) > 1:
                parts.append(piece.replace("[!", "[^", 1).replace("\\", "\\\\"))
            case _:
                parts.append(re.escape(piece))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error:
        return re.compile(re.escape(pattern))


def _seen_url(url: str) -> tuple[str, str, int | None, str] | None:
    """Scheme, host, port and path as a server sees them; None for what different programs read differently."""
    if not url.isprintable() or any(char in url for char in "\\ "):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    if not host or parts.username is not None or parts.password is not None:
        return None
    segments: list[str] = []
    for segment in parts.path.split("/"):
        if unquote(segment) == "..":
            segments = segments[:-1]
        elif unquote(segment) != ".":
            segments.append(segment)
    path = "/" + "/".join(segments).lstrip("/")
    return parts.scheme, host, port, path + (f"?{parts.query}" if parts.query else "")


def _fits_host(host: str, pattern: str) -> bool:
    pattern = pattern.casefold().rstrip(".")
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return pattern in (host, "*")


@dataclass(frozen=True, slots=True)
class Rules:
    """Permissions: a mode, and rules over it. Deny beats ask beats allow beats the mode.

    Args:
        mode: what holds where no rule says otherwise: ``read-only``, ``ask``, ``edits`` or ``auto``.
        allow: rules for what runs unasked, such as ``run_command(pytest *)``.
        ask: rules for what is asked in every mode.
        deny: rules for what never runs, such as ``read_file(**/.env)``.
        store: the file that keeps what a person allows for good, by workspace; None keeps nothing.
        settings: rules from configuration files, with where they stand.

    Raises:
        ConfigurationError: there is no such mode, or something is not a rule.
    """

    mode: PermissionMode = "ask"
    allow: Sequence[str] = ()
    ask: Sequence[str] = ()
    deny: Sequence[str] = ()
    store: Path | None = None
    settings: Sequence[RuleSetting] = ()
    parsed: tuple[Rule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode not in PERMISSION_MODES:
            known = '"read-only", "ask", "edits" or "auto"'
            raise ConfigurationError(f'there is no permission mode "{self.mode}"', cure=f"Use {known}")
        own = [Rule.parse("deny", text) for text in self.deny]
        own += [Rule.parse("ask", text) for text in self.ask]
        own += [Rule.parse("allow", text) for text in self.allow]
        read = [Rule.parse(item.action, item.text, item.origin) for item in self.settings]
        object.__setattr__(self, "parsed", (*own, *read))
