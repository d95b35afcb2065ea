"""What a run looks like on a terminal, event by event."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda.cli.render import Repeat, RunView, describe_arguments, summary
from qianda.cli.terminal import Terminal, clean, width
from qianda.models.events import (
    CallDenied,
    CallFailed,
    CallFinished,
    CallForced,
    CallProgress,
    CallRepaired,
    CallStarted,
    Compacted,
    Event,
    Notice,
    PlanChanged,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from qianda.models.messages import Usage
from qianda.models.plan import Plan, PlanStep


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(*, colour: bool = False, unicode: bool = True) -> Terminal:
    return Terminal(Screen(), Screen(), interactive=True, colour=colour, unicode=unicode)


def event(kind: type[Any], **fields: Any) -> Event:
    return kind(run_id="r", seq=0, time=0.0, **fields)


def call(kind: type[Any], call_id: str = "c1", name: str = "read_file", **fields: Any) -> Event:
    return event(kind, call_id=call_id, name=name, **fields)


def said(text: str) -> Event:
    return event(TextDelta, text=text)


def usage() -> Event:
    return event(UsageReported, request=Usage(), total=Usage())


def retry() -> Event:
    return event(Retrying, cause="the connection broke", attempt=2, wait=0.5, discard=True)


def finished(output: str = "") -> Event:
    return event(RunFinished, reason="done", output=output)


def shown(events: Sequence[Event], where: Terminal | None = None, **options: bool) -> str:
    where = where or terminal()
    view = RunView(where, **options)
    for one in events:
        view.show(one)
    assert isinstance(where.out, io.StringIO)
    return where.out.getvalue()


def test_a_run_reads_as_calls_results_and_answer() -> None:
    output = shown(
        [
            call(CallStarted, arguments='{"path": "price.txt", "limit": 3}'),
            call(CallFinished, content="1\n2\n3", seconds=0.1),
            usage(),
            said("It is "),
            said("391."),
            finished(),
        ]
    )
    assert output == "→ read_file path=price.txt limit=3\n✓ 3 lines\nIt is 391.\n"


def test_the_difference_of_an_edit_is_shown() -> None:
    difference = "edited a.py, 1 replacement:\n@@ -1 +1 @@\n-old\n+new"
    assert shown([call(CallFinished, content=difference, seconds=0.1)]) == (
        "✓ edited a.py, 1 replacement:\n  @@ -1 +1 @@\n  -old\n  +new\n"
    )
    git = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-old\n+new"
    assert shown([call(CallFinished, content=git, seconds=0.1)]) == "✓ 6 lines\n"


def test_a_denied_and_a_failed_call_never_look_like_a_done_one() -> None:
    where = terminal(colour=True)
    output = shown(
        [
            call(CallFinished, content="fine", seconds=0.1),
            call(CallFailed, error="no such file", seconds=0.1),
            call(CallDenied, reason="not agreed", by="nobody"),
        ],
        where,
    )
    done, failed, denied = output.splitlines()
    assert done == "\x1b[32m✓ fine\x1b[0m"
    assert failed == "\x1b[31m✗ no such file\x1b[0m"
    assert denied == "\x1b[33m⊘ denied: not agreed\x1b[0m"


def test_a_mended_call_shows_when_verbose_and_a_forced_one_always() -> None:
    events = [
        call(CallRepaired, reason="a comma too many"),
        event(CallForced, name="read_file", how="required", reason="path is missing"),
        event(CallForced, name="", how="", reason="no such tool"),
    ]
    asked = ["read_file is asked for once more: path is missing", "A call is asked for once more: no such tool"]
    assert [line.endswith(end) for line, end in zip(shown(events).splitlines(), asked, strict=True)] == [True, True]
    assert shown(events, verbose=True).startswith("· read_file: mended: a comma too many\n")


def test_a_terminal_without_utf8_gets_ascii_marks() -> None:
    output = shown(
        [
            call(CallStarted, arguments='{"path": "' + "x" * 100 + '"}'),
            call(CallFinished, content="y", seconds=0.1),
            call(CallFailed, error="z", seconds=0.1),
            call(CallDenied, reason="w", by="rule"),
            event(Notice, text="n"),
            retry(),
        ],
        terminal(unicode=False),
    )
    assert output.isascii()
    assert [line.split()[0] for line in output.splitlines()] == ["->", "+", "x", "!", "-", "~"]


def test_thinking_is_dim_and_without_colours_it_is_named() -> None:
    thinking = [event(ThinkingDelta, text="Let me "), event(ThinkingDelta, text="see."), said("\n\nHi"), finished()]
    assert shown(thinking) == "(thinking) Let me see.\nHi\n"
    coloured = shown(thinking, terminal(colour=True))
    assert coloured == "\x1b[2mLet me \x1b[0m\x1b[2msee.\x1b[0m\nHi\n"


def test_the_lines_for_listening_say_states_in_words_and_are_whole() -> None:
    long = "w" * 300
    steps = (PlanStep("Look", "doing"), PlanStep("Write"))
    output = shown(
        [
            event(ThinkingDelta, text="Hm."),
            said("Yes."),
            call(CallStarted, arguments="{}"),
            call(CallFinished, content="fine", seconds=0.1),
            call(CallFailed, error=long, seconds=0.1),
            call(CallDenied, reason="not agreed", by="person"),
            event(PlanChanged, plan=Plan(steps)),
            event(Retrying, cause="the connection broke", attempt=2, wait=0.5, discard=False),
            finished(),
        ],
        replace(terminal(), words=True),
    )
    assert output.splitlines() == [
        "(thinking) Hm.",
        "(answer) Yes.",
        "call: read_file",
        "done: fine",
        f"failed: {long}",
        "denied: not agreed",
        "note: Plan",
        "doing: 1. Look",
        "to do: 2. Write",
        "again: the connection broke; attempt 2 in 0.5 s",
    ]


def test_results_of_calls_that_run_together_say_whose_they_are() -> None:
    output = shown(
        [
            call(CallStarted, "a", "one", arguments="{}"),
            call(CallStarted, "b", "two", arguments="{}"),
            call(CallFinished, "b", "two", content="B", seconds=0.1),
            call(CallFailed, "a", "one", error="A", seconds=0.1),
            call(CallStarted, "c", "three", arguments="{}"),
            call(CallFinished, "c", "three", content="C", seconds=0.1),
        ]
    )
    assert output.splitlines()[2:] == ["✓ two: B", "✗ one: A", "→ three", "✓ C"]


def test_a_compaction_is_one_line() -> None:
    compacted = event(Compacted, stage="results", before=6_323, after=2_513, results=13)
    told = shown([compacted, said("Hi"), finished()])
    assert "· Context compacted: 6,323 to 2,513 tokens (13 results shortened)\n" in told
    assert shown([compacted, said("Hi"), finished()], quiet=True) == "Hi\n"


def test_quiet_shows_the_answer_only_and_verbose_everything() -> None:
    events = [
        event(ThinkingDelta, text="hm"),
        call(CallStarted, arguments='{"text": "' + "long " * 30 + '"}'),
        call(CallProgress, text="half"),
        call(CallFinished, content="1\n2", seconds=0.1),
        usage(),
        event(Notice, text="note"),
        said("Hi"),
        finished(),
    ]
    assert shown(events, quiet=True) == "Hi\n"
    verbose = shown(events, verbose=True)
    assert "long " * 29 in verbose
    assert "· half" in verbose
    assert "✓ 1\n  2\n" in verbose
    assert "tokens in" in verbose


def test_server_and_model_stand_on_stderr_if_that_is_a_terminal() -> None:
    started = event(RunStarted, server="vLLM at http://h/v1", model="qwen3-8b", why="you named the server")
    where = terminal()
    assert shown([started], where) == ""
    assert isinstance(where.err, io.StringIO)
    assert where.err.getvalue() == "· qwen3-8b · vLLM at http://h/v1 · you named the server\n"
    piped = Terminal(Screen(), io.StringIO(), interactive=True, colour=False, unicode=True)
    shown([started], piped)
    assert isinstance(piped.err, io.StringIO)
    assert piped.err.getvalue() == ""


def test_what_a_retry_says_again_is_not_shown_again() -> None:
    again = [
        said("The answer "),
        said("is 4"),
        retry(),
        said("The "),
        said("answer is 42"),
        said("."),
        usage(),
        finished(),
    ]
    assert shown(again) == "The answer is 4\n↻ the connection broke; attempt 2 in 0.5 s\n2.\n"


def test_a_retry_that_goes_otherwise_is_said_and_shown_whole() -> None:
    other = [said("The answer is 4"), retry(), said("The "), said("result: 42"), usage(), finished()]
    assert shown(other).splitlines()[1:] == [
        "↻ the connection broke; attempt 2 in 0.5 s",
        "↻ the beginning above is void; what counts:",
        "The result: 42",
    ]


def test_a_retry_that_stops_short_of_what_is_shown_is_said() -> None:
    short = [said("The answer is 42 and"), retry(), said("The answer is 42"), usage(), finished()]
    assert shown(short).splitlines()[2:] == ["↻ the beginning above is void; what counts:", "The answer is 42"]


@given(
    broken=st.lists(st.text("ab", min_size=1, max_size=4), max_size=5),
    whole=st.lists(st.text("ab", min_size=1, max_size=4), max_size=5),
    second=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
def test_the_screen_ends_with_the_whole_reply_however_often_it_broke(
    broken: list[str], second: list[str], whole: list[str]
) -> None:
    """Whatever was cut where: after the last 'void' mark, or from the start, stands exactly the last reply."""
    repeat = Repeat()
    screen = ""
    for attempt in (broken, second, whole):
        for piece in attempt:
            differs, text = repeat.feed(piece)
            screen = text if differs else screen + text
        if attempt is not whole:
            repeat.discard()
    differs, text = repeat.turn_ends()
    screen = text if differs else screen + text
    assert screen == "".join(whole)


@pytest.mark.parametrize(
    "evil",
    ["\x1b]0;title\x07", "\x1b[2J", "a\rb", "\x9b31m", "\x00", "\x08\x08", "\u202egnp.exe", "\u2066x", "\x7f"],
)
def test_nothing_that_steers_a_terminal_reaches_it(evil: str) -> None:
    where = terminal()
    output = shown(
        [
            event(ThinkingDelta, text=evil),
            said(evil),
            call(CallStarted, name=f"t{evil}", arguments=json.dumps({"k" + evil: "v " + evil})),
            call(CallStarted, arguments=evil),
            call(CallProgress, text=evil),
            call(CallFinished, content=evil, seconds=0.1),
            call(CallFailed, error=evil, seconds=0.1),
            call(CallDenied, reason=evil, by="person"),
            event(Notice, text=evil),
            event(Retrying, cause=evil, attempt=2, wait=1.0, discard=False),
            event(RunStarted, server=evil, model=evil, why=evil),
        ],
        where,
        verbose=True,
    )
    assert isinstance(where.err, io.StringIO)
    for character in output + where.err.getvalue():
        assert character == "\n" or character.isprintable()


@given(st.text())
def test_cleaned_text_is_unchanged_but_for_controls(text: str) -> None:
    cleaned = clean(text)
    assert "\x1b" not in cleaned
    assert cleaned.isprintable() or any(not c.isprintable() for c in text)
    if text.isprintable():
        assert cleaned == text


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("abc", 3),
        ("价格", 4),
        ("價格.txt", 8),
        ("カタカナ", 8),
        ("한국어", 6),
        ("é", 1),
        ("e\u0301", 1),
        ("سلام", 4),
        ("", 0),
    ],
)
def test_widths_are_those_of_a_terminal(text: str, cells: int) -> None:
    assert width(text) == cells


@given(st.text(max_size=300), st.integers(5, 80))
def test_one_line_fits(text: str, cells: int) -> None:
    line = terminal().one_line(text, cells)
    assert width(line) <= cells
    assert "\n" not in line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("{}", ""),
        ('{"path": "a b.txt"}', 'path="a b.txt"'),
        ('{"path": "价格.txt", "n": 3, "all": true, "x": null}', "path=价格.txt n=3 all=true x=null"),
        ('{"s": "", "l": [1, 2]}', 's="" l=[1, 2]'),
        ('{"s": "a=b"}', 's="a=b"'),
        ("not JSON", "not JSON"),
        ("[1]", "[1]"),
    ],
)
def test_arguments_for_a_person(arguments: str, line: str) -> None:
    assert describe_arguments(arguments, terminal()) == line


def test_long_arguments_are_cut_unless_wanted_whole() -> None:
    arguments = json.dumps({"content": "word " * 100, "path": "a"})
    cut = describe_arguments(arguments, terminal())
    assert "…" in cut
    assert cut.endswith("path=a")
    assert len(cut) < 90
    assert "word " * 100 in describe_arguments(arguments, terminal(), whole=True)


@pytest.mark.parametrize(
    ("content", "text"), [("", "nothing"), ("391\n", "391"), ("a\nb", "2 lines"), ("\n \n", "nothing")]
)
def test_a_result_in_a_few_words(content: str, text: str) -> None:
    assert summary(content) == text
