"""Commands that run other commands (``sudo``, ``xargs``, ``sh -c``, ``find -exec`` …): which ones they run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from qianda.tools.permissions.shell_line import Line, Redirection, Word, read_line

Words = tuple[Word, ...]
_UNKNOWN = Word("…", literal=False)
_DEEPEST = 5


@dataclass(frozen=True, slots=True)
class _Wrapper:
    """How a wrapper's own options are told from the command that it runs.

    Args:
        flags: options without a value: letters, then long names.
        values: options with a value, the same way.
        operands: how many operands come before the command.
        harmless: it changes nothing about the command that would need a rule of its own.
        line: the rest is joined and given to a shell.
        appends: it adds arguments that are not known here.
    """

    flags: str = ""
    values: str = ""
    operands: int = 0
    harmless: bool = False
    line: bool = False
    appends: bool = False


_WRAPPERS = {
    "sudo": _Wrapper(
        "A b E e H i K k n P S s --preserve-env --non-interactive", "C D g h p R r T t U u --user --group"
    ),
    "doas": _Wrapper("n s", "C u"),
    "env": _Wrapper("i 0 v --ignore-environment", "u C --unset --chdir"),
    "nice": _Wrapper("", "n --adjustment", harmless=True),
    "ionice": _Wrapper("t", "c n --class --classdata", harmless=True),
    "nohup": _Wrapper(harmless=True),
    "timeout": _Wrapper("v --foreground --preserve-status", "k s --kill-after --signal", 1, harmless=True),
    "time": _Wrapper("p v", "f", harmless=True),
    "stdbuf": _Wrapper("", "i o e", harmless=True),
    "setsid": _Wrapper("c f w", harmless=True),
    "command": _Wrapper("p", harmless=True),
    "builtin": _Wrapper(harmless=True),
    "coproc": _Wrapper(),
    "exec": _Wrapper("c l", "a"),
    "chroot": _Wrapper("", "", 1),
    "taskset": _Wrapper("", "", 1),
    "chrt": _Wrapper("b f i o r", "", 1),
    "busybox": _Wrapper(),
    "strace": _Wrapper("f q c", "e o p s"),
    "xargs": _Wrapper("0 r t p x --null --no-run-if-empty", "a d E I L n P s --max-args --max-procs", appends=True),
    "watch": _Wrapper("b c d e g t x", "n --interval", line=True),
    "ssh": _Wrapper("A a C q T t v x", "i l p", 1, line=True),
    "parallel": _Wrapper("k X m --keep-order", "j N n --jobs", line=True, appends=True),
}
_RUNNERS = ("uv", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi", "conda")  # their ``run`` takes a command
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "pwsh")
_READ_AS_BASH = ("sh", "bash", "dash")
# Code on the command line, by letters and long options; programs that are code as a whole have "".
_CODE = {
    r"python[\d.]*|pypy[\d.]*": "c",
    r"node|nodejs|bun": "e p --eval --print",
    r"deno": "eval",
    r"perl": "e E",
    r"ruby|lua[\d.]*|luajit": "e",
    r"php": "r",
    r"expect": "c",
    r"osascript|julia|Rscript|guile": "e --eval",
    r"[gmn]?awk|gdb|tclsh|dc|ed|ex|vim?|nvim|emacs|less|more|man": "",
    r"alias|hash|enable|complete|bind|fc|set|shopt|source|\.": "",
    r"su|runuser|script|flock|at|batch|systemd-run|unshare": "",
}
# Options by which other programs run programs or write files.
_ESCAPES = {
    "git": "-c --config-env --exec-path -O --open-files-in-pager --output --ext-diff --upload-pack --receive-pack -x "
    "--exec bisect foreach filter-branch difftool mergetool ext::",
    "tar": "--checkpoint-action --to-command --use-compress-program -I -F --rsh-command --info-script "
    "--new-volume-script",
    "rsync": "-e --rsh --rsync-path",
    "sort": "-o --output --compress-program",
    "rg": "--pre --hostname-bin",
    "fd": "-x -X --exec --exec-batch",
    "zip": "-T -TT --unzip-command",
    "scp": "-S -o",
    "sftp": "-S -o",
    "curl": "-K --config",
    "make": "--eval",
    "go": "-toolexec -exec",
}
_SED_SCRIPT = re.compile(r"((\d+|\$|/[^/\n]*/)(,(\d+|\$|/[^/\n]*/))?)?[pdq=]|s([/|#,])[^\n]*?\5[^\n]*?\5[gpiI0-9]*")


@dataclass(slots=True)
class Inner:
    """What a command runs besides itself.

    Args:
        lines: the commands that it runs.
        harmless: it needs no rule itself, only what it runs.
        unclear: why only a rule with exactly this command can allow it, or "".
    """

    lines: list[Line] = field(default_factory=list[Line])
    harmless: bool = False
    unclear: str = ""


def inner_of(words: Words, depth: int = 0) -> Inner:
    """What a simple command runs besides itself.

    Args:
        words: the command, with the assignments before it.
        depth: how many wrappers are around it.
    """
    start = _after_assignments(words)
    if start == len(words):
        return Inner()
    name, rest = words[start], words[start + 1 :]
    if not name.fixed or depth > _DEEPEST:
        return Inner(unclear=f"which command {name.text} is" if not name.fixed else "commands in commands in commands")
    program = name.text.rpartition("/")[2]
    if program in _RUNNERS and rest[:1] == (Word("run"),):
        return _wrapped(_Wrapper(), rest[1:], program)
    if program in _WRAPPERS:
        return _wrapped(_WRAPPERS[program], rest, program)
    if program in _SHELLS:
        return _shell(program, rest)
    match program:
        case "eval":
            return _joined(rest)
        case "trap":
            return _joined(rest[:1])
        case "find":
            return _find(rest)
        case "sed":
            return Inner(unclear=_sed(rest))
        case _:
            return Inner(unclear=_code(program, rest) or _escape(program, rest))


def _after_assignments(words: Words) -> int:
    return next((n for n, word in enumerate(words) if not re.match(r"[A-Za-z_]\w*\+?=", word.text)), len(words))


def _wrapped(wrapper: _Wrapper, rest: Words, program: str) -> Inner:
    flags, values = wrapper.flags.split(), wrapper.values.split()
    operands, at = wrapper.operands, 0
    assigned: list[Word] = []
    while at < len(rest):
        text = rest[at].text
        if not rest[at].literal:
            break
        if text == "--":
            at += 1
            break
        name, equals, _ = text.partition("=")
        if text.startswith("--") and len(text) > 2:
            known = name in values or (name in flags and not equals)
            at += 1 if equals or name in flags else 2
        elif text.startswith("-") and len(text) > 1:
            valued = next((n for n, letter in enumerate(text[1:], 1) if letter in values), 0)
            known = all(letter in flags for letter in text[1 : valued or None]) or text[1:].isdigit()
            at += 2 if valued and valued == len(text) - 1 else 1
        elif program in ("env", "sudo", "doas") and re.match(r"[A-Za-z_]\w*=", text):
            known = True
            assigned.append(rest[at])
            at += 1
        elif operands:
            known, operands = True, operands - 1
            at += 1
        else:
            break
        if not known:
            return Inner(unclear=f"the option {text} of {program}")
    command = (*assigned, *rest[at:]) if at < len(rest) else ()
    if program == "parallel":
        command = command[: next((n for n, word in enumerate(command) if word.text.startswith(":::")), len(command))]
    if not command:
        return Inner(unclear="" if program in ("env", "exec", "time") else f"what {program} runs")
    added = (_UNKNOWN,) if wrapper.appends else ()
    if wrapper.line:
        return _joined(command, added)
    if wrapper.appends or any("{}" in word.text for word in command):
        command = tuple(Word(word.text, literal=False) if "{}" in word.text else word for word in command)
    return Inner([Line([(*command, *added)])], harmless=wrapper.harmless)


def _joined(words: Words, added: Words = ()) -> Inner:
    if not words or not all(word.fixed and "{" not in word.text for word in words):
        return Inner(unclear="a command that is put together when it runs")
    line = read_line(" ".join(word.text for word in words))
    if added and line.commands:
        line.commands[-1] = (*line.commands[-1], *added)
    return Inner([line])


def _shell(program: str, rest: Words) -> Inner:
    at = 0
    while at < len(rest) and re.match(r"[-+]\w|--", rest[at].text):
        text = rest[at].text
        if not rest[at].fixed or text.startswith("--") or text[1] in "oO" or "s" in text[1:]:
            return Inner(unclear=f"the option {text} of {program}")
        at += 1
        if text.startswith("-") and "c" in text:
            inner = _joined(rest[at : at + 1])
            if program not in _READ_AS_BASH:
                inner.unclear = f"{program}'s own grammar"
            return inner
    return Inner(unclear="" if at < len(rest) and rest[at].text != "-" else f"what {program} reads from its input")


def _find(rest: Words) -> Inner:
    inner, at = Inner(), 0
    line = Line()
    while at < len(rest):
        text = rest[at].text
        at += 1
        if text in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next((n for n in range(at, len(rest)) if rest[n].text in (";", "+")), len(rest))
            command = tuple(Word(word.text, literal=False) if "{}" in word.text else word for word in rest[at:end])
            if command:
                line.commands.append(command)
            at = end + 1
        elif text == "-delete":
            line.commands.append((Word("rm"), _UNKNOWN))
        elif text in ("-fprint", "-fprint0", "-fprintf", "-fls") and at < len(rest):
            line.redirections.append(Redirection(writes=True, target=rest[at]))
    if line.commands or line.redirections:
        inner.lines.append(line)
    return inner


def _sed(rest: Words) -> str:
    scripts: list[Word] = []
    operands: list[Word] = []
    at = 0
    while at < len(rest):
        text = rest[at].text
        at += 1
        if text in ("-e", "--expression") and at < len(rest):
            scripts.append(rest[at])
            at += 1
        elif re.fullmatch(r"-[nErsuz]+|-i[.\w~]*|--in-place|--quiet|--regexp-extended", text):
            continue
        elif text.startswith("-") and text != "-":
            return f"the option {text} of sed"
        else:
            operands.append(rest[at - 1])
    scripts = scripts or operands[:1]
    known = all(script.literal and _SED_SCRIPT.fullmatch(script.text) for script in scripts)
    return "" if known else "a sed script that may run commands or write files"


def _code(program: str, rest: Words) -> str:
    options = next((options for names, options in _CODE.items() if re.fullmatch(names, program)), None)
    if options is None:
        return ""
    if not options:
        return f"what {program} runs"
    script = False  # what comes behind a script or a module is its own
    for word in rest:
        text = word.text
        long = text.partition("=")[0] in options.split()
        short = text[:1] == "-" != text[1:2] and any(len(option) == 1 and option in text for option in options.split())
        if long or short:
            return f"code for {program}"
        if not text.startswith("-") or (text == "-m" and program.startswith("py")):
            script = True
            break
    informs = len(rest) == 1 and rest[0].text in ("--version", "-V", "-v", "--help")
    return "" if script or informs else f"what {program} reads from its input"


def _escape(program: str, rest: Words) -> str:
    for escape in _ESCAPES.get(program, "").split():
        for word in rest:
            long = escape.startswith("--") or not escape.startswith("-")
            if word.text == escape or word.text.startswith(escape + "=" if long else escape):
                return f"{escape} of {program}"
            # Long options may be shortened, and short ones run together.
            if escape.startswith("--") and len(word.text) > 3 and escape.startswith(word.text.partition("=")[0]):
                return f"{escape} of {program}"
            if re.fullmatch(r"-\w+", word.text) and len(escape) == 2 and escape[1] in word.text:
                return f"{escape} of {program}"
            if escape.endswith("::") and escape in word.text:
                return f"{escape} of {program}"
    return ""
