"""The splitter: the same chunks whatever the pieces, and the cuts where they belong."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from qianda.tui.transcript.answer import AnswerStream, answer_blocks
from qianda.tui.transcript.splitter import CODE_PART, Chunk, Splitter

LINES = [
    "",
    " ",
    "A paragraph with **bold** text",
    "和中文。",
    "# Heading",
    "Setext",
    "===",
    "---",
    "* * *",
    "- item",
    "* other",
    "1. one",
    "1. again",
    "7) seven",
    "  - nested",
    "   goes on",
    "      deeper",
    "```py",
    "```",
    "````",
    "~~~",
    "   ```sh",
    "   ```",
    "x = 1",
    "> quoted",
    "| a | b |",
    "|---|:-:|",
    "| 1 | 2 |",
    "[ref]: https://example.org",
    "\tindented",
]
document = st.lists(st.sampled_from(LINES) | st.text(alphabet="ab `*-#1.|\n\r你", max_size=12), max_size=40).map(
    "\n".join
)


def whole(text: str) -> list[Chunk]:
    splitter = Splitter()
    return splitter.feed(text) + splitter.close()


@given(document, st.data())
@settings(max_examples=300, deadline=None)
def test_any_pieces_give_the_same_chunks(text: str, data: st.DataObject) -> None:
    splitter = Splitter()
    chunks: list[Chunk] = []
    rest = text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        chunks += splitter.feed(rest[:size])
        splitter.tail()
        rest = rest[size:]
    assert chunks + splitter.close() == whole(text)


@given(document)
@settings(max_examples=200, deadline=None)
def test_the_tail_is_what_closing_would_give(text: str) -> None:
    splitter = Splitter()
    splitter.feed(text + "\n")
    assert splitter.tail() == splitter.close()


@given(document, st.integers(1, 9), st.integers(20, 90))
@settings(max_examples=150, deadline=None)
def test_any_pieces_give_the_same_rows(text: str, step: int, width: int) -> None:
    stream = AnswerStream()
    blocks = [block for at in range(0, len(text), step) for block in stream.feed(text[at : at + step])[0]]
    blocks += stream.feed("", end=True)[0]
    assert [block.layout(width) for block in blocks] == [block.layout(width) for block in answer_blocks(text)]


@given(document)
@settings(max_examples=200, deadline=None)
def test_no_word_is_lost(text: str) -> None:
    chunks = whole(text)
    for letter in "ab你":
        if "```" not in text and "~~~" not in text:  # what follows a fence's marks is its language
            assert sum(chunk.text.count(letter) for chunk in chunks) == text.count(letter)


def texts(text: str) -> list[tuple[str, str]]:
    return [(chunk.kind, chunk.text) for chunk in whole(text)]


def test_paragraphs_headings_and_fences_are_chunks() -> None:
    assert texts("# T\none\ntwo\n\nthree\n```py\nx\n\ny\n```\nend") == [
        ("markdown", "# T"),
        ("markdown", "one\ntwo"),
        ("markdown", "three"),
        ("code", "x\n\ny"),
        ("markdown", "end"),
    ]


def test_each_item_of_a_list_is_a_chunk_and_numbers_count_on() -> None:
    chunks = whole("1. a\n1. b\n\n   more\n1. c\n\ntext\n\n4. d")
    assert [(chunk.number, chunk.text, chunk.gap) for chunk in chunks] == [
        (1, "1. a", True),
        (2, "1. b\n\n   more", False),
        (3, "1. c", False),
        (None, "text", True),
        (4, "4. d", True),
    ]


def test_a_fence_in_a_list_item_is_a_chunk_and_the_item_goes_on() -> None:
    chunks = whole("1. do\n   ```sh\n   ls\n     -l\n   ```\n   then\n2. done")
    assert [(chunk.kind, chunk.text, chunk.indent, chunk.number) for chunk in chunks] == [
        ("markdown", "1. do", 0, 1),
        ("code", "ls\n  -l", 3, None),
        ("markdown", "then", 3, None),
        ("markdown", "2. done", 0, 2),
    ]


def test_long_code_is_cut_into_parts_of_one_language() -> None:
    lines = [f"line {number}" for number in range(CODE_PART * 2 + 3)]
    chunks = whole("```c\n" + "\n".join(lines) + "\n```")
    assert [chunk.part for chunk in chunks] == [0, 1, 2]
    assert {chunk.language for chunk in chunks} == {"c"}
    assert "\n".join(chunk.text for chunk in chunks).split("\n") == lines


def test_a_long_table_is_cut_and_its_columns_stay() -> None:
    rows = [f"| {number} | value |" for number in range(CODE_PART * 2)]
    blocks = answer_blocks("| n | v |\n|---|---|\n" + "\n".join(rows))
    assert len(blocks) == 2
    drawn = [row.text for block in blocks for row in block.layout(60)]
    assert len([line for line in drawn if "value" in line]) == len(rows)
    assert len({line.index("│") for line in drawn if "│" in line}) == 1


def test_marks_that_may_become_something_wait() -> None:
    splitter = Splitter()
    splitter.feed("text\n\n")
    for piece in ("`", "``", "p"):
        splitter.feed(piece)
        assert [chunk.kind for chunk in splitter.tail()] in ([], ["code"])
    assert splitter.feed("y\nx\n```\n") == [Chunk("code", "x", language="py")]


def test_an_open_fence_ends_with_the_text() -> None:
    assert texts("```\nhalf a li") == [("code", "half a li")]
