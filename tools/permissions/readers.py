"""Commands that only look: run unasked while their arguments are known to be harmless and stay in the workspace."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from qianda.tools.permissions.shell_line import Word
from qianda.tools.workspace import is_inside

_SECRET = re.compile(
    r"\.env(\..+)?|.*\.(pem|key|p12|pfx|jks|keystore|kdbx|gpg|asc)|id_(rsa|dsa|ecdsa|ed25519)|\.netrc|\.pgpass|\.npmrc|\.pypirc"
    r"|\.git-credentials|\.htpasswd|credentials(\.json|\.toml)?|secrets?\.(json|toml|ya?ml)|\.ssh|\.aws|\.gnupg|\.docker|\.kube",
    re.IGNORECASE,
)
_HARMLESS_ENV = (".env.example", ".env.sample", ".env.template")
# Files that decide what programs run, or what Qianda itself may do.
_STEERING = frozenset((".git", ".qianda", ".mcp.json", ".envrc", ".husky"))
_MOST_FILES = 20_000
_MOST_MATCHES = 1_000
_MOST_FOLDERS = 16
_MOVERS = frozenset(("cd", "pushd", "popd", "source", ".", "eval"))


def is_secret(path: Path) -> bool:
    """Whether a path's name says that it holds keys or passwords."""
    return any(_SECRET.fullmatch(part) and part not in _HARMLESS_ENV for part in path.parts)


