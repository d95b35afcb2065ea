"""Conversations as raw prompts, byte for byte as Qwen's chat templates write them, for the completions interface.

Sources: the chat templates of Qwen3 (``hermes``, which Qwen2.5 and Qwen-Agent's ``NousFnCallPrompt`` share the texts
of) and of Qwen3-Coder (``xml``). A reply to such a prompt is read by ``ReplyReader`` like any other text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from qianda.models.formats.arguments import read_object
from qianda.models.formats.json_text import write_value
from qianda.models.messages import AssistantMessage, Message, SystemMessage, ToolMessage, ToolSchema, content_text
from qianda.models.wire import tool_body

_HERMES = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{tools}\n</tools>\n\n"
    "For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML "
    'tags:\n<tool_call>\n{{"name": <function-name>, "arguments": <args-json-object>}}\n</tool_call>'
)
_XML = (
    "# Tools\n\nYou have access to the following tools:\n\n<tools>{tools}\n</tools>\n\n"
    "If you choose to call a tool ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
    "<parameter=example_parameter_2>\nvalue_2\n</parameter>\n</function>\n</tool_call>\n\n"
    "<IMPORTANT>\nReminder:\n"
    "- Function calls MUST follow the specified format: the tool calling block MUST begin with an opening <tool_call> "
    "tag and end with a closing </tool_call> tag.\n"
    "- Required parameters MUST be specified\n"
    "- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT "
    "after\n"
    "- If there is no function call available, answer the question like normal with your current knowledge and do not "
    "tell the user about function calls\n</IMPORTANT>"
)
_XML_SYSTEM = "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."


def render(
    messages: Sequence[Message],
    tools: Sequence[ToolSchema],
    *,
    calls: Literal["hermes", "xml"],
    thinking: bool | None = None,
) -> str:
    """The prompt that makes the model say the next message; media in messages are only named.

    Args:
        messages: the conversation.
        tools: what may be called.
        calls: the format of tools and calls: ``hermes`` as Qwen3 has it, ``xml`` as Qwen3-Coder.
        thinking: False closes the thinking before it begins (``hermes``); Qwen3-Coder does not think.

    Raises:
        ValueError: the arguments of a call in the conversation are no JSON object.
    """
    system = next((m.content for m in messages[:1] if isinstance(m, SystemMessage)), None)
    turns = list(messages[1:] if system is not None else messages)
    if calls == "xml":
        head = _xml_system(system, tools)
        body = "".join(_xml_message(turns, at) for at in range(len(turns)))
        return f"{head}{body}<|im_start|>assistant\n"
    if tools:
        listed = "\n".join(write_value(tool_body(tool)) for tool in tools)
        system = ("" if system is None else f"{system}\n\n") + _HERMES.format(tools=listed)
    last_query = max((at for at, message in enumerate(turns) if _is_query(message)), default=len(turns) - 1)
    body = "".join(_hermes_message(turns, at, current=at > last_query) for at in range(len(turns)))
    head = "" if system is None else _chatml("system", system)
    return f"{head}{body}<|im_start|>assistant\n" + ("<think>\n\n</think>\n\n" if thinking is False else "")


def _chatml(role: str, text: str) -> str:
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def _is_query(message: Message) -> bool:
    """A user message that is no tool result."""
    text = content_text(message.content)
    return message.role == "user" and not (text.startswith("<tool_response>") and text.endswith("</tool_response>"))


def _hermes_message(turns: Sequence[Message], at: int, *, current: bool) -> str:
    """A message; ``current``: of the tool loop that is going on, whose reasoning is kept."""
    message = turns[at]
    if isinstance(message, ToolMessage):
        first, last = _edges(turns, at)
        text = f"\n<tool_response>\n{content_text(message.content)}\n</tool_response>"
        return ("<|im_start|>user" if first else "") + text + ("<|im_end|>\n" if last else "")
    if not isinstance(message, AssistantMessage):
        return _chatml(message.role, content_text(message.content))
    text, reasoning = message.content, message.reasoning
    if not reasoning and "</think>" in text:
        reasoning = text.split("</think>")[0].rstrip("\n").split("<think>")[-1].lstrip("\n")
        text = text.split("</think>")[-1].lstrip("\n")
    written = text
    if current and (reasoning or at == len(turns) - 1):
        stripped = text.lstrip("\n")
        written = "<think>\n" + reasoning.strip("\n") + f"\n</think>\n\n{stripped}"
    for index, call in enumerate(message.tool_calls):
        written += "\n" if text or index else ""
        arguments = write_value(read_object(call.arguments))
        written += f'<tool_call>\n{{"name": "{call.name}", "arguments": {arguments}}}\n</tool_call>'
    return _chatml("assistant", written)


def _xml_system(system: str | None, tools: Sequence[ToolSchema]) -> str:
    if not tools:
        return "" if system is None else _chatml("system", system)
    listed = "".join(_xml_tool(tool) for tool in tools)
    return _chatml("system", f"{_XML_SYSTEM if system is None else system}\n\n{_XML.format(tools=listed)}")


def _xml_tool(tool: ToolSchema) -> str:
    lines = ["", "<function>", f"<name>{tool.name}</name>", f"<description>{tool.description.strip()}</description>"]
    lines.append("<parameters>")
    properties = tool.parameters.get("properties")
    for name, schema in cast("dict[str, Any]", properties).items() if isinstance(properties, dict) else ():
        fields = cast("dict[str, Any]", schema) if isinstance(schema, dict) else {}
        lines += ["<parameter>", f"<name>{name}</name>"]
        if "type" in fields:
            lines.append(f"<type>{fields['type']}</type>")
        if "description" in fields:
            lines.append(f"<description>{str(fields['description']).strip()}</description>")
        lines += [*_others(fields, ("name", "type", "description")), "</parameter>"]
    lines += [*_others(tool.parameters, ("type", "properties")), "</parameters>", "</function>"]
    return "\n".join(lines)


def _others(fields: dict[str, Any], handled: Sequence[str]) -> list[str]:
    return [f"<{key}>{_xml_value(value)}</{key}>" for key, value in fields.items() if key not in handled]


def _xml_message(turns: Sequence[Message], at: int) -> str:
    message = turns[at]
    if isinstance(message, ToolMessage):
        first, last = _edges(turns, at)
        text = f"<tool_response>\n{content_text(message.content)}\n</tool_response>\n"
        # The template's own gap: results that begin the conversation are in no turn.
        return ("<|im_start|>user\n" if first and at else "") + text + ("<|im_end|>\n" if last else "")
    if not isinstance(message, AssistantMessage) or not message.tool_calls:
        return _chatml(message.role, content_text(message.content))
    text = message.content.strip()
    parts = [f"\n{text}\n" if text else ""]
    for call in message.tool_calls:
        parts.append(f"\n<tool_call>\n<function={call.name}>\n")
        values = read_object(call.arguments).items()
        parts += [f"<parameter={key}>\n{_xml_value(value)}\n</parameter>\n" for key, value in values]
        parts.append("</function>\n</tool_call>")
    return "<|im_start|>assistant" + "".join(parts) + "<|im_end|>\n"


def _xml_value(value: Any) -> str:
    """Objects and lists as JSON; all else as the template's Python shows it: True, None."""
    return write_value(value) if isinstance(value, (dict, list)) else str(value)


def _edges(turns: Sequence[Message], at: int) -> tuple[bool, bool]:
    """Whether a tool result is the first, and the last, of those in a row."""
    first = at == 0 or not isinstance(turns[at - 1], ToolMessage)
    return first, at == len(turns) - 1 or not isinstance(turns[at + 1], ToolMessage)
