"""Writes calls as the chat templates write them: what a model would have said."""

from __future__ import annotations

from qianda.models.formats.arguments import read_object
from qianda.models.formats.json_text import write_value
from qianda.models.messages import ToolCall


def write_hermes(call: ToolCall) -> str:
    """A call in Hermes format, as the templates of Qwen2.5 and Qwen3 render it.

    Raises:
        ValueError: the arguments are no JSON object.
    """
    body = write_value({"name": call.name, "arguments": read_object(call.arguments)})
    return f"<tool_call>\n{body}\n</tool_call>"


def write_xml(call: ToolCall) -> str:
    """A call in the XML format, as the templates of Qwen3-Coder and later render it.

    Values that are no strings are written as JSON; the official template writes Python's ``True`` and ``None``.

    Raises:
        ValueError: the arguments are no JSON object.
    """
    lines = ["<tool_call>", f"<function={call.name}>"]
    for key, value in read_object(call.arguments).items():
        lines += [f"<parameter={key}>", value if isinstance(value, str) else write_value(value), "</parameter>"]
    return "\n".join([*lines, "</function>", "</tool_call>"])
