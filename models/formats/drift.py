"""Finds calls in wrappers that no Qwen was taught: code fences, ``<tools>``, ``<function_invocation>``, bare lists.

Qwen2.5-Coder writes them in place of ``<tool_call>`` (https://github.com/ollama/ollama/issues/12174,
https://github.com/vllm-project/vllm/pull/32931), others drift into them in long conversations. An answer may show a
call without making it, so this is asked last and believes little: every block must be a call of a known tool with its
arguments, the text must end with one, and text between them stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from qianda.models.formats.call import TOOL_CALL, TOOL_CALL_END, Item, Tools
from qianda.models.formats.finder import CallFinder
from qianda.models.formats.json_scan import JsonScan
from qianda.models.reply import BrokenCall, WholeCall

_NAMES = r"(?:tools?|functions?|(?:tool|function)[_-](?:calls?|code|use|invocations?)|invoke|calls?|json)"
# What opens a block, when JSON follows: a fence, a tag in any brackets, or a list that begins the text.
_OPEN = re.compile(rf"```[ \t]*[\w-]{{0,20}}\s{{0,64}}(?=[{{\[])|[<\[]{_NAMES}[>\]]\s{{0,64}}(?=[{{\[])|\A\s*(?=\[)")
# Its end; models leave it out, or write another tag's.
_CLOSE = re.compile(rf"\s*(?:```|[<\[]/{_NAMES}(?:[>\]]|\Z))?\s*")
_BETWEEN = re.compile(r"[\s,;]*")
_ARGUMENTS = re.compile(r"""["'](?:arguments|parameters)["']\s*:""")
# Tags that name the tool and its parameters in an attribute, as other families of models do.
_ATTRIBUTE = r"""[ \t]+name[ \t]*=[ \t]*["']([^"'<>\n]{1,128})["'][^<>\n]{0,64}>"""
_NAMED = re.compile(r"<(?:invoke|function|function_(?:call|invocation)|tool|tool_(?:call|use))" + _ATTRIBUTE)
_PARAMETER = re.compile(r"<(?:parameter|argument|param|arg)" + _ATTRIBUTE)
_NAMED_END = re.compile(r"</(?:invoke|function|function_(?:call|invocation)|tool|tool_(?:call|use))>")
_PARAMETER_END = re.compile(r"</(?:parameter|argument|param|arg)>")
_OUTER = re.compile(r"</?(?:antml:)?(?:function_calls|tool_calls|function_invocations)>\s*")


def find_drifted(text: str, tools: Tools, indexes: Iterator[int]) -> tuple[str, list[WholeCall]] | None:
    """The calls in a text in which no proper call was found.

    Args:
        text: the whole text of a reply that was not cut.
        tools: by name; only their calls are believed.
        indexes: numbers for the calls.

    Returns:
        The text without the calls, and the calls; None where there are none.
    """
    if not tools:
        return None
    return _in_blocks(text, tools, indexes) or _in_attributes(text, tools, indexes)


def _in_blocks(text: str, tools: Tools, indexes: Iterator[int]) -> tuple[str, list[WholeCall]] | None:
    kept: list[str] = []
    calls: list[WholeCall] = []
    at = 0
    while block := _OPEN.search(text, at):
        end = _json_end(text, block.end())
        if not end:
            return None
        found = _read(text[block.end() : end], tools, indexes)
        kept.append(text[at : block.start() if found else end])
        calls += [replace(call, repaired=_and(f"it stood in {_shown(block[0])}", call.repaired)) for call in found]
        close = _CLOSE.match(text, end) if found else None
        at = close.end() if close else end
    if at < len(text) or not calls:
        return None
    return "\n".join(filter(None, (part.strip() for part in kept))), calls


def _in_attributes(text: str, tools: Tools, indexes: Iterator[int]) -> tuple[str, list[WholeCall]] | None:
    """Calls as ``<invoke name="…"><parameter name="…">…``: put into the XML format, and read as that."""
    if not text.rstrip().endswith(">") or not _NAMED.search(text):
        return None
    written = _NAMED.sub(rf"{TOOL_CALL}\n<function=\1>\n", _OUTER.sub("", text))
    written = _NAMED_END.sub(f"</function>\n{TOOL_CALL_END}", _PARAMETER.sub(r"<parameter=\1>", written))
    found = _items(_PARAMETER_END.sub("</parameter>", written), tools, indexes)
    calls = [item for item in found if isinstance(item, WholeCall)]
    if not calls or not _believed(found, tools) or any("<function=" in call.arguments for call in calls):
        return None
    kept = "".join(item for item in found if isinstance(item, str))
    return kept.strip(), [replace(call, repaired="tags of another format") for call in calls]


def _read(body: str, tools: Tools, indexes: Iterator[int]) -> list[WholeCall]:
    """The calls in one block; none unless all of it is calls."""
    if not _ARGUMENTS.search(body):
        return []
    found = _items(f"{TOOL_CALL}\n{body}\n{TOOL_CALL_END}", tools, indexes)
    stray = "".join(item for item in found if isinstance(item, str)).strip()
    return [] if stray or not _believed(found, tools) else [item for item in found if isinstance(item, WholeCall)]


def _items(text: str, tools: Tools, indexes: Iterator[int]) -> list[Item]:
    items: list[Item] = []
    finder = CallFinder(tools, indexes)
    finder.feed(text, items)
    finder.close(items, cut=False)
    return items


def _believed(items: Sequence[Item], tools: Tools) -> bool:
    """Every call is whole and of a known tool."""
    return not any(
        isinstance(item, BrokenCall) or (isinstance(item, WholeCall) and item.name not in tools) for item in items
    )


def _json_end(text: str, at: int) -> int:
    """Where the JSON values end that begin here; 0 when one does not."""
    while text[at : at + 1] in ("{", "["):
        scan = JsonScan()
        stop, why = scan.scan(text, at)
        while why == "<":
            stop, why = scan.scan(text, stop + 1)
        if why != "end":
            return 0
        between = _BETWEEN.match(text, stop)
        ahead = between.end() if between else stop
        if text[ahead : ahead + 1] != "{":
            return stop
        at = ahead
    return at


def _shown(opening: str) -> str:
    name = opening.strip()
    return "a code fence" if name.startswith("```") else name or "a bare list"


def _and(first: str, second: str) -> str:
    return f"{first}, {second}" if second else first