def is_steering(path: Path) -> bool:
    """Whether changing the file changes what programs, or Qianda, will do unasked."""
    return any(part in _STEERING for part in path.parts)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Options and operands with which a command only looks.

    Args:
        flags: its one-letter options without a value.
        values: its one-letter options with a value.
        long: its long options; those with a value end in ``=``.
        operands: what they are; ``pattern`` is a text and then paths.
    """

    flags: str = ""
    values: str = ""
    long: str = ""
    operands: Literal["paths", "path", "text", "pattern", "format", "none"] = "paths"


_COUNTS = "after-context= before-context= context= max-count="
_READERS = {
    "ls": _Reader(
        "1aAlhrRtSdFpisGgonUXu", "", "all almost-all human-readable recursive reverse directory color= sort="
    ),
    "cat": _Reader("nbsAETve", "", "number number-nonblank show-all"),
    "head": _Reader("qvz", "nc", "lines= bytes= quiet verbose"),
    "tail": _Reader("qvz", "nc", "lines= bytes= quiet verbose"),
    "wc": _Reader("lwcmL", "", "lines words bytes chars"),
    "stat": _Reader("", "c", "format="),
    "file": _Reader("bi", "", "brief mime-type"),
    "du": _Reader("shackbm", "d", "human-readable summarize max-depth= total"),
    "df": _Reader("hT", "", "human-readable"),
    "tree": _Reader("adfhC", "LIP"),
    "nl": _Reader("", "bw"),
    **dict.fromkeys(("tac", "md5sum", "sha1sum", "sha256sum"), _Reader()),
    "sort": _Reader("bdfghinruVM", "kt", "reverse unique numeric-sort human-numeric-sort key="),
    "uniq": _Reader("cdui", "fsw", "count", "path"),
    "cut": _Reader("s", "dfbc", "delimiter= fields="),
    "diff": _Reader("uqNbBwiy", "U", "unified= brief side-by-side ignore-all-space"),
    "cmp": _Reader("sl"),
    "realpath": _Reader("e"),
    "grep": _Reader(
        "inlcvwxoHhsqEFGPaLzrI",
        "eABCm",
        "ignore-case line-number files-with-matches count invert-match word-regexp only-matching recursive "
        f"fixed-strings extended-regexp perl-regexp include= exclude= exclude-dir= {_COUNTS}",
        "pattern",
    ),
    "rg": _Reader(
        "inlcvwxoFsSHIN",
        "egABCmtT",
        "ignore-case line-number files-with-matches count invert-match word-regexp only-matching fixed-strings "
        f"smart-case glob= type= type-not= no-heading heading max-depth= files {_COUNTS}",
        "pattern",
    ),
    "jq": _Reader("rcSeMCjs", "", "raw-output compact-output sort-keys slurp", "pattern"),
    "tr": _Reader("dscC", "", "", "text"),
    "echo": _Reader("neE", "", "", "text"),
    "basename": _Reader("a", "s", "", "text"),
    "dirname": _Reader("", "", "", "text"),
    "which": _Reader("a", "", "", "text"),
    "seq": _Reader("w", "s", "", "text"),
    "date": _Reader("uR", "", "utc", "format"),
    "uname": _Reader("asnrvmpio", "", "", "none"),
    **dict.fromkeys(("true", "false", "whoami", "nproc", "id", ":"), _Reader(operands="none")),
    "pwd": _Reader("LP", "", "", "none"),
}
_SHOW_VERSIONS = "python python3 node npm pip pip3 uv cargo rustc go gcc g++ clang make git java ruby perl"
_FIND_TESTS = "-name -iname -path -ipath -type -maxdepth -mindepth -size -mtime -mmin -newer"
_FIND_ALONE = "-not ! -o -or -a -and -print -print0 -empty ( )"
_GIT = {
    "status": "s b u v z short branch porcelain untracked-files ignored",
    "diff": "p w b M C U unified stat shortstat numstat summary name-only name-status cached staged word-diff color "
    "no-color ignore-all-space check no-ext-diff no-textconv minimal",
    "log": "p n s oneline stat shortstat name-only name-status graph all decorate no-decorate no-merges merges patch "
    "no-patch abbrev-commit since until after before author grep format pretty max-count follow date reverse",
    "show": "p s stat name-only name-status oneline format pretty no-patch patch",
    "blame": "L w",
    "ls-files": "c m o s cached modified others exclude-standard stage",
    "rev-parse": "short abbrev-ref show-toplevel verify is-inside-work-tree git-dir",
    "describe": "tags always dirty",
    "shortlog": "s n e",
}
_GIT_EXACTLY = re.compile(
    r"branch( (-a|-v|-vv|-r|--list|--show-current))?|tag( (-l|--list))?|remote|stash list",
)
_GIT_CONFIG = {
    "core": "repositoryformatversion filemode bare logallrefupdates ignorecase precomposeunicode symlinks autocrlf eol",
    "remote": "url fetch pushurl tagopt",
    "branch": "remote merge rebase",
    "user": "name email",
    "init": "defaultbranch",
    "pull": "rebase ff",
    "push": "default autosetupremote",
    "color": "ui",
}


class Looking:
    """Judges the simple commands of one line.

    Args:
        workspace: the folder that they may look at; resolved.
        folder: where the shell starts.
        commands: all of them, as any may change the shell's folder for the others.
    """

    def __init__(self, workspace: Path, folder: Path, commands: Iterable[Sequence[Word]]) -> None:
        self._workspace = workspace
        self.folders = {folder}  # where the shell may be
        self._looks = True
        movers = [words for words in commands if words and words[0].text in _MOVERS]
        for words in movers:
            self._looks &= words[0].text == "cd" and self._go(words[1:])

    def only_looks(self, words: Sequence[Word]) -> bool:
        """Whether a simple command changes nothing, and reads nothing outside the workspace and no secrets."""
        if not words or not words[0].fixed or not self._looks:
            return False
        name, rest = words[0].text, words[1:]
        match name:
            case "cd":
                return True
            case "git":
                return self._git(rest)
            case "find":
                return self._find(rest)
            case "sed":
                prints = len(rest) >= 2 and rest[0].text == "-n" and re.fullmatch(r"\d+(,(\d+|\$))?p", rest[1].text)
                return bool(prints) and rest[1].fixed and self._reads(rest[2:])
            case _ if name in _SHOW_VERSIONS.split() and [word.text for word in rest] in (["--version"], ["-V"]):
                return True
            case _ if name in _READERS:
                return self._plain(name, _READERS[name], rest)
            case _:
                return False

    def _go(self, rest: Sequence[Word]) -> bool:
        if len(rest) != 1 or not rest[0].fixed or rest[0].text.startswith("-") or not self._reads(rest):
            return False
        self.folders |= {Path(os.path.realpath(folder / rest[0].text)) for folder in self.folders}
        return len(self.folders) <= _MOST_FOLDERS

    def _plain(self, name: str, reader: _Reader, rest: Sequence[Word]) -> bool:
        operands = _operands(reader, rest)
        if operands is None:
            return False
        letters = "".join(word.text[1:] for word in rest if re.match(r"-\w", word.text))
        match reader.operands:
            case "text":
                return True
            case "none":
                return not operands
            case "format":
                return all(word.text.startswith("+") for word in operands)
            case "path":
                return len(operands) <= 1 and self._reads(operands)
            case "pattern":
                texts = [word.text for word in rest]
                if "e" not in letters and "--files" not in texts:
                    operands = operands[1:]
                if name == "rg" or (name == "grep" and ("r" in letters or "--recursive" in texts)):
                    return self._reads(operands or (Word("."),), below=True, hidden=name == "grep")
                return self._reads(operands)
            case "paths":
                return self._reads(operands)

    def _find(self, rest: Sequence[Word]) -> bool:
        count = next((n for n, word in enumerate(rest) if word.text[:1] in ("-", "(", "!")), len(rest))
        at = count
        while at < len(rest):
            if rest[at].text in _FIND_TESTS.split() and at + 1 < len(rest) and rest[at + 1].literal:
                at += 2
            elif rest[at].text in _FIND_ALONE.split():
                at += 1
            else:
                return False
        return self._reads(rest[:count])

    def _reads(self, operands: Sequence[Word], *, below: bool = False, hidden: bool = False) -> bool:
        for word in operands:
            # In brackets, shells differ about what is meant.
            if not word.literal or (word.pattern and "[" in word.text):
                return False
            if word.fixed and word.text in ("-", "/dev/null"):
                continue
            files = self.files(word)
            if len(files) > _MOST_MATCHES:
                return False
            for path in files:
                if not is_inside(self._workspace, path) or is_secret(path.relative_to(self._workspace)):
                    return False
                if below and not _free_of_secrets(path, hidden=hidden):
                    return False
        return True

    def files(self, word: Word) -> list[Path]:
        """The files that a literal word may name, links followed."""
        paths: list[Path] = []
        for folder in self.folders:
            # Not Path.glob, which finds hidden names by * as the shell does not.
            found = islice(glob.iglob(word.text, root_dir=folder), _MOST_MATCHES + 1) if word.pattern else ()  # noqa: PTH207 - see above
            paths += (Path(os.path.realpath(folder / name)) for name in (word.text, *found))
        return paths

    def _git(self, rest: Sequence[Word]) -> bool:
        while rest and rest[0].text in ("--no-pager", "-P"):
            rest = rest[1:]
        if not rest or not all(word.fixed for word in rest):
            return False
        texts = [word.text for word in rest]
        if not all(_git_runs_nothing(folder) for folder in self.folders):
            return False
        if _GIT_EXACTLY.fullmatch(" ".join(texts)):
            return True
        known = _GIT.get(texts[0], "").split()
        if not known:
            return False
        options = texts[1 : texts.index("--") if "--" in texts else None]
        for option in (text for text in options if text.startswith("-")):
            name = option.partition("=")[0]
            if not re.fullmatch(r"-\d+", option) and not (
                name[2:] in known if name.startswith("--") else name[1:2] in known and len(name[1:2]) == 1
            ):
                return False
        paths = [Path(text.rpartition(":")[2]) for text in texts[1:] if not text.startswith("-")]
        return not any(path.is_absolute() or {"..", "~"} & set(path.parts) or is_secret(path) for path in paths)


def _operands(reader: _Reader, rest: Sequence[Word]) -> Sequence[Word] | None:
    """What is left when the options are gone; None when one is not known to be harmless."""
    operands: list[Word] = []
    long = reader.long.split()
    at = 0
    while at < len(rest):
        word = rest[at]
        text = word.text
        at += 1
        if text == "--":
            return [*operands, *rest[at:]]
        if not word.literal:
            if reader.operands != "text" or text.startswith("-"):
                return None
            operands.append(word)
        elif text == "-" or not text.startswith("-"):
            operands.append(word)
        elif text.startswith("--"):
            name, equals, _ = text[2:].partition("=")
            if name != "color" and (f"{name}=" if equals else name) not in long:
                return None
        elif not re.fullmatch(r"-\d+", text) or reader.values[:1] not in ("n", "e"):
            valued = next((n for n, letter in enumerate(text[1:], 1) if letter in reader.values), 0)
            if not all(letter in reader.flags for letter in text[1 : valued or None]):
                return None
            at += valued == len(text) - 1 and valued > 0
    return operands


def _free_of_secrets(folder: Path, *, hidden: bool) -> bool:
    """Whether no file below has a name that promises secrets; False also where there are too many to look."""
    seen = 0
    for place, folders, files in os.walk(folder):
        if not hidden:
            folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in (*folders, *files) if hidden or not name.startswith(".")]
        seen += len(names)
        if seen > _MOST_FILES or any(is_secret(Path(name)) for name in names) or not Path(place).is_dir():
            return False
    return True


def _git_runs_nothing(folder: Path) -> bool:
    """Whether the repository's own configuration and hooks leave reading commands without a program to run."""
    for place in (folder, *folder.parents):
        if (place / "HEAD").is_file() and (place / "objects").is_dir():
            return False  # a bare repository, which anybody can have put there
        if (place / ".git").exists():
            return _is_plain(place / ".git") and not (place / ".gitmodules").exists()
    return True


def _is_plain(repository: Path) -> bool:
    if not repository.is_dir() or repository.is_symlink() or (repository / "hooks/post-index-change").exists():
        return False
    if (repository / "commondir").exists():
        return False  # its configuration is elsewhere
    try:
        lines = (repository / "config").read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return False
    section = ""
    for line in lines:
        if header := re.fullmatch(r"\[(\w+)(?: \"[^\"\\\n]*\")?\]\s*", line):
            section = header[1].casefold()
        elif setting := re.fullmatch(r"\s*([A-Za-z]+)\s*=[^\\]*", line):
            if setting[1].casefold() not in _GIT_CONFIG.get(section, "").split():
                return False
        elif not re.fullmatch(r"\s*([#;].*)?", line):
            return False
    return True
