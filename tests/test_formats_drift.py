"""Calls in wrappers that no Qwen was taught: what is believed, and what stays an answer."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianda.models.messages import ToolSchema
from qianda.models.reader import ReplyReader
from qianda.models.reply import Reply, WholeCall, merge

steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)

READ = ToolSchema("read_file", "", {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]})
ADD = ToolSchema("add", "", {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}})
TOOLS = (READ, ADD)
ONE = '{"name": "read_file", "arguments": {"path": "a.txt"}}'
TWO = '{"name": "add", "arguments": {"a": 1, "b": 2}}'
INVOKED = '<invoke name="add">\n<parameter name="a">1</parameter><parameter name="b">2</parameter>\n</invoke>'
A_TXT = ("read_file", {"path": "a.txt"})
SUM = ("add", {"a": 1, "b": 2})


def read(*pieces: str, finish: str = "stop", reasoning: str = "", tools: tuple[ToolSchema, ...] = TOOLS) -> Reply:
    reader = ReplyReader(tools=tools, thinking_open=False)
    found = reader.feed({"choices": [{"delta": {"reasoning": reasoning}}]})
    found += [piece for text in pieces for piece in reader.feed({"choices": [{"delta": {"content": text}}]})]
    found += reader.feed({"choices": [{"delta": {}, "finish_reason": finish}]})
    return merge(found + reader.close())


def calls(reply: Reply) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in reply.calls]


DRIFTED = {
    "fence": (f"```json\n{ONE}\n```", [A_TXT]),
    "fence without a language": (f"```\n{ONE}\n```\n", [A_TXT]),
    "fence of another language": (f"```tool_call\n{ONE}\n```", [A_TXT]),
    "fence on one line": (f"```json {ONE} ```", [A_TXT]),
    "fence that is not closed": (f"```json\n{ONE}", [A_TXT]),
    "two fences": (f"```json\n{ONE}\n```\n\n```json\n{TWO}\n```", [A_TXT, SUM]),
    "two calls in a fence": (f"```json\n{ONE}\n{TWO}\n```", [A_TXT, SUM]),
    "list in a fence": (f"```json\n[{ONE}, {TWO}]\n```", [A_TXT, SUM]),
    "tools": (f"<tools>\n{ONE}\n</tools>", [A_TXT]),
    "list in tools": (f"<tools>\n[\n{ONE},\n{TWO}\n]\n</tools>", [A_TXT, SUM]),
    "tools, closed by another tag": (f"<tools> {ONE} </tool>", [A_TXT]),
    "tools, closed by half a tag": (f"<tools> {ONE} </tool", [A_TXT]),
    "function": (f"<function>\n{ONE}\n</function>", [A_TXT]),
    "function-call, not closed": (f"<function-call> {ONE}", [A_TXT]),
    "function_invocation": (f"<function_invocation>\n{ONE}\n</function_invocation>", [A_TXT]),
    "square brackets": (f"[tool_call]\n{ONE}\n[/tool_call]", [A_TXT]),
    "bare list": (f"[{ONE}, {TWO}]", [A_TXT, SUM]),
    "parameters": ('```json\n{"name": "read_file", "parameters": {"path": "a.txt"}}\n```', [A_TXT]),
    "as OpenAI nests it": ('<tools>{"type": "function", "function": ' + ONE + "}</tools>", [A_TXT]),
    "single quotes": ("```json\n{'name': 'read_file', 'arguments': {'path': 'a.txt'},}\n```", [A_TXT]),
    "named by attributes": (f"<function_calls>\n{INVOKED}\n</function_calls>", [SUM]),
    "an invocation named by attributes": (
        '<function_invocation name="read_file"><parameter name="path">a.txt</parameter></function_invocation>',
        [A_TXT],
    ),
}


@pytest.mark.parametrize("name", DRIFTED)
def test_a_known_tools_call_in_a_strange_wrapper_is_a_call(name: str) -> None:
    text, expected = DRIFTED[name]
    for pieces in ([text], list(text)):
        reply = read(*pieces)
        assert (calls(reply), reply.text, reply.broken, reply.finish) == (expected, "", (), "tool_calls")
        assert all(call.repaired for call in reply.calls)


def test_text_before_and_between_stays_and_the_reasoning_too() -> None:
    reply = read(f"First this.\n\n```json\n{ONE}\n```\n\nThen that:\n```json\n{TWO}\n```", reasoning="Hm.")
    assert calls(reply) == [A_TXT, SUM]
    assert (reply.text, reply.reasoning) == ("First this.\nThen that:", "Hm.")


def test_other_code_in_the_text_stays_text() -> None:
    config = '```json\n{"name": "demo", "version": 3}\n```'
    reply = read(f"The file is\n{config}\nnow I read the other.\n```json\n{ONE}\n```")
    assert calls(reply) == [A_TXT]
    assert reply.text == f"The file is\n{config}\nnow I read the other."


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{ONE}\n```\n\nThis is what the call would look like.",
        '```json\n{"name": "unknown", "arguments": {"path": "a.txt"}}\n```',
        f'```json\n[{ONE}, {{"name": "unknown", "arguments": {{}}}}]\n```',
        '```json\n{"name": "read_file"}\n```',
        '```json\n{"name": "read_file", "size": 3}\n```',
        f"The call is {ONE}",
        "```python\n[x for x in range(3)]\n```",
        '```json\n{"name": "read_file", "arguments": {"path": "a.t',
        "<tools>none</tools>",
        "[1, 2, 3]",
        '[{"name": "Ann"}, {"name": "Bob"}]',
        '<invoke name="unknown"><parameter name="a">1</parameter></invoke>',
        '<parameter name="a">1</parameter>',
        "`" * 9,
    ],
)
def test_what_only_looks_like_a_call_stays_an_answer(text: str) -> None:
    for pieces in ([text], list(text)):
        reply = read(*pieces)
        assert (reply.text, reply.calls, reply.broken, reply.finish) == (text.rstrip(), (), (), "stop")


def test_nothing_is_looked_for_beside_a_call_in_a_cut_answer_or_without_tools() -> None:
    fence = f"```json\n{TWO}\n```"
    call = '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.txt"}}\n</tool_call>'
    beside = read(f"{call}\n{fence}")
    assert (calls(beside), beside.text) == ([A_TXT], fence)
    assert read(fence, finish="length").text == fence
    assert read(fence, tools=()).text == fence


def test_a_value_that_holds_such_tags_is_not_rewritten() -> None:
    text = '<invoke name="read_file"><parameter name="path">x <invoke name="add"></parameter></invoke>'
    assert read(text).calls == ()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=12)
    | st.sampled_from(["北京 🌧", "مرحبا", "</tools>"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@steady
@given(
    arguments=st.lists(st.dictionaries(st.text(min_size=1, max_size=6), values, max_size=3), min_size=1, max_size=3),
    wrapper=st.sampled_from([("```json\n", "\n```"), ("<tools>\n", "\n</tools>"), ("<function_invocation>", "</x")]),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_any_call_survives_the_wrapper_at_any_split(
    arguments: list[dict[str, Any]], wrapper: tuple[str, str], cuts: list[int]
) -> None:
    body = "\n".join(json.dumps({"name": "read_file", "arguments": a}, ensure_ascii=False) for a in arguments)
    text = f"{wrapper[0]}{body}{wrapper[1] if wrapper[1] != '</x' else ''}"
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    reply = read(*(text[a:b] for a, b in pairwise(places)))
    assert calls(reply) == [("read_file", a) for a in arguments]
    assert read(text) == reply


@pytest.mark.parametrize(
    "begun", ["```json\n{", "<tools>[", "```json\n{}\n```\n", '<invoke name="add">', "[{", "<tools>{}"]
)
def test_reading_is_linear_in_what_never_ends(begun: str) -> None:
    def seconds(times: int) -> float:
        text = begun * times + "`"
        start = time.process_time()
        read(text)
        return time.process_time() - start

    small = min(seconds(2_000) for _ in range(3))
    assert min(seconds(16_000) for _ in range(3)) < max(small * 24, 0.05)


def test_a_repair_says_what_was_mended() -> None:
    def repaired(arguments: str) -> str:
        reader = ReplyReader(tools=TOOLS, thinking_open=False)
        call = {"id": "1", "index": 0, "function": {"name": "read_file", "arguments": arguments}}
        pieces = reader.read_response({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})
        return next(piece.repaired for piece in pieces if isinstance(piece, WholeCall))

    assert repaired('{"path": "a.txt"}') == repaired("") == repaired("null") == repaired("{}") == ""
    assert repaired('{"path": "a.txt",}') == "a comma too many"
    assert repaired('{"path": "a.txt"') == "a closing bracket was missing"
    assert repaired("{'path': 'a.txt'}") == "quotation marks other than JSON's"
    assert repaired("{“path”: “a.txt”}") == "quotation marks other than JSON's"
    assert repaired('{"path": "a\nb"}') == "raw line breaks or control characters in a string"
    assert (
        repaired('{path: None, "x": "\\d"}') == "a key without quotes, Python's None, a backslash that begins no escape"
    )
    assert repaired('"{\\"path\\": \\"a.txt\\"}"') == "an object that was written as a string"
