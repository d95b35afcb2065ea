"""How the doctor's report reads: on a terminal, and as a Markdown file that can be shared."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qianda.cli.terminal import Style, Terminal, clean, is_terminal

Report = dict[str, Any]

_CLEAR = "\r\x1b[2K"

_MARKS: dict[str, tuple[str, Style]] = {
    "ok": ("done", "done"),
    "pass": ("done", "done"),
    "no": ("note", "dim"),
    "skip": ("note", "dim"),
    "problem": ("failed", "failed"),
    "fail": ("failed", "failed"),
    "unknown": ("denied", "denied"),
}
_CHECKS = {
    "answers": "answers",
    "window": "window",
    "tools": "tool calls",
    "reasoning": "thinking",
    "switch": "thinking off",
    "structured": "schemas",
    "images": "images",
}


class Progress:
    """The line on a terminal that says what is being done; the next thing that is written takes its place."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._on = is_terminal(terminal.err) and os.environ.get("TERM", "dumb") != "dumb"

    def show(self, text: str) -> None:
        """Show a line in the place of the one before."""
        if self._on:
            line = self._terminal.one_line(text, self._terminal.columns - 1)
            self._terminal.err.write(f"{_CLEAR}{self._terminal.style(line, 'dim')}")
            self._terminal.err.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._on:
            self._terminal.err.write(_CLEAR)
            self._terminal.err.flush()


def verdict(statuses: Iterable[str]) -> str:
    """How the live checks came out, in a few words."""
    count = Counter(statuses)
    parts = [f"{count['pass']} of {count.total()} passed"]
    return ", ".join(parts + [f"{count[name]} {said}" for name, said in (("fail", "failed"), ("skip", "skipped"))])


def marked(status: str, text: str, terminal: Terminal) -> str:
    """A line with the mark of its status: ok, no, problem, unknown, pass, skip or fail."""
    symbol, style = _MARKS[status]
    return f"{terminal.style(terminal.symbol(symbol), style)} {text}"


def sections(report: Report, terminal: Terminal) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The report as titles with rows of a name and a line, fit for the terminal.

    Args:
        report: what ``--json`` writes.
        terminal: for the marks and their colours.
    """
    if report["server"]:
        yield "Would use", [(name, clean(text)) for name, text in _chosen(report)]
        if report["findings"]:
            yield "What it does", list(_findings(report["findings"], terminal))
    else:
        yield "Would use", [("nothing", "no model can be used; the last line says why")]
    found = [(server["kind"], clean(f"{server['url']}: {', '.join(server['models'])}")) for server in report["found"]]
    yield "Answers on this machine", found or [("nothing", "no model server on the usual ports")]
    engine = report["embedded"]
    yield (
        "Embedded engine",
        [
            ("llama.cpp", "installed" if engine["installed"] else "not installed: pip install 'qianda[local]'"),
            ("demo model", "here" if engine["demo_model"] else "not here: qianda models pull demo"),
        ],
    )
    files = [("read", clean(path)) for path in report["config_files"]] or [("read", "no file")]
    yield "Settings", files + [("ignored", clean(f"{line} (until qianda trust)")) for line in report["ignored"]]
    box = report["sandbox"]
    yield "Commands", [("sandbox", "works" if box == "works" else clean(f"none: {box}"))]
    sizes = [(clean(name), _human(size)) for name, size in report["data_bytes"].items()]
    yield "Data", [("folder", clean(report["data_folder"])), *sizes]


def _chosen(report: Report) -> Iterator[tuple[str, str]]:
    listed = " (the server does not list it)" if report["model_listed"] is False else ""
    yield "server", f"{report['server']}{', version ' + report['version'] if report['version'] else ''}"
    yield "model", f"{report['model']}{', a demo model, not a Qwen' if report['demo'] else ''}{listed}"
    yield "family", report["family"] if report["qwen"] else "not a Qwen: works all the same, with safe defaults"
    yield "why", report["why"]
    yield "window", f"{report['window']:,} tokens" if report["window"] else "unknown: the server does not say"
    others = [name for name in report["models"] if name != report["model"]]
    if others:
        yield "also there", ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")


def _findings(findings: Sequence[Report], terminal: Terminal) -> Iterator[tuple[str, str]]:
    for finding in findings:
        yield _CHECKS[finding["check"]], marked(finding["status"], clean(finding["seen"]), terminal)
        if finding["cure"]:
            yield "", f"  cure: {clean(finding['cure'])}"
        if finding["meanwhile"]:
            yield "", terminal.style(f"  meanwhile Qianda {clean(finding['meanwhile'])}", "dim")


def _human(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB" if size >= 100_000 else f"{size / 1_000:,.1f} kB"


def markdown(report: Report, *, secrets: Sequence[str] = ()) -> str:
    """The report as Markdown, without keys, addresses of other machines, and names of this one's folders.

    Args:
        report: what ``--json`` writes.
        secrets: texts that must not be in it wherever they turn up.
    """
    from qianda import __version__

    lines = [
        "# qianda doctor",
        "",
        f"Qianda {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "",
    ]
    if report["server"]:
        window = f"{report['window']:,}" if report["window"] else "unknown"
        lines += [
            f"- server: {report['kind']} {report['version'] or '(version unknown)'}",
            f"- model: {report['model'].rpartition('/')[2]}",
            f"- family: {report['family']}",
            f"- window: {window}",
            "",
            "| check | status | seen | cure |",
            "|---|---|---|---|",
        ]
        lines += [_row(_CHECKS[one["check"]], one["status"], one["seen"], one["cure"]) for one in report["findings"]]
    if report["error"]:
        lines += ["", f"Not usable: {report['error']}"]
    if checks := report.get("checks"):
        lines += ["", f"## Live checks: {verdict(check['status'] for check in checks)}", ""]
        lines += ["| check | about | result | seconds | tokens out | seen |", "|---|---|---|---|---|---|"]
        lines += [
            _row(one["name"], one["about"], one["status"], f"{one['seconds']:.1f}", str(one["tokens"]), one["seen"])
            for one in checks
        ]
    return _scrubbed("\n".join(lines) + "\n", report["url"] or "", secrets)


def _row(*cells: str) -> str:
    return f"| {' | '.join(' '.join(clean(cell).replace('|', chr(92) + '|').split()) for cell in cells)} |"


def _scrubbed(text: str, url: str, secrets: Sequence[str]) -> str:
    host = urlsplit(url).hostname or ""
    for secret in (*secrets, url, urlsplit(url).netloc, host):
        if len(secret) > 3 and secret not in ("localhost", "127.0.0.1"):
            text = text.replace(secret, "…")
    text = text.replace(str(Path.home()), "~")
    return re.sub(r"\b(sk-|hf_|Bearer )[A-Za-z0-9_.-]{6,}", r"\1…", text)
