"""Our Qwen3 template against the official one: the same bytes for every conversation."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jinja2 import Environment
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = Path(__file__).resolve().parent
OFFICIAL = (HERE / "fixtures/qwen3/chat_template.jinja").read_text(encoding="utf-8")
OURS = (HERE.parent / "models/embedded/qwen3.jinja").read_text(encoding="utf-8")
TOOLS = json.loads((HERE / "fixtures/core-tools.json").read_text(encoding="utf-8"))


def environment(**options: bool) -> Environment:
    """jinja2 as transformers sets it up: JSON as Python writes it, not escaped for HTML."""
    made = ImmutableSandboxedEnvironment(**options)
    made.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return made


TRIMMED = environment(trim_blocks=True, lstrip_blocks=True)
official = TRIMMED.from_string(OFFICIAL)
ours = TRIMMED.from_string(OURS)
ours_untrimmed = environment().from_string(OURS)

# What the template looks for, glued together with line ends and text of several scripts.
PIECES = ["", "\n", "\n\n", " ", "Hi", "答案是 42。", "مرحبا", '{"a": "<&>\'"}', "{{ x }}", "{% raw %}"]
TAGS = ["<think>", "</think>", "<tool_response>", "</tool_response>", "<tool_call>"]
texts = st.lists(st.sampled_from(PIECES + TAGS), max_size=6).map("".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.floats(0, 2) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
functions = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["read_file", "天气", "a-b_c"]),
        "arguments": st.dictionaries(texts, json_values, max_size=3) | st.just('{"path": "a.txt"}') | st.just(""),
    }
)
calls = st.one_of(
    st.fixed_dictionaries({"id": st.just("c1"), "type": st.just("function"), "function": functions}), functions
)
assistants = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": texts},
    optional={
        "reasoning_content": st.none() | texts,
        "tool_calls": st.none() | st.lists(calls, max_size=3),
    },
)
messages = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "user", "tool", "tool", "system"]), "content": texts}),
    texts.map(lambda text: {"role": "user", "content": f"<tool_response>{text}</tool_response>"}),
    assistants,
)
conversations = st.lists(messages, min_size=1, max_size=8)
switches = st.fixed_dictionaries(
    {"add_generation_prompt": st.booleans()}, optional={"enable_thinking": st.booleans() | st.none()}
)
tool_lists = st.sampled_from([None, [], TOOLS[:1], TOOLS]) | st.lists(json_values, min_size=1, max_size=2)


def test_the_oracle_is_the_official_text() -> None:
    assert (
        hashlib.sha256(OFFICIAL.encode()).hexdigest()
        == "87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5"
    )
    assert OURS != OFFICIAL


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=conversations, tools=tool_lists, switches=switches)
@example(
    messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Read a.txt"},
        {
            "role": "assistant",
            "content": "\n\nNow.",
            "reasoning_content": "\nThe user wants a file.\n",
            "tool_calls": [
                {"function": {"name": "read_file", "arguments": {"path": "a.txt"}}},
                {"function": {"name": "read_file", "arguments": '{"path": "b.txt"}'}},
            ],
        },
        {"role": "tool", "content": "one"},
        {"role": "tool", "content": "two"},
        {"role": "assistant", "content": "<think>\nBoth read.\n</think>\n\nDone."},
        {"role": "user", "content": "Thanks"},
    ],
    tools=TOOLS,
    switches={"add_generation_prompt": True, "enable_thinking": False},
)
def test_it_renders_the_same_bytes(
    messages: list[dict[str, Any]], tools: list[Any] | None, switches: dict[str, Any]
) -> None:
    expected = official.render(messages=messages, tools=tools, **switches)
    assert ours.render(messages=messages, tools=tools, **switches) == expected
    assert ours_untrimmed.render(messages=messages, tools=tools, **switches) == expected


@pytest.mark.parametrize(
    "said",
    ["<tool_response>\n6\n</tool_response>", "<tool_response> is a tag", "a tag: </tool_response>", "<tool_response>"],
)
def test_only_a_whole_tool_response_is_no_question(said: str) -> None:
    messages = [
        {"role": "user", "content": "Multiply."},
        {"role": "assistant", "content": "", "reasoning_content": "first thought"},
        {"role": "user", "content": said},
        {"role": "assistant", "content": "6"},
    ]
    whole = said.startswith("<tool_response>") and said.endswith("</tool_response>")
    expected = official.render(messages=messages)
    assert ours.render(messages=messages) == expected
    assert ("first thought" in expected) is whole


@pytest.mark.parametrize("thinking", [True, False])
def test_reasoning_stays_only_in_the_last_tool_loop(thinking: bool) -> None:
    loop = [
        {"role": "user", "content": "Multiply."},
        {"role": "assistant", "content": "", "reasoning_content": "first thought", "tool_calls": []},
        {"role": "tool", "content": "6"},
        {"role": "assistant", "content": "6", "reasoning_content": "second thought"},
    ]
    later = [*loop, {"role": "user", "content": "And again?"}]
    render = ours.render
    assert "first thought" in render(messages=loop, add_generation_prompt=True, enable_thinking=thinking)
    closed = render(messages=later, add_generation_prompt=True, enable_thinking=thinking)
    assert "thought" not in closed
    assert closed.endswith("<think>\n\n</think>\n\n") is not thinking


def test_a_missing_content_reads_as_empty() -> None:
    call = {"function": {"name": "read_file", "arguments": "{}"}}
    bare = [{"role": "user", "content": "Go"}, {"role": "assistant", "tool_calls": [call]}]
    null = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    empty = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    assert ours.render(messages=bare) == ours.render(messages=null) == official.render(messages=empty)
