"""Native tool calls: deltas of every server's kind make the calls that the model made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianda.models.messages import ToolSchema, Usage
from qianda.models.reader import ReplyReader
from qianda.models.reply import CallPiece, Finish, FinishPiece, Reply, merge

# A machine that is busy with other things is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100)

TOOLS = (ToolSchema("read_file", ""), ToolSchema("get_time", ""))


def delta(
    arguments: Any = None, *, call_id: str | None = None, index: int | None = 0, name: str | None = None
) -> dict[str, Any]:
    """One entry of ``tool_calls``."""
    function: dict[str, Any] = {}
    entry: dict[str, Any] = {"function": function}
    if call_id is not None:
        entry["id"] = call_id
    if index is not None:
        entry["index"] = index
    if name is not None:
        function["name"] = name
    if arguments is not None:
        function["arguments"] = arguments
    return entry


def read(*deltas: dict[str, Any], finish: str = "tool_calls") -> Reply:
    reader = ReplyReader(tools=TOOLS, thinking_open=False)
    pieces = [
        piece for entry in deltas for piece in reader.feed({"choices": [{"delta": {"tool_calls": [entry]}}]})
    ] + reader.feed({"choices": [{"delta": {}, "finish_reason": finish}]})
    return merge(pieces + reader.close())


def calls(reply: Reply) -> list[tuple[str, str, Any]]:
    return [(call.id, call.name, json.loads(call.arguments)) for call in reply.calls]


A = ("a", "read_file", {"path": "a.txt"})
B = ("b", "read_file", {"path": "b.txt"})


def test_failure_1_empty_ids_and_names_in_later_deltas_overwrite_nothing() -> None:
    reply = read(
        delta("", call_id="a", name="read_file"),
        delta('{"path": "a', call_id="", name=""),
        delta('.txt"}', call_id="", name=""),
    )
    assert calls(reply) == [A]


def test_failure_9_an_index_that_comes_again_with_a_new_id_is_another_call() -> None:
    reply = read(
        delta('{"path": "a.txt"}', call_id="a", name="read_file"),
        delta('{"path": "b.txt"}', call_id="b", name="read_file"),
    )
    assert calls(reply) == [A, B]


def test_failure_9_the_id_comes_after_the_name() -> None:
    reply = read(delta(name="read_file"), delta(call_id="a"), delta('{"path": "a.txt"}'))
    assert calls(reply) == [A]
    assert calls(read(delta('{"path": ', name="read_file"), delta('"a.txt"}', call_id="a"))) == [A]


def test_failure_9_chunks_that_are_replayed_change_nothing() -> None:
    whole = delta('{"path": "a.txt"}', call_id="a", name="read_file")
    assert calls(read(whole, whole)) == [A]
    assert calls(read(delta('{"path": ', call_id="a", name="read_file"), delta('"a.txt"}'), whole)) == [A]
    assert calls(read(delta('{"path": ', call_id="a", name="read_file"), delta('"a.txt"}'), delta('"a.txt"}'))) == [A]
    without = delta('{"path": "a.txt"}', name="read_file")
    assert [call[1:] for call in calls(read(without, without))] == [A[1:]]


def test_calls_without_id_under_one_index_are_told_apart_by_what_they_are() -> None:
    first, second = delta('{"path": "a.txt"}', name="read_file"), delta('{"path": "b.txt"}', name="read_file")
    reply = read(first, second, delta("{}", name="get_time"))
    assert [call[1:] for call in calls(reply)] == [A[1:], B[1:], ("get_time", {})]
    assert len({call.id for call in reply.calls}) == 3


def test_deltas_of_several_calls_may_be_mixed() -> None:
    reply = read(
        delta('{"path": ', call_id="a", name="read_file"),
        delta('{"path": ', call_id="b", name="read_file", index=1),
        delta('"b.txt"}', index=1),
        delta('"a.txt"}'),
    )
    assert calls(reply) == [A, B]


def test_a_message_without_indexes_has_a_call_per_entry() -> None:
    entries = [
        delta('{"path": "a.txt"}', call_id="a", name="read_file", index=None),
        delta({"path": "b.txt"}, call_id="b", name="read_file", index=None),
        delta("", call_id="", name="get_time", index=None),
    ]
    body = {"choices": [{"message": {"content": None, "tool_calls": entries}, "finish_reason": "tool_calls"}]}
    pieces = ReplyReader(tools=TOOLS, thinking_open=False).read_response(body)
    assert calls(merge(pieces)) == [A, B, ("call_2", "get_time", {})]


def test_one_id_for_every_call_is_made_unique() -> None:
    entries = [delta("{}", index=index, name="get_time") for index in range(2)]
    assert len({call.id for call in read(*entries).calls}) == 2


@pytest.mark.parametrize("arguments", ["", "null", "{}", '"{}"', '""', " ", None])
def test_failure_7_no_arguments_are_an_empty_object(arguments: str | None) -> None:
    assert calls(read(delta(arguments, call_id="t", name="get_time"))) == [("t", "get_time", {})]


def test_failure_7_double_encoded_arguments() -> None:
    assert calls(read(delta(json.dumps('{"path": "a.txt"}'), call_id="a", name="read_file"))) == [A]


@pytest.mark.parametrize(
    "arguments",
    [
        '{"path": "a.txt", }',
        '{"path": "a.txt"',
        "{'path': 'a.txt'}",
        '{"path": "a.txt"}}',
        '{"path": "a.txt"}\n</tool_call>'[:-13],
        '{"path": "a.txt"}, "name": "read_file"',
        '{"path": "a.txt"}, "name": "read_file"}',
    ],
)
def test_broken_arguments_of_vllm_that_can_be_repaired(arguments: str) -> None:
    for size in (1, 5, 100):
        parts = [arguments[start : start + size] for start in range(0, len(arguments), size)]
        assert calls(read(delta(call_id="a", name="read_file"), *map(delta, parts))) == [A]


# As vLLM 0.32 streams a JSON list of calls with its Hermes parser: one call, the others behind its arguments.
@pytest.mark.parametrize("end", ["]", ""])
def test_a_list_of_calls_that_vllm_streams_as_one(end: str) -> None:
    behind = ', {"name": "read_file", "arguments": {"path": "b.txt"}}, {"name": "now"}'
    arguments = '{"path": "a.txt"}}' + behind + end
    for size in (1, 5, 200):
        parts = [arguments[start : start + size] for start in range(0, len(arguments), size)]
        reply = read(delta(call_id="a", name="read_file"), *map(delta, parts))
        assert [(name, value) for _, name, value in calls(reply)] == [A[1:], B[1:], ("now", {})]
        assert not reply.broken


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ('{"path": "c.t', "not closed"),
        ('{"path": "f("}")"}', "follows after the end"),
        ("[1]", "a list"),
        ('{"a": 1}{"a": 2}', "follows after the end"),
    ],
)
def test_failure_6_arguments_that_cannot_be_read_are_a_broken_call(arguments: str, problem: str) -> None:
    reply = read(
        delta('{"path": "b.txt"}', call_id="b", name="read_file"),
        delta(arguments, call_id="a", index=1, name="read_file"),
    )
    assert calls(reply) == [B]
    assert [(call.name, call.text, call.index) for call in reply.broken] == [("read_file", arguments, 1)]
    assert problem in reply.broken[0].problem


def test_failure_8_a_call_without_a_name_is_broken() -> None:
    for entry in (delta("{}", call_id="a", name=""), delta('{"path": 1}', call_id="a"), {"id": "a"}, {}):
        reply = read(entry)
        assert (reply.calls, [call.name for call in reply.broken], reply.finish) == ((), [""], "stop")


@pytest.mark.parametrize("arguments", ['{"path": "a.tx', '{"path"', "{", ""])
def test_a_call_cut_by_the_length_is_broken_and_the_ones_before_are_not(arguments: str) -> None:
    first = delta('{"path": "b.txt",}', call_id="b", name="read_file")
    reply = read(first, delta(arguments, call_id="a", index=1, name="read_file"), finish="length")
    assert (calls(reply), reply.finish) == ([B], "length")
    assert [(call.name, call.text) for call in reply.broken] == [("read_file", arguments)]
    assert "cut off" in reply.broken[0].problem


def test_a_whole_call_at_the_length_is_a_call() -> None:
    assert calls(read(delta('{"path": "a.txt"}', call_id="a", name="read_file"), finish="length")) == [A]


def test_a_call_in_json_as_raw_text_and_over_sse_as_half_a_native_call_give_the_same_reply() -> None:
    for cut in ('{"path": "a', '{"path": ', "{", '{"path": "a", "content": "one\\n'):
        raw = f'\n\n<tool_call>\n{{"name": "read_file", "arguments": {cut}'
        body = {"choices": [{"message": {"content": raw, "reasoning": "\nHm.\n"}, "finish_reason": "length"}]}
        whole = merge(ReplyReader(tools=TOOLS, thinking_open=False).read_response(body))
        reader = ReplyReader(tools=TOOLS, thinking_open=False)
        chunks = [{"reasoning": "\nHm"}, {"reasoning": ".\n"}, {"content": "\n\n"}]
        chunks += [{"tool_calls": [delta(call_id="a", name="read_file")]}, {"tool_calls": [delta(cut)]}]
        pieces = [piece for chunk in chunks for piece in reader.feed({"choices": [{"delta": chunk}]})]
        pieces += reader.feed({"choices": [{"delta": {}, "finish_reason": "length"}]})
        assert merge(pieces + reader.close()) == whole


def test_previews_are_what_the_server_sent() -> None:
    reader = ReplyReader(tools=TOOLS, thinking_open=False)
    parts = [delta(call_id="a", name="read_file"), delta('{"path": '), delta('"a.txt", }')]
    shown = [piece for part in parts for piece in reader.feed({"choices": [{"delta": {"tool_calls": [part]}}]})]
    assert shown == [
        CallPiece(0, "a", "read_file"),
        CallPiece(0, arguments='{"path": '),
        CallPiece(0, arguments='"a.txt", }'),
    ]


@steady
@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=4), st.data())
def test_any_split_of_the_arguments_gives_the_same_call(arguments: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(arguments, ensure_ascii=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert calls(read(delta(call_id="a", name="read_file"), *map(delta, parts))) == [("a", "read_file", arguments)]


def test_text_around_native_calls_is_kept() -> None:
    reader = ReplyReader(tools=TOOLS, thinking_open=False)
    chunks: list[dict[str, Any]] = [{"content": "\n\nI read"}, {"content": " it."}]
    chunks += [{"content": None, "tool_calls": [delta("{}", call_id="t", name="get_time")]}, {"content": "\n\nDone."}]
    pieces = [piece for chunk in chunks for piece in reader.feed({"choices": [{"delta": chunk}]})]
    reply = merge(pieces + reader.close())
    assert (reply.text, [call.name for call in reply.calls]) == ("I read it.\nDone.", ["get_time"])


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, Usage(9, 4, 0, 0, 1)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 6},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(9, 4, 2, 6, 1),
        ),
        ({"prompt_tokens": 9, "completion_tokens": None, "prompt_tokens_details": None}, Usage(9, 0, 0, 0, 1)),
        (None, Usage(requests=1)),
    ],
)
def test_usage(usage: dict[str, Any] | None, expected: Usage) -> None:
    reader = ReplyReader(tools=(), thinking_open=False)
    pieces = reader.feed({"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}], "usage": None})
    pieces += reader.feed({"choices": [], "usage": usage}) + reader.close()
    assert merge(pieces).usage == expected


def test_finish_reasons() -> None:
    expectations: dict[str, Finish] = {
        "stop": "stop",
        "length": "length",
        "content_filter": "content_filter",
        "odd": "stop",
    }
    for given_, expected in expectations.items():
        reader = ReplyReader(tools=(), thinking_open=False)
        pieces = reader.feed({"choices": [{"delta": {"content": "Hi"}, "finish_reason": given_}]})
        assert FinishPiece(expected) in pieces
        assert reader.finish_reason == given_
        assert merge(pieces + reader.close()).finish == expected


def test_closing_twice_gives_nothing_more() -> None:
    reader = ReplyReader(tools=TOOLS, thinking_open=False)
    body = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    assert merge(reader.read_response(body)).text == "Hi"
    assert reader.close() == []


@pytest.mark.parametrize(
    "chunk",
    [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}, {"choices": [{"delta": None}]}, {"usage": {}},
     {"choices": [{"delta": {"content": None, "tool_calls": None, "reasoning": None}}]},
     {"choices": [{"delta": {"tool_calls": [None, "x", {"function": None}]}}]}],
)  # fmt: skip
def test_odd_chunks_raise_nothing(chunk: dict[str, Any]) -> None:
    reader = ReplyReader(tools=TOOLS, thinking_open=False)
    assert merge(reader.feed(chunk) + reader.close()).calls == ()


def test_content_in_parts_is_joined() -> None:
    reader = ReplyReader(tools=(), thinking_open=False)
    content = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert merge(reader.feed({"choices": [{"delta": {"content": content}}]}) + reader.close()).text == "Hello"
