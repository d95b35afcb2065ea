"""Calls found in text: both formats, whole and broken, at any split, and what is left alone."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianda.models.formats.writing import write_hermes, write_xml
from qianda.models.messages import ToolCall, ToolSchema
from qianda.models.reader import ReplyReader
from qianda.models.reply import CallPiece, Reply, merge

# A machine that is busy with other things is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200)

READ = ToolSchema("read_file", "", {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]})
WRITE = ToolSchema(
    "write_file",
    "",
    {
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string"}, "mode": {"type": "integer"}},
        "required": ["path", "content"],
    },
)
SET = ToolSchema(
    "set",
    "",
    {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "ok": {"type": "boolean"},
            "items": {"type": "array"},
            "at": {"type": "object"},
            "note": {"type": ["string", "null"]},
        },
    },
)
TIME = ToolSchema("get_time", "")
TOOLS = (READ, WRITE, SET, TIME)


def read(
    *pieces: str, finish: str = "stop", tools: tuple[ToolSchema, ...] = TOOLS, thinking_open: bool = False
) -> Reply:
    """The reply made of content that comes in these pieces."""
    reader = ReplyReader(tools=tools, thinking_open=thinking_open)
    found = [piece for text in pieces for piece in reader.feed({"choices": [{"delta": {"content": text}}]})]
    found += reader.feed({"choices": [{"delta": {}, "finish_reason": finish}]})
    return merge(found + reader.close())


def calls(reply: Reply) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in reply.calls]


HERMES = '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.txt"}}\n</tool_call>'
XML = "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</function>\n</tool_call>"
A_TXT = [("read_file", {"path": "a.txt"})]


@pytest.mark.parametrize("text", [HERMES, XML], ids=["hermes", "xml"])
def test_failure_3_a_call_left_in_the_content_is_found(text: str) -> None:
    reply = read(f"I will read it.\n\n{text}")
    assert (reply.text, calls(reply), reply.finish) == ("I will read it.", A_TXT, "tool_calls")


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.txt"}}',
        '{"name": "read_file", "arguments": {"path": "a.txt"}}\n</tool_call>',
        '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.txt"}\n</tool_call>',
        '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.txt"}',
        '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.txt"}}}\n</tool_call>',
        '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.txt",}}\n</tool_call>',
        "<tool_call>\n{'name': 'read_file', 'arguments': {'path': 'a.txt'}}\n</tool_call>",
        "<tool_call>\n{“name”: “read_file”, “arguments”: {“path”: “a.txt”}}\n</tool_call>",
        '<tool_call>\n{"arguments": {"path": "a.txt"}, "name": "read_file"}\n</tool_call>',
        '<tool_call>\n{"name": "read_file", "arguments": "{\\"path\\": \\"a.txt\\"}"}\n</tool_call>',
        '<tool_call>\n{"name": "read_file", "parameters": {"path": "a.txt"}}\n</tool_call>',
        '<tool_call>\n{"type": "function", "function": {"name": "read_file", "arguments": {"path": "a.txt"}}}\n',
        '<tool_call>\n{"name": "read_file", "path": "a.txt"}\n</tool_call>',
        '<tool_call>\n[{"name": "read_file", "arguments": {"path": "a.txt"}}]\n</tool_call>',
        '<tool_call>{"name":"read_file","arguments":{"path":"a.txt"}}</tool_call><|im_end|>'[:-10],
        "<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</function>",
        "<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</function>",
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</tool_call>",
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</parameter>",
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</function>\n</tool_call>",
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</function>",
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</tool_call>",
        "<tool_call><function=read_file><parameter=path>a.txt</parameter></function></tool_call>",
        '<tool_call>\n<function="read_file">\n<parameter="path">\na.txt\n</parameter>\n</function>\n</tool_call>',
        '<tool_call>\n<function=read_file>\n{"path": "a.txt"}\n</function>\n</tool_call>',
    ],
)
def test_failure_4_tags_brackets_and_quotes_that_are_missing_doubled_or_wrong(text: str) -> None:
    for pieces in ([text], list(text)):
        reply = read(*pieces)
        assert (reply.text, calls(reply), reply.broken) == ("", A_TXT, ())


def test_failure_4_a_parameter_begins_where_the_one_before_was_not_closed() -> None:
    text = "<function=write_file>\n<parameter=path>\na.txt\n<parameter=content>\nx\n</parameter>\n</function>"
    assert calls(read(text)) == [("write_file", {"path": "a.txt", "content": "x"})]


@pytest.mark.parametrize("arguments", ['""', "null", "{}", None])
def test_failure_7_a_call_without_arguments(arguments: str | None) -> None:
    rest = "" if arguments is None else f', "arguments": {arguments}'
    assert calls(read(f'<tool_call>\n{{"name": "get_time"{rest}}}\n</tool_call>')) == [("get_time", {})]
    assert calls(read("<tool_call>\n<function=get_time>\n</function>\n</tool_call>")) == [("get_time", {})]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "read_file", "arguments": {"path": "a.txt"}}',
        '\n\n {"name":"read_file","parameters":{"path":"a.txt"}}\n',
        '{\n  "name": "read_file",\n  "arguments": {\n    "path": "a.txt"\n  }\n}',
    ],
)
def test_failure_10_bare_json_of_a_known_tool_is_a_call(text: str) -> None:
    for pieces in ([text], list(text)):
        reply = read(*pieces)
        assert (reply.text, calls(reply)) == ("", A_TXT)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "read_file", "age": 30}',
        '{"name": "unknown", "arguments": {"path": "a.txt"}}',
        '{"name": "read_file", "arguments": {"path": "a.txt"}}\n\nThis is what the call would be.',
        'The call: {"name": "read_file", "arguments": {"path": "a.txt"}}',
        '{"city": "Paris"}',
        "{",
        '{"name": "read_f',
        '{"name": "read_file"}',
    ],
)
def test_failure_10_other_json_is_text(text: str) -> None:
    for pieces in ([text], list(text)):
        reply = read(*pieces)
        assert (reply.text, reply.calls, reply.broken) == (text, (), ())


@pytest.mark.parametrize(
    "text",
    [
        "Calls stand between <tool_call> and </tool_call> tags.",
        "It ends with <tool_call>",
        "Write <function=NAME> first, then <parameter=KEY>.",
        "a < b and b <tool",
        "`<tool_call>` then `</tool_call>`, `</think>` too",
        "<tool_calls> is another word, <functions> as well",
    ],
)
def test_failure_11_tags_in_prose_stay_text_and_flow(text: str) -> None:
    for pieces in ([text], list(text)):
        reply = read(*pieces)
        assert (reply.text, reply.calls, reply.broken) == (text, (), ())


def test_failure_11_text_behind_a_literal_tag_is_not_held_back() -> None:
    reader = ReplyReader(tools=TOOLS, thinking_open=False)
    pieces = [
        reader.feed({"choices": [{"delta": {"content": text}}]}) for text in ("Use <tool_call> ", "tags", " here")
    ]
    assert merge(piece for given_ in pieces for piece in given_).text == "Use <tool_call> tags here"


def test_without_tools_nothing_in_the_text_is_a_call() -> None:
    assert read(HERMES, tools=()).text == HERMES


def test_a_format_that_is_not_wanted_is_text() -> None:
    reader = ReplyReader(tools=TOOLS, thinking_open=False, formats=("hermes",))
    pieces = reader.read_response({"choices": [{"message": {"content": XML}, "finish_reason": "stop"}]})
    assert merge(pieces).text == XML


def test_several_calls_with_text_around_them() -> None:
    reply = read(f"First.\n{HERMES}\n{HERMES}\nThen:\n\n{XML}{XML}Last.")
    assert calls(reply) == A_TXT * 4
    assert reply.text == "First.\nThen:\n\nLast."
    assert len({call.id for call in reply.calls}) == 4


def test_two_objects_in_one_wrapper_and_a_list_are_calls_of_their_own() -> None:
    one = '{"name": "read_file", "arguments": {"path": "a.txt"}}'
    for text in (f"<tool_call>\n{one}\n{one}\n</tool_call>", f"<tool_call>[{one}, {one}]</tool_call>"):
        reply = read(text)
        assert (calls(reply), reply.text) == (A_TXT * 2, "")


def test_a_tag_inside_a_json_string_ends_nothing() -> None:
    content = 'one </tool_call> two <tool_call>\n{"name": "x"} </think> \\ "three" }}}'
    call = ToolCall("", "write_file", json.dumps({"path": "a", "content": content}))
    reply = read(write_hermes(call) + "\nDone")
    assert (calls(reply), reply.text) == ([("write_file", {"path": "a", "content": content})], "Done")


@pytest.mark.parametrize(
    "content",
    [
        "a </parameter> b",
        "say </function> here",
        "the </tool_call> tag and <tool_call>",
        "<parameter=unknown>x",
        "use <parameter=path> inside",
        "\nleading and trailing\n",
        "",
        "<html>\n<body>\n</body>\n</html>\n",
        "null",
        "</think> <think>",
        "  indented\n    more",
    ],
)
def test_tags_inside_an_xml_value_belong_to_the_value(content: str) -> None:
    call = ToolCall("", "write_file", json.dumps({"path": "a", "content": content}))
    text = write_xml(call)
    for pieces in ([text], list(text)):
        assert calls(read(*pieces)) == [("write_file", {"path": "a", "content": content})]


def test_xml_values_get_the_types_of_the_schema() -> None:
    arguments = {"n": 3, "ok": True, "items": [1, "a"], "at": {"x": None}, "note": None}
    text = write_xml(ToolCall("", "set", json.dumps(arguments)))
    assert calls(read(text)) == [("set", arguments)]
    assert calls(read(text, tools=(READ,)))[0][1]["n"] == "3"  # an unknown tool's values are strings


@pytest.mark.parametrize(
    ("text", "name", "written"),
    [
        ('<tool_call>\n{"name": "read_file", "arguments": {"path": "a.t', "read_file", '{"path": "a.t'),
        ('<tool_call>\n{"name": "read_file", "arguments": {"path": ', "read_file", '{"path":'),
        ('<tool_call>\n{"name": "read_file", "arguments": ', "read_file", ""),
        ('<tool_call>\n{"name": "read_fi', "", '{"name": "read_fi'),
        ("<tool_call>\n", "", ""),
        ("<tool_call>\n<function=read_file>\n<parameter=path>\na.t", "read_file", '{"path": "a.t'),
        ("<tool_call>\n<function=read_file>\n<parameter=path>\na.t\n</parameter>\n", "read_file", '{"path": "a.t"'),
        ("<tool_call>\n<function=read_file>\n", "read_file", ""),
        ("<tool_call>\n<function=read_f", "", ""),
        ('{"name": "read_file", "arguments": {"path": "a.t', "read_file", '{"path": "a.t'),
    ],
)
def test_a_call_cut_by_the_length_is_broken_and_never_guessed(text: str, name: str, written: str) -> None:
    for pieces in ([text], list(text)):
        reply = read(*pieces, finish="length")
        assert (reply.calls, reply.text, reply.finish) == ((), "", "length")
        assert [(call.name, call.text) for call in reply.broken] == [(name, written)]
        assert "cut off" in reply.broken[0].problem


@pytest.mark.parametrize("text", [HERMES.removesuffix("\n</tool_call>"), XML.removesuffix("\n</tool_call>")])
def test_a_call_that_was_whole_when_the_output_was_cut_is_a_call(text: str) -> None:
    assert calls(read(text, finish="length")) == A_TXT
    assert calls(read(HERMES.removesuffix("}\n</tool_call>"), finish="length")) == A_TXT


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        ('<tool_call>\n{"name": "read_file", "arguments": {"path": "c.t', "read_file", "not closed"),
        ('<tool_call>\n{"name": "read_file", "arguments": {"path": "c.t}}\n</tool_call>', "read_file", "not closed"),
        ('<tool_call>\n{"name": "read_file", "arguments": [1]}\n</tool_call>', "read_file", "a list"),
        ('<tool_call>\n{"name": "read_file", "arguments": {"path" 1}}\n</tool_call>', "read_file", "a colon"),
        (
            '<tool_call>\n{"name": "read_file", "arguments": {"path": "f("}}")"}}\n</tool_call>',
            "read_file",
            "quotation",
        ),
        ('<tool_call>\n{"path": "a.txt"}\n</tool_call>', "", "which tool"),
        ('<tool_call>\n{"name": "", "arguments": {}}\n</tool_call>', "", "which tool"),
        ("<tool_call>\n{}\n</tool_call>", "", "which tool"),
        ("<tool_call>\n<function=>\n</function>\n</tool_call>", "", "which tool"),
        ("<tool_call>\n<function=read_file>\n<parameter=path>\na.txt", "read_file", "</parameter>"),
    ],
)
def test_failure_8_what_cannot_be_read_is_broken_with_a_sentence(text: str, name: str, problem: str) -> None:
    for pieces in ([text], list(text)):
        reply = read(*pieces)
        assert (reply.calls, reply.text, reply.finish) == ((), "", "stop")
        assert [call.name for call in reply.broken] == [name]
        assert problem in reply.broken[0].problem


def test_a_good_call_beside_a_broken_one_is_kept() -> None:
    broken = '<tool_call>\n{"name": "read_file", "arguments": {"path": "c.t}}\n</tool_call>'
    for text in (f"{HERMES}\n{broken}", f"{broken}\nSo.\n{XML}"):
        reply = read(text)
        assert calls(reply) == A_TXT
        assert [call.name for call in reply.broken] == ["read_file"]
        assert "<" not in reply.text


def test_arguments_are_shown_while_they_come() -> None:
    for write in (write_hermes, write_xml):
        reader = ReplyReader(tools=TOOLS, thinking_open=False)
        text = write(ToolCall("", "write_file", json.dumps({"path": "a", "content": "one\n“two” <b>"})))
        shown = [
            piece
            for char in text
            for piece in reader.feed({"choices": [{"delta": {"content": char}}]})
            if isinstance(piece, CallPiece)
        ]
        assert [piece.name for piece in shown if piece.name] == ["write_file"]
        begun = "".join(piece.arguments for piece in shown)
        assert json.loads(begun if begun.endswith("}") else begun + "}") == {"path": "a", "content": "one\n“two” <b>"}
        assert len(shown) > 10


WORDS = ("北京の天気はどうですか", "서울 날씨", "ما حالة الطقس", "🌦️👩‍👩‍👧 emoji", "naïve “quotes”", '\\n \\" \\u00e9')
words = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=["Cs", "Cc"]))
# A value that contains the very end of a value cannot be told apart in a format without escapes.
xml_text = words.filter(lambda text: "</" not in text and "<parameter=" not in text and text.lower().strip() != "null")
json_leaf = st.none() | st.booleans() | st.integers() | words


@steady
@given(st.dictionaries(words, st.recursive(json_leaf, lambda inner: st.lists(inner, max_size=3), max_leaves=6)))
def test_hermes_calls_are_read_as_they_were_written(arguments: dict[str, Any]) -> None:
    text = write_hermes(ToolCall("", "anything", json.dumps(arguments)))
    assert calls(read(text)) == [("anything", arguments)]


@steady
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "n": st.integers(),
            "ok": st.booleans(),
            "items": st.lists(json_leaf, max_size=3),
            "at": st.dictionaries(words, json_leaf, max_size=3),
            "note": xml_text,
        },
    )
)
def test_xml_calls_are_read_as_they_were_written(arguments: dict[str, Any]) -> None:
    arguments = {key: value for key, value in arguments.items() if "</" not in json.dumps(value)}
    assert calls(read(write_xml(ToolCall("", "set", json.dumps(arguments))))) == [("set", arguments)]


FRAGMENTS = (
    *(
        "<tool_call>",
        "</tool_call>",
        "<function=",
        "read_file>",
        "<function=set>",
        "</function>",
        "<parameter=",
        "path>",
    ),
    *(
        "<parameter=n>",
        "</parameter>",
        "<think>",
        "</think>",
        "\n",
        "\n\n",
        " ",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "\\",
        ",",
        ":",
    ),
    *(
        '{"name": "read_file", "arguments": {"path": "a',
        '"}}',
        '{"name":"set","arguments":{',
        "<",
        "</",
        "<tool",
        "_call>",
    ),
    *("Text", "текст", "文字", "😀", "“", "”", "`", "12", "null", "<|im_end|>", HERMES, XML),
)


@st.composite
def splits(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = "".join(draw(st.lists(st.sampled_from(FRAGMENTS), max_size=14)))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=12)))
    return text, [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@steady
@given(splits(), st.sampled_from(["stop", "length"]), st.booleans())
def test_any_split_gives_the_same_reply(split: tuple[str, list[str]], finish: str, thinking_open: bool) -> None:
    text, pieces = split
    whole = read(text, finish=finish, thinking_open=thinking_open)
    assert read(*pieces, finish=finish, thinking_open=thinking_open) == whole
    assert read(*text, finish=finish, thinking_open=thinking_open) == whole


@pytest.mark.parametrize("write", [write_hermes, write_xml])
@pytest.mark.parametrize(
    "line",
    [
        "The quick brown fox jumps over it.\n",
        'print("<b>%s</b>" % x)  # a < b\n',
        "</tool_call> </parameter> x\n",
        "[{'",
    ],
    ids=["prose", "code", "tags", "brackets"],
)
def test_a_large_argument_in_small_pieces_is_read_in_linear_time(write: Any, line: str) -> None:
    content = line * (2_000_000 // len(line))
    text = write(ToolCall("", "write_file", json.dumps({"path": "a", "content": content})))
    pieces = [text[start : start + 1024] for start in range(0, len(text), 1024)]
    start = time.process_time()
    reply = read(*pieces)
    spent = time.process_time() - start
    assert calls(reply)[0][1]["content"] == content
    assert spent < 1.0, f"{spent:.2f} CPU seconds for {len(text)} characters"
