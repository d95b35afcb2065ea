"""Reasoning: in its own field, inside tags, swapped, leaking, with calls in it; at any split."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qianda.models.messages import ToolSchema
from qianda.models.reader import ReplyReader
from qianda.models.reply import ReasoningPiece, Reply, Reset, TextPiece, merge
from qianda.models.think_splitter import ThinkSplitter

READ = ToolSchema("read_file", "", {"type": "object", "properties": {"path": {"type": "string"}}})
CALL = '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.txt"}}\n</tool_call>'


def read(*deltas: dict[str, Any], thinking_open: bool = False, thinking: bool = True, finish: str = "stop") -> Reply:
    reader = ReplyReader(tools=(READ,), thinking_open=thinking_open, thinking=thinking)
    pieces = [piece for delta in deltas for piece in reader.feed({"choices": [{"delta": delta}]})]
    pieces += reader.feed({"choices": [{"delta": {}, "finish_reason": finish}]})
    return merge(pieces + reader.close())


def content(text: str, *, by: int = 0, **options: Any) -> Reply:
    """The reply to this content, in pieces of ``by`` characters."""
    return read(
        *({"content": text[start : start + (by or len(text))]} for start in range(0, len(text), by or len(text))),
        **options,
    )


@pytest.mark.parametrize("by", [0, 1, 3, 7])
@pytest.mark.parametrize(
    ("text", "thinking_open", "reasoning", "answer"),
    [
        ("<think>\nHm.\n</think>\n\nParis.", False, "Hm.", "Paris."),
        ("<think>\nHm.\n</think>\n\nParis.", True, "Hm.", "Paris."),
        ("Hm.\n</think>\n\nParis.", True, "Hm.", "Paris."),
        ("\n</think>\n\nParis.", True, "", "Paris."),
        ("<think>\n\n</think>\n\nParis.", False, "", "Paris."),
        ("\n<think>Hm.</think></think>\n</think>Paris.", False, "Hm.", "Paris."),
        ("</think>\n\nParis.", False, "", "Paris."),
        ("<think>Hm.</think>\n<think>More.</think>Paris.", False, "Hm.More.", "Paris."),
        ("<think>Hm.</think>Par</think>is.", False, "Hm.", "Paris."),
        ("Hm. I see.\n</think>\n\nParis.", False, "Hm. I see.", "Paris."),
        ("Hm.</think>Paris.", False, "Hm.", "Paris."),
        (
            "<think>a < b, </thin and <tool_call> as words</think>Paris.",
            False,
            "a < b, </thin and <tool_call> as words",
            "Paris.",
        ),
        ("<think>Not over", False, "Not over", ""),
        ("Not over </thi", True, "", "Not over </thi"),
        ("Write `<think>` and `</think>` so.", False, "", "Write `<think>` and `</think>` so."),
        ("Paris.", False, "", "Paris."),
        ("<thinking> is a word", False, "", "<thinking> is a word"),
    ],
)
def test_think_tags_in_the_content(text: str, thinking_open: bool, reasoning: str, answer: str, by: int) -> None:
    reply = content(text, by=by, thinking_open=thinking_open)
    assert (reply.reasoning, reply.text) == (reasoning, answer)


@pytest.mark.parametrize("by", [0, 1, 5])
@pytest.mark.parametrize("begin", ["<tool_call>\n", "<tool_call>", "<tool_call>\n["])
def test_a_call_that_is_really_begun_ends_the_reasoning(begin: str, by: int) -> None:
    text = f'I need <tool_call> here.\n{begin}{{"name": "read_file", "arguments": {{"path": "a.txt"}}}}'
    reply = content(text, by=by, thinking_open=True)
    assert reply.reasoning == "I need <tool_call> here."
    assert [json.loads(call.arguments) for call in reply.calls] == [{"path": "a.txt"}]


def test_tags_inside_arguments_are_not_reasoning() -> None:
    text = (
        '<think>Hm.</think><tool_call>\n{"name": "read_file", "arguments": {"path": "<think>x</think>"}}\n</tool_call>'
    )
    for by in (0, 1):
        reply = content(text, by=by)
        assert (reply.reasoning, reply.text) == ("Hm.", "")
        assert json.loads(reply.calls[0].arguments) == {"path": "<think>x</think>"}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_in_a_field_of_its_own(field: str) -> None:
    reply = read({"content": ""}, {field: "\nI "}, {field: "think.\n"}, {"content": "\n\n"}, {"content": "Paris."})
    assert (reply.reasoning, reply.text) == ("I think.", "Paris.")


def test_both_fields_at_once_count_once() -> None:
    assert read({"reasoning": "Hm.", "reasoning_content": "Hm."}, {"content": "x"}).reasoning == "Hm."


def test_a_field_shows_that_the_content_is_not_open_reasoning() -> None:
    reply = read({"reasoning": "Hm."}, {"content": "Paris."}, thinking_open=True)
    assert (reply.reasoning, reply.text) == ("Hm.", "Paris.")


def test_whitespace_before_a_call_is_no_text() -> None:
    delta = {"tool_calls": [{"id": "a", "function": {"name": "read_file", "arguments": "{}"}}]}
    assert read({"reasoning": "Hm."}, {"content": "\n\n"}, delta).text == ""


def test_failure_2_a_whole_call_inside_the_reasoning_counts_when_there_is_nothing_else() -> None:
    reply = read({"reasoning": "I read it.\n"}, {"reasoning": CALL[:20]}, {"reasoning": CALL[20:]})
    assert [(call.name, call.arguments) for call in reply.calls] == [("read_file", '{"path": "a.txt"}')]
    assert (reply.reasoning, reply.text, reply.finish) == ("I read it.", "", "tool_calls")


def test_failure_2_it_does_not_count_beside_a_call_or_an_answer_or_when_it_is_not_whole() -> None:
    other = {"tool_calls": [{"id": "a", "function": {"name": "read_file", "arguments": '{"path": "b.txt"}'}}]}
    assert [call.arguments for call in read({"reasoning": CALL}, other).calls] == ['{"path": "b.txt"}']
    assert read({"reasoning": CALL}, {"content": "I had better not."}).calls == ()
    assert read({"reasoning": CALL[:-20]}).calls == ()
    assert read({"reasoning": CALL}, finish="length").calls == ()
    assert read({"reasoning": CALL.replace("read_file", "rm")}).calls == ()


def test_failure_14_reasoning_is_the_answer_when_thinking_was_off_and_there_is_no_other() -> None:
    assert read({"reasoning": "\nParis.\n"}, thinking=False).text == "Paris."
    assert read({"reasoning": "\nParis.\n"}, thinking=False).reasoning == ""
    assert read({"reasoning": "\nParis.\n"}).text == ""
    with_text = read({"reasoning": "Hm."}, {"content": "Paris."}, thinking=False)
    assert (with_text.reasoning, with_text.text) == ("Hm.", "Paris.")
    delta = {"tool_calls": [{"id": "a", "function": {"name": "read_file", "arguments": "{}"}}]}
    assert read({"reasoning": "Hm."}, delta, thinking=False).text == ""


def test_failure_14_tags_that_leak_into_the_fields_are_taken_out() -> None:
    reply = read({"reasoning": "<think>\nHm.\n</think>"}, {"content": "</think>\n\nParis."})
    assert (reply.reasoning, reply.text) == ("Hm.", "Paris.")
    reply = read({"reasoning": "<th"}, {"reasoning": "ink>Hm."}, {"reasoning": "</think>\n\nParis."})
    assert (reply.reasoning, reply.text) == ("Hm.", "Paris.")


def test_what_was_taken_for_text_is_taken_back_as_it_streams() -> None:
    reader = ReplyReader(tools=(), thinking_open=False)
    texts = ("Hm. ", "So.\n", "</think>", "\n\nParis.")
    given = [piece for text in texts for piece in reader.feed({"choices": [{"delta": {"content": text}}]})]
    assert given == [TextPiece("Hm. "), TextPiece("So.\n"), Reset(), ReasoningPiece("Hm. So.\n"), TextPiece("Paris.")]


def test_reasoning_streams_and_only_what_may_be_a_tag_is_held_back() -> None:
    splitter = ThinkSplitter(thinking_open=True)
    assert splitter.feed("I think ") == ("I think ", "")
    assert splitter.feed("a <b> and </") == ("a <b> and ", "")
    assert splitter.feed("i>") == ("</i>", "")
    assert splitter.feed("</think") == ("", "")
    assert splitter.feed(">") == ("", "")
    assert splitter.feed("Paris") == ("", "Paris")
    assert splitter.outside


def test_endless_whitespace_is_cheap_and_no_text() -> None:
    reader = ReplyReader(tools=(READ,), thinking_open=False)
    pieces = [piece for _ in range(20_000) for piece in reader.feed({"choices": [{"delta": {"content": " \n"}}]})]
    assert merge(pieces + reader.close()).text == ""


def test_an_answer_without_reasoning_is_no_reasoning_where_it_was_only_expected() -> None:
    """A server that splits reasoning off gives none when its budget is 0: the content is the answer."""
    reader = ReplyReader(tools=[], thinking_open=True)
    pieces = reader.feed({"choices": [{"delta": {"content": "Paris."}}]})
    pieces += reader.feed({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    reply = merge(pieces + reader.close())
    assert (reply.text, reply.reasoning) == ("Paris.", "")


def test_reasoning_that_was_cut_is_not_taken_for_the_answer() -> None:
    reader = ReplyReader(tools=[], thinking_open=True)
    pieces = reader.feed({"choices": [{"delta": {"content": "Let me see"}, "finish_reason": "length"}]})
    reply = merge(pieces + reader.close())
    assert (reply.text, reply.reasoning) == ("", "Let me see")
