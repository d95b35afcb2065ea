"""Recorded sessions in other forms: Markdown, JSON, HTML, and what models are trained on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import orjson

from qianda.agents.conversation import closed, from_records
from qianda.agents.journal import Journal
from qianda.models.errors import ConfigurationError
from qianda.models.family import find_family
from qianda.models.formats.writing import write_hermes, write_xml
from qianda.models.messages import AssistantMessage, Message, SystemMessage, ToolMessage, ToolSchema, content_text
from qianda.models.rendering import render
from qianda.models.servers import server_kinds
from qianda.models.wire import message_body, tool_body
from qianda.tools.secrets import redact, redact_content

ExportFormat = Literal["markdown", "json", "html", "openai", "sharegpt"]


@dataclass(frozen=True, slots=True)
class Exported:
    """A session, read back whole.

    Args:
        name: of the session.
        model: of its last run.
        instructions: the system prompt of its last run, or "".
        tools: those that its last run could call.
        began: seconds since the epoch.
        messages: the conversation, without the instructions.
        left_out: how many messages before these are not there.
    """

    name: str
    model: str
    instructions: str
    tools: tuple[ToolSchema, ...]
    began: float
    messages: tuple[Message, ...]
    left_out: int = 0


def export_session(journal: Journal, name: str, form: ExportFormat, *, most: int | None = None) -> str:
    """A session as text, without what is known as a secret.

    Args:
        journal: the record.
        name: the session.
        form: ``markdown`` and ``html`` to be read, ``json`` with all that is in the conversation; ``openai``
            (messages and tools) and ``sharegpt`` (calls as Qwen's templates write them) are a line of JSON each, for
            training.
        most: about how many bytes of messages at most: the last ones; None for all.

    Raises:
        ConfigurationError: there is no such session.
    """
    session = _read(journal, name)
    return _FORMS[form](session if most is None else _end_of(session, most))


def _end_of(session: Exported, most: int) -> Exported:
    kept = len(session.messages)
    while kept and (most := most - len(orjson.dumps(session.messages[kept - 1]))) >= 0:
        kept -= 1
    return replace(session, messages=session.messages[kept:], left_out=kept)


def _without_secrets(message: Message) -> Message:
    changed: dict[str, Any] = {"content": redact_content(message.content)}
    if isinstance(message, AssistantMessage):
        calls = tuple(replace(call, arguments=redact(call.arguments)) for call in message.tool_calls)
        changed |= {"reasoning": redact(message.reasoning), "tool_calls": calls}
    return replace(message, **changed)


def _read(journal: Journal, name: str) -> Exported:
    runs = journal.runs(name)
    if not runs:
        raise ConfigurationError(f"There is no session {name}", cure="See them: qianda sessions list")
    messages: list[Message] = []
    notes: dict[str, Any] = {}
    began = 0.0
    for run_id in runs:
        records = list(journal.records(run_id))
        messages += map(_without_secrets, closed(from_records(records)))
        began = began or records[0].time
        notes |= {record.kind: orjson.loads(record.data) for record in records if record.kind in ("start", "setup")}
    setup = notes.get("setup", {"instructions": "", "tools": []})
    tools = tuple(ToolSchema(**tool) for tool in setup["tools"])
    told = redact(setup["instructions"])
    return Exported(name, notes["start"].get("model") or "", told, tools, began, tuple(messages))


def _json(session: Exported) -> str:
    about = {"format": "qianda-session", "version": 1, **asdict(session)}
    if not session.left_out:
        del about["left_out"]
    return json.dumps(about, ensure_ascii=False, indent=2) + "\n"


def _markdown(session: Exported) -> str:
    lines = [f"# {session.name}", "", f"{_when(session)} · {session.model}"]
    lines += ["", f"({session.left_out} messages before these are left out)"] if session.left_out else []
    for message in session.messages:
        lines += ["", f"## {_TITLES[message.role]}", ""]
        if isinstance(message, ToolMessage):
            lines += [f"`{message.name}`: {message.outcome}", "", _fenced(content_text(message.content))]
            continue
        if isinstance(message, AssistantMessage) and message.reasoning:
            lines += ["<details><summary>Thinking</summary>", "", _fenced(message.reasoning), "", "</details>", ""]
        lines += [content_text(message.content), ""] if message.content else []
        for call in message.tool_calls if isinstance(message, AssistantMessage) else ():
            lines += [f"Calls `{call.name}`:", "", _fenced(call.arguments, "json"), ""]
        while not lines[-1]:
            lines.pop()
    return "\n".join(lines).rstrip() + "\n"


def _fenced(text: str, language: str = "") -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def _html(session: Exported) -> str:
    from html import escape

    blocks: list[str] = []
    for message in session.messages:
        body = f"<pre>{escape(content_text(message.content))}</pre>" if message.content else ""
        head = _TITLES[message.role]
        if isinstance(message, ToolMessage):
            head = f"{escape(message.name)}: {message.outcome}"
            body = f"<details><summary>result</summary>{body}</details>"
        elif isinstance(message, AssistantMessage):
            if message.reasoning:
                thinking = f"<pre>{escape(message.reasoning)}</pre>"
                body = f"<details><summary>thinking</summary>{thinking}</details>{body}"
            body += "".join(
                f"<p>calls <b>{escape(call.name)}</b></p><pre>{escape(call.arguments)}</pre>"
                for call in message.tool_calls
            )
        blocks.append(f'<section class="{message.role}"><h2>{head}</h2>{body}</section>')
    title = escape(session.name)
    return (
        f'<!doctype html>\n<html><head><meta charset="utf-8"><title>{title}</title>\n<style>{_STYLE}</style></head>\n'
        f"<body><h1>{title}</h1><p>{_when(session)} · {escape(session.model)}</p>\n"
        + "\n".join(blocks)
        + "\n</body></html>\n"
    )


def _openai(session: Exported) -> str:
    messages = [{"role": "system", "content": session.instructions}] if session.instructions else []
    kind = server_kinds()["openai"]
    bodies = [message_body(message, kind, reasoning_fields=("reasoning_content",)) for message in session.messages]
    line: dict[str, Any] = {"messages": [*messages, *bodies]}
    if session.tools:
        line["tools"] = [tool_body(tool) for tool in session.tools]
    return json.dumps(line, ensure_ascii=False) + "\n"


def _sharegpt(session: Exported) -> str:
    calls = "xml" if find_family(session.model).calls == "xml" else "hermes"
    write = write_xml if calls == "xml" else write_hermes
    turns: list[dict[str, str]] = []
    instructions = [SystemMessage(session.instructions)] if session.instructions else []
    head = render(instructions, session.tools, calls=calls)
    if system := head.removeprefix("<|im_start|>system\n").partition("<|im_end|>\n<|im_start|>assistant")[0]:
        turns.append({"from": "system", "value": system})
    for message in session.messages:
        if isinstance(message, ToolMessage):
            value = f"<tool_response>\n{content_text(message.content)}\n</tool_response>"
            if turns and turns[-1]["from"] == "tool":  # one turn for the results of a reply, as in the templates
                turns[-1]["value"] += f"\n{value}"
            else:
                turns.append({"from": "tool", "value": value})
        elif isinstance(message, AssistantMessage):
            thinking = f"<think>\n{message.reasoning}\n</think>\n\n" if message.reasoning else ""
            value = "\n".join([*filter(None, [message.content]), *map(write, message.tool_calls)])
            turns.append({"from": "gpt", "value": thinking + value})
        else:
            turns.append({"from": "human", "value": content_text(message.content)})
    return json.dumps({"id": session.name, "conversations": turns}, ensure_ascii=False) + "\n"


def _when(session: Exported) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(session.began))


_TITLES = {"user": "User", "assistant": "Assistant", "tool": "Tool", "system": "Instructions"}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;margin:.3rem 0}"
    "h2{font-size:.8rem;margin:0;color:#777}"
    "section{border-left:3px solid #ccc;padding:.2rem .8rem;margin:.8rem 0}"
    ".user{border-color:#56f}.assistant{border-color:#2a6}"
    "details pre,p+pre{font:13px/1.4 monospace}"
)
_FORMS: dict[ExportFormat, Callable[[Exported], str]] = {
    "markdown": _markdown,
    "json": _json,
    "html": _html,
    "openai": _openai,
    "sharegpt": _sharegpt,
}
