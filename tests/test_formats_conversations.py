"""10,000 random conversations in many scripts: rendered, streamed in random pieces and read again, in both formats."""

from __future__ import annotations

import json
import random
import re
from typing import Any, Literal

import pytest

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
from qianda.models.reply import Reply, merge

CONVERSATIONS, PARTS = 10_000, 8
SCRIPTS = (
    *("北京", "天气", "预报", "千答", "龘", "東京", "の", "カタカナ", "ｶﾅ", "서울", "날씨", "ᄀᆞᆷ"),
    *("القاهرة", "الطقس", "لا", "שלום", "हिन्दी", "ไทย", "Ελλάδα", "Москва", "naïve", "e\u0301", "word", "x"),
    *("🌦️", "👩‍👩‍👧", "🇨🇳", "😀", "𝒳", "𠮷", "7"),
)
# What is hard about a value: quotation marks, escapes, brackets, beginnings of tags, whitespace, and literals in text.
MARKS = (
    *(
        '"',
        "'",
        "“",
        "”",
        "`",
        "\\",
        "\\n",
        "\\u4e2d",
        "{",
        "}",
        "[",
        "]",
        "},",
        '": "',
        ":",
        ",",
        "\n",
        "\n\n",
        "\t",
        " ",
    ),
    *(
        "<",
        ">",
        "</",
        "<b>",
        "</b>",
        "<tool",
        "</tool",
        "<param",
        "&amp;",
        "<|",
        "null",
        "true",
        "3.0",
        "\u2028",
        "\u200d",
        "\x7f",
    ),
)
TURN = re.compile(r"<\|im_start\|>assistant\n(.*?)<\|im_end\|>\n", re.DOTALL)

Format = Literal["hermes", "xml"]
Written = tuple[str, str, list[tuple[str, dict[str, Any]]]]


class Author:
    """Makes conversations up; the same dice make the same ones."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def words(self, most: int) -> str:
        return "".join(self.dice.choices(SCRIPTS, k=self.dice.randint(1, most)))

    def prose(self, least: int = 0) -> str:
        return " ".join(self.words(3) for _ in range(self.dice.randint(least, 6)))

    def text(self) -> str:
        """A string for an argument; "null" alone may be said of an optional one only in Hermes format."""
        made = "".join(self.dice.choices(SCRIPTS + MARKS, k=self.dice.randint(0, 10)))
        return made if made.strip() != "null" else "nothing"

    def value(self, depth: int = 2) -> Any:
        kind = self.dice.randint(0, 7 if depth else 4)
        if kind == 0:
            return self.dice.choice((True, False)) if depth == 2 else None
        if kind == 1:
            return self.dice.randint(-(10**20), 10**20) if self.dice.random() < 0.5 else self.dice.randint(-9, 9)
        if kind == 2:
            return self.dice.uniform(-1e9, 1e9)
        if kind in (3, 4):
            return self.text()
        if kind == 5:
            return {self.text(): self.value(depth - 1) for _ in range(self.dice.randint(0, 3))}
        return [self.value(depth - 1) for _ in range(self.dice.randint(0, 3))]

    def turn(self, tools: dict[str, ToolSchema]) -> AssistantMessage:
        """A reply; its calls make their tools up."""
        calls: list[ToolCall] = []
        for number in range(self.dice.choice((0, 1, 1, 2, 3))):
            name = self.words(2) + "_" * len(tools)
            arguments = {self.words(2): self.value() for _ in range(self.dice.randint(0, 4))}
            properties = {key: {"type": json_type(value)} for key, value in arguments.items()}
            tools[name] = ToolSchema(name, self.prose(), {"type": "object", "properties": properties})
            calls.append(ToolCall(f"call-{number}", name, json.dumps(arguments, ensure_ascii=self.dice.random() < 0.5)))
        return AssistantMessage(self.prose(least=0 if calls else 1), self.dice.choice(("", self.prose())), tuple(calls))

    def conversation(self) -> tuple[list[Message], dict[str, ToolSchema]]:
        tools: dict[str, ToolSchema] = {}
        messages: list[Message] = [SystemMessage(self.prose())] if self.dice.random() < 0.5 else []
        messages.append(UserMessage(self.prose()))
        for _ in range(self.dice.choice((1, 1, 2, 3))):
            reply = self.turn(tools)
            messages.append(reply)
            messages += [ToolMessage(call.id, call.name, self.prose()) for call in reply.tool_calls]
            if not reply.tool_calls:
                messages.append(UserMessage(self.prose()))
        return messages, tools

    def pieces(self, text: str) -> list[str]:
        """A text in one piece, in a few, or character by character."""
        if self.dice.random() < 0.02:
            return list(text)
        cuts = sorted(self.dice.sample(range(len(text)), min(len(text), self.dice.choice((0, 1, 3, 8)))))
        return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def json_type(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}
    return kinds[type(value)]


def read(pieces: list[str], tools: dict[str, ToolSchema]) -> Reply:
    reader = ReplyReader(tools=list(tools.values()), thinking_open=False)
    found = [piece for text in pieces for piece in reader.feed({"choices": [{"delta": {"content": text}}]})]
    found += reader.feed({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    return merge(found + reader.close())


def what_was_said(messages: list[Message], calls: Format) -> list[Written]:
    """The replies of a conversation, with the reasoning that the template keeps: that behind the last question."""
    question = max(at for at, message in enumerate(messages) if isinstance(message, UserMessage))
    return [
        (
            message.reasoning if calls == "hermes" and at > question else "",
            message.content,
            [(call.name, json.loads(call.arguments)) for call in message.tool_calls],
        )
        for at, message in enumerate(messages)
        if isinstance(message, AssistantMessage)
    ]


@pytest.mark.parametrize("part", range(PARTS))
def test_conversations_survive_rendering_and_streaming(part: int) -> None:
    for seed in range(part, CONVERSATIONS, PARTS):
        author = Author(random.Random(seed))
        messages, tools = author.conversation()
        formats: tuple[Format, ...] = ("hermes", "xml")
        for calls in formats:
            written = TURN.findall(render(messages, list(tools.values()), calls=calls))
            replies = [read(author.pieces(text), tools) for text in written]
            found = [
                (reply.reasoning.strip("\n"), reply.text, [(c.name, json.loads(c.arguments)) for c in reply.calls])
                for reply in replies
            ]
            assert found == what_was_said(messages, calls), f"seed {seed}, {calls}: {written}"
            assert not any(reply.broken for reply in replies), f"seed {seed}, {calls}: {written}"
