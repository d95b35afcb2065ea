"""Raw prompts against the official chat templates and Qwen-Agent: the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from qianda.models.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSchema,
    UserMessage,
)
from qianda.models.reader import ReplyReader
from qianda.models.rendering import render
from qianda.models.reply import merge
from qianda.models.wire import tool_body

HERE = Path(__file__).resolve().parent
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=120)

made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
made.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
OFFICIAL = {
    "hermes": made.from_string((HERE / "fixtures/qwen3/chat_template.jinja").read_text(encoding="utf-8")),
    "xml": made.from_string((HERE / "fixtures/qwen3-coder/chat_template.jinja").read_text(encoding="utf-8")),
}
TOOLS = [
    ToolSchema(
        "天气",
        '  Weather <forecast> & "more".\n',
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": " The city. "},
                "days": {"type": ["integer", "null"], "default": None, "enum": [1, 2], "minimum": 1},
                "at": {"$ref": "#/$defs/place"},
                "any": {},
            },
            "required": ["city"],
            "additionalProperties": False,
            "$defs": {"place": {"type": "object"}},
        },
    ),
    ToolSchema("now", ""),
]


def official(messages: list[Message], tools: list[ToolSchema], calls: str, *, thinking: bool | None) -> str:
    """What the official template makes of the same conversation."""
    bodies: list[dict[str, Any]] = []
    for message in messages:
        body: dict[str, Any] = {"role": message.role, "content": message.content}
        if isinstance(message, AssistantMessage):
            if message.reasoning:
                body["reasoning_content"] = message.reasoning
            if message.tool_calls:
                named = [{"name": call.name, "arguments": json.loads(call.arguments)} for call in message.tool_calls]
                body["tool_calls"] = [{"type": "function", "function": function} for function in named]
        bodies.append(body)
    options = {} if thinking is None else {"enable_thinking": thinking}
    listed = [tool_body(tool) for tool in tools]
    return OFFICIAL[calls].render(messages=bodies, tools=listed, add_generation_prompt=True, **options)


texts = st.lists(
    st.sampled_from(
        [
            "",
            "\n",
            " ",
            "Hi",
            "答案是 42。",
            "مرحبا",
            "🌧",
            "{x}",
            "<think>",
            "</think>",
            "<tool_response>",
            "</tool_response>",
        ]
    ),
    max_size=5,
).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.floats(0, 2) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
tool_calls = st.builds(
    lambda name, arguments: ToolCall("c", name, json.dumps(arguments, ensure_ascii=False)),
    st.sampled_from(["天气", "now"]),
    st.dictionaries(texts, values, max_size=3),
)
messages = st.one_of(
    texts.map(UserMessage),
    texts.map(lambda text: UserMessage(f"<tool_response>{text}</tool_response>")),
    texts.map(lambda text: ToolMessage("c", "now", text)),
    st.builds(AssistantMessage, texts, texts, st.lists(tool_calls, max_size=3).map(tuple)),
)


@pytest.mark.parametrize("calls", ["hermes", "xml"])
@steady
@given(
    system=st.none() | texts,
    conversation=st.lists(messages, min_size=1, max_size=7),
    tools=st.sampled_from([[], TOOLS[:1], TOOLS]),
    thinking=st.sampled_from([None, True, False]),
)
def test_prompts_are_those_of_the_official_template(
    calls: Any, system: str | None, conversation: list[Message], tools: list[ToolSchema], thinking: bool | None
) -> None:
    whole = [*([] if system is None else [SystemMessage(system)]), *conversation]
    assert render(whole, tools, calls=calls, thinking=thinking) == official(whole, tools, calls, thinking=thinking)


ORACLE = """
import json, sys
from qwen_agent.llm.fncall_prompts.nous_fncall_prompt import NousFnCallPrompt
from qwen_agent.llm.schema import Message, ContentItem, FunctionCall
def made(m):
    call = m.get("function_call")
    return Message(role=m["role"], name=m.get("name"), content=[ContentItem(text=m["content"])] if m["content"] else [],
                   function_call=FunctionCall(**call) if call else None)
given = json.load(sys.stdin)
out = NousFnCallPrompt().preprocess_fncall_messages(
    messages=[made(m) for m in given["messages"]], functions=given["functions"], lang="en")
json.dump([[m.role, "".join(item.text for item in m.content)] for m in out], sys.stdout)
"""


def test_texts_are_those_of_qwen_agents_nous_prompt() -> None:
    pytest.importorskip("qwen_agent")
    arguments = '{"city": "杭州", "days": 2, "at": {"x": null}}'
    given_ = {
        "functions": [tool_body(tool)["function"] for tool in TOOLS],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Umbrella?"},
            {"role": "assistant", "content": "I look."},
            {"role": "assistant", "content": "", "function_call": {"name": "天气", "arguments": arguments}},
            {"role": "assistant", "content": "", "function_call": {"name": "now", "arguments": "{}"}},
            {"role": "function", "name": "天气", "content": "rain\n"},
            {"role": "function", "name": "now", "content": "noon"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Thanks"},
        ],
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ORACLE],
        input=json.dumps(given_),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in json.loads(done.stdout))
    conversation: list[Message] = [
        SystemMessage("Be brief."),
        UserMessage("Umbrella?"),
        AssistantMessage("I look.", "", (ToolCall("a", "天气", arguments), ToolCall("b", "now", "{}"))),
        ToolMessage("a", "天气", "rain\n"),
        ToolMessage("b", "now", "noon"),
        AssistantMessage("Yes."),
        UserMessage("Thanks"),
    ]
    assert render(conversation, TOOLS, calls="hermes") == expected + "<|im_start|>assistant\n"


@pytest.mark.parametrize("calls", ["hermes", "xml"])
def test_a_call_in_a_prompt_is_one_that_our_reader_reads(calls: Any) -> None:
    call = ToolCall("a", "天气", '{"city": "杭州", "days": 2}')
    prompt = render([UserMessage("Hi"), AssistantMessage("I look.", "", (call,))], TOOLS, calls=calls)
    written = prompt.split("<|im_start|>assistant\n")[1].partition("<|im_end|>")[0]
    reader = ReplyReader(tools=TOOLS, thinking_open=False)
    reply = merge(reader.read_response({"choices": [{"message": {"content": written}, "finish_reason": "stop"}]}))
    assert [(found.name, found.arguments) for found in reply.calls] == [(call.name, call.arguments)]
    assert reply.text == "I look."


def test_the_arguments_of_a_call_have_to_be_an_object() -> None:
    with pytest.raises(ValueError, match="object"):
        render([AssistantMessage("", "", (ToolCall("a", "now", "[1]"),))], TOOLS, calls="xml")
