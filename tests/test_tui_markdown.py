"""Markdown in the transcript: what people see of it, in every script, at every width, in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from qianda.tui.transcript.answer import AnswerStream, LazyBlock, answer_blocks
from qianda.tui.transcript.blocks import Block, NoticeBlock
from qianda.tui.transcript.chunk_blocks import CodeBlock, code_at, last_code
from qianda.tui.transcript.rows import Row, visible

PIECES = [
    "",
    "# 标题 heading",
    "Plain words that are long enough to be wrapped at any width of these tests, with **bold** and `code`.",
    "一段没有空格的中文文字，足够长，可以在任何宽度下换行；还有「引号」和……标点。",
    "日本語のテキストはスペースがありません。ひらがなとカタカナ。",
    "한국어 문장은 띄어쓰기로 줄을 바꿉니다 그리고 깁니다",
    "نص عربي طويل بما يكفي ليلتف على عدة أسطر",
    "👩‍👧‍👦 🏳️‍🌈 emoji 😀😀😀😀😀😀😀😀😀😀😀😀😀",
    "- item",
    "  - nested item that is long enough to wrap somewhere",
    "      - [x] done",
    "- [ ] 任务",
    "12. twelve",
    "> quoted",
    "> > twice 引用",
    "| a | 中文列 | right |",
    "|---|:-:|--:|",
    "| 1 | 😀😀😀 | long text in a cell<br>and more |",
    "```python",
    "```",
    "def f(x): return 'a string that is longer than the screen is wide, in every test that there is'",
    "$$",
    "\\frac{a+b}{2} = \\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
    "inline $x^2$ and \\(y_i\\), not $5 or $6",
    "see https://example.org/a/very/long/path/that/has/no/place/to/break/it and [a link](https://x.org)",
    "[^1]: a footnote",
    "<div>html</div>",
    "---",
    "\tindented code",
    "`a\tb`\tc &#9; d &#12;",
]
documents = st.lists(st.sampled_from(PIECES), max_size=25).map("\n".join)


def layout(blocks: list[Block], width: int) -> list[Row]:
    return [row for block in blocks for row in block.layout(width)]


def drawn(source: str, width: int = 40) -> list[str]:
    return [row.text.rstrip() for row in layout(answer_blocks(source), width)]


def styles(source: str, text: str) -> list[str]:
    return [style for row in layout(answer_blocks(source), 60) for piece, style in row.runs if piece == text]


@given(documents, st.integers(12, 120))
@settings(max_examples=150, deadline=None)
def test_no_row_is_wider_than_the_screen(source: str, width: int) -> None:
    for row in layout(answer_blocks(source), width):
        assert row.cells == sum(cell_len(text) for text, _ in row.runs)
        assert row.cells <= width
        assert "\n" not in row.text


@given(documents, st.data())
@settings(max_examples=80, deadline=None)
def test_any_pieces_of_a_document_give_the_same_rows(source: str, data: st.DataObject) -> None:
    stream, blocks, rest = AnswerStream(), list[Block](), source
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        done, tail = stream.feed(rest[:size])
        layout(tail, 50)
        blocks += done
        rest = rest[size:]
    blocks += stream.feed("", end=True)[0]
    assert layout(blocks, 50) == layout(answer_blocks(source), 50)


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("- [ ] open\n- [X] done\n- [no] box", ["", "  ☐ open", "  ☑ done", "  • [no] box"]),
        ("Note[^1].\n\n[^1]: word", ["", "  Note[^1].", "", "  [^1]: word"]),
        ("<b>x</b>\n<!-- c -->", ["", "  <b>x</b> <!-- c -->"]),
        ("| l | r |\n|:--|--:|\n| a | 1 |\n| bc | 23 |", ["", "  l  │  r", "  ───┼───", "  a  │  1", "  bc │ 23"]),
        ("| mid |\n|:-:|\n| 中 |", ["", "  mid", "  ───", "  中"]),
        ("| a |\n|---|\n| x<br/>y |", ["", "  a", "  ─", "  x", "  y"]),
    ],
)
def test_how_it_looks(source: str, rows: list[str]) -> None:
    assert drawn(source) == rows


@pytest.mark.parametrize(
    "source", ["a &#8238;gnp.exe", "&rlm; &#x200f;", "![&#8238;x](y)", "`\x1b[31m`", "$a\x1b[31m$", "&#27;"]
)
def test_no_way_leads_a_control_character_to_the_terminal(source: str) -> None:
    text = "".join(drawn(source))
    assert text == visible(text)


def test_a_table_of_too_many_columns_is_a_list_that_names_them() -> None:
    head = "| " + " | ".join(f"col{n}" for n in range(8)) + " |\n" + "|---" * 8 + "|\n"
    rows = drawn(head + "| " + " | ".join(f"value-{n}" for n in range(8)) + " |\n" + "| short |\n", 30)
    assert rows[1:9] == [f"  col{n}  value-{n}" for n in range(8)]
    assert rows[9] == "  ──────"
    assert rows[10] == "  col0  short"


def test_a_bare_address_is_a_link_without_the_sentence_around_it() -> None:
    assert styles("See https://x.org/a_(b). Or (https://y.org)!", "https://x.org/a_(b)") == [
        "link link=https://x.org/a_(b)"
    ]
    assert styles("(https://y.org)!", "https://y.org") == ["link link=https://y.org"]
    assert styles("见 https://z.cn/页。好", "https://z.cn/页") == ["link link=https://z.cn/页"]
    assert styles("`https://x.org`", "https://x.org") == ["code"]


def test_a_link_that_is_defined_at_the_end_is_known_in_the_whole_answer() -> None:
    source = "read [it][r] or [r]\n\nmore\n\n[r]: https://x.org\n"
    stream = AnswerStream()
    first, _ = stream.feed(source[:25])
    assert not any("link" in style for row in layout(first, 40) for _, style in row.runs)
    first += stream.feed(source[25:], end=True)[0]
    assert [text for row in layout(first, 40) for text, style in row.runs if "link=https://x.org" in style] == [
        "it",
        "r",
    ]


def test_code_has_its_language_and_a_word_that_copies_it() -> None:
    (block,) = answer_blocks("```python\nx = 1\n```")
    block.serial = 7
    block.seen()
    label, code = block.layout(30)[1:]
    assert label.text == "   python" + " " * 16 + "copy"
    assert any("@copy=7" in style for _, style in label.runs)
    assert label.text[label.pad :] == ""
    assert ("1", "code-block code-number") in code.runs


def test_a_diff_shows_what_goes_and_what_comes() -> None:
    (block,) = answer_blocks("```diff\n@@ -1 +1 @@\n-old\n+new\n```")
    block.seen()
    found = {text.strip(): style for row in block.layout(40) for text, style in row.runs}
    assert found["-old"] == "code-block code-deleted"
    assert found["+new"] == "code-block code-inserted"


def test_the_whole_code_is_copied_from_any_of_its_parts() -> None:
    code = "".join(f"line {number}\n" for number in range(150))
    blocks = answer_blocks(f"```py\nfirst\n```\n\n```\n{code}```\n\nend")
    assert [code_at(blocks, at) for at in range(5)] == ["first\n", code, code, code, None]
    assert sum(isinstance(block, CodeBlock) for block in blocks) == 4
    assert last_code(blocks) == code
    assert last_code([LazyBlock("```\nold\n```"), NoticeBlock("x")]) == "old\n"
    assert last_code([NoticeBlock("x")]) == ""


def test_code_in_a_quote_has_colours_too() -> None:
    assert styles("> ```py\n> def f(): pass\n> ```", "def") == ["code-block code-keyword"]
