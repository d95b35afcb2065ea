"""Whether a reply announces a tool call that it does not make: "I will now read the file:", and nothing follows."""

from __future__ import annotations

import re
from collections.abc import Collection

NUDGE = (
    "You announced a step, but made no tool call. If you meant to call a tool, call it now; "
    "if that was your whole answer, give it again."
)

_LONGEST = 400  # characters: who explains at length has answered
# Who says so speaks of what comes next, not of what it did or could do.
_SOON = re.compile(
    r"\b(?:i[’']?ll|i will|i[’']?m going to|i am going to|let me|let[’']?s|now i|next,? i|first,? i)\b"
    r"|(?:我将|我会|我来|我先|我这就|我现在|让我|接下来|现在我|首先我|我需要|我要)",
    re.IGNORECASE,
)
_NOW = re.compile(r"\b(?:now|let me|first)\b|现在|这就|先|让我|我来", re.IGNORECASE)
_DOING = re.compile(
    r"\b(?:read|open|check|look|search|find|fetch|get|list|run|call|use|query|inspect|view|write|create|edit|update"
    r"|save|calculate|compute|execute|load|examine|start|try|invoke|retrieve|browse|download)\b"
    r"|(?:读取|阅读|查看|打开|检查|搜索|查找|查询|获取|列出|运行|执行|调用|使用|写入|创建|编辑|修改|保存|计算|加载|下载|看看|看一下)",
    re.IGNORECASE,
)
# An offer, a condition, a question or a farewell is an answer.
_OFFER = re.compile(
    r"[?？]|\b(?:if|unless|once|when|whenever|after you|let me know|would|could|should|can you|please|happy to|glad to"
    r"|explain|show you|tell you|summari[sz]e|never|not|won[’']t|cannot)\b"
    r"|如果|若|请|吗|可以|是否|需要我|告诉我|一旦|等你|您|解释|总结|不会|无法|不能",
    re.IGNORECASE,
)


def announces_call(text: str, tools: Collection[str]) -> bool:
    """Whether a reply without a call ends with the announcement of one.

    Cautious, as asking again costs a turn: the text is short, and its last sentence says in the future tense that
    something is done now, which is no offer, and either names a tool or breaks off with a colon or an ellipsis.

    Args:
        text: the reply.
        tools: the names of the tools that were offered.
    """
    text = text.strip()
    if not tools or not text or len(text) > _LONGEST or "```" in text:
        return False
    last = re.split(r"(?<=[.!。！])\s+|(?<=[。！])|\n+", text.rstrip(".…。!！ \n"))[-1].strip()
    soon = _SOON.search(last)
    if soon is None or _OFFER.search(last) or "?" in text or "？" in text:
        return False
    step = last[soon.end() :]
    if _names_one(step, tools):
        return True
    if text.endswith(("…", "...")) and not _NOW.search(last):  # people trail off, too
        return False
    return bool(_DOING.search(step)) and text.endswith((":", "：", "…", "..."))


def _names_one(text: str, tools: Collection[str]) -> bool:
    """A tool's name of several words stands in the text, or one of a single word is called a tool there."""
    for name in tools:
        spelt = re.escape(name).replace("_", "[_ ]")
        if re.search(r"[_-]", name):
            pattern = rf"(?<![\w-]){spelt}(?![\w-])"
        else:
            pattern = (
                rf"\b(?:use|call|run|invoke|try)\W+(?:the\W+)?[`\"']?{spelt}[`\"']?\W+(?:tool|function)\b|[`]{spelt}[`]"
            )
        if re.search(pattern, text, re.IGNORECASE | re.ASCII):
            return True
    return False
