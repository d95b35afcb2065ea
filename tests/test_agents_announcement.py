"""Which replies announce a call that they do not make, and that plain answers never count as such."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda.agents.announcement import announces_call

TOOLS = ("read_file", "run_command", "weather", "search", "web-search")


@pytest.mark.parametrize(
    "text",
    [
        "I will now read the file…",
        "I'll use the read_file tool to look at it.",
        "I’m going to call read_file.",
        "Let me look at the file first:",
        "Let me run_command to list them.",
        "To answer this, I need the numbers.\n\nLet me open the spreadsheet:",
        "I will call `weather` now.",
        "Let me use the search tool.",
        "Next, I will run web-search.",
        "我现在读取文件：",
        "我将使用read_file工具读取这个文件。",
        "好的。让我查看一下这个文件……",
        "接下来调用 `search`。",
    ],
)
def test_an_announcement(text: str) -> None:
    assert announces_call(text, TOOLS)
    assert not announces_call(text, ())


@pytest.mark.parametrize(
    "text",
    [
        "It is sunny in Paris.",
        "I read the file with read_file: it holds 42.",
        "I'll read the file if you tell me its name:",
        "Would you like me to use read_file?",
        "I can use read_file to read files and run_command to run commands.",
        "Let me know if you need anything else…",
        "I will be happy to run_command for you.",
        "You can call read_file like this:",
        "Let me explain: the tool read_file reads a file.",
        "I will not run_command.",
        "I will find you…",
        "I will search the whole world for her.",
        "Let me call you tomorrow.",
        "The plan:\n1. I will read_file a.txt\n2. Then I compare both\n\nThat is all there is to it.",
        "```python\n# Let me read the file:\n```",
        "The next line is: I will",
        "",
        "   ",
        "文件里写着 42。",
        "如果您需要，我可以调用 read_file。",
        "需要我读取文件吗？",
        "我将为您解释 read_file 的用法：",
        "我读取了文件：内容是 42。",
        "Let me read the file. " + "It says a lot about many things. " * 20 + "Let me read it again:",
    ],
)
def test_an_answer(text: str) -> None:
    assert not announces_call(text, TOOLS)


@given(st.text(max_size=200))
def test_no_text_is_too_strange(text: str) -> None:
    assert announces_call(f"{text}\nI will call read_file.", TOOLS) or "?" in text or "？" in text or "```" in text
    assert not announces_call(f"{text} Is that all?", TOOLS)
