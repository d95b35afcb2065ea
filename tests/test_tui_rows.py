"""Rows: widths as a terminal counts them, wrapping that loses nothing, and what must not reach the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from qianda.tui.transcript.rows import cut, flow, flow_text, shorten, visible, width_of, wrap

line = st.text(
    alphabet=st.sampled_from("abc def ghi,.()（「你好，世界。」）ー゛한국어 عربي é e\u0301 ⚠️ 👩\u200d👧 🏳️ \u3000—“”"),
    max_size=60,
)


@given(line, st.integers(2, 30))
@settings(max_examples=400, deadline=None)
def test_wrapping_loses_nothing_and_fits(text: str, width: int) -> None:
    pieces = wrap(text, width)
    assert "".join(text[start:end] + (join or "") for start, end, join in pieces).rstrip() == text.rstrip()
    assert pieces[-1][2] is None
    assert all(join is not None for _, _, join in pieces[:-1])
    for start, end, _ in pieces:
        assert width_of(text[start:end]) <= width or end - start == 1


@pytest.mark.parametrize(
    ("text", "width", "rows"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("antidisestablishment", 8, ["antidise", "stablish", "ment"]),
        ("    indented text", 12, ["    indented", "text"]),
        ("你好世界", 5, ["你好", "世界"]),
        ("你好世，界", 6, ["你好", "世，界"]),
        ("我说「你好」吧", 6, ["我说", "「你", "好」吧"]),
        ("안녕하세요 세계", 12, ["안녕하세요", "세계"]),
        ("print(x) and more", 9, ["print(x)", "and more"]),
        ("", 5, [""]),
    ],
)
def test_where_lines_break(text: str, width: int, rows: list[str]) -> None:
    assert [text[start:end] for start, end, _ in wrap(text, width)] == rows


@given(line, line, st.integers(4, 20))
@settings(max_examples=200, deadline=None)
def test_rows_know_their_width_and_keep_their_styles(one: str, two: str, width: int) -> None:
    rows = flow([(one, "strong"), (two, "em")], width, first=[("- ", "bullet")], rest=[("  ", "")])
    for row in rows:
        assert row.cells == sum(cell_len(text) for text, _ in row.runs)
    bold = "".join(text for row in rows for text, style in row.runs if style == "strong")
    assert bold.replace(" ", "").replace("\u3000", "") == one.replace(" ", "").replace("\u3000", "")


def test_cut_follows_the_runs() -> None:
    runs = [("abc", "x"), ("def", "y"), ("ghi", "z")]
    assert cut(runs, [(1, 4), (4, 4), (5, 9)]) == [[("bc", "x"), ("d", "y")], [], [("f", "y"), ("ghi", "z")]]


def test_control_characters_show_instead_of_acting() -> None:
    assert visible("a\x1b[31mred\x07\x9b1m\u202egnp.exe\x7f") == "a␛[31mred␇\ufffd1m\ufffdgnp.exe␡"
    assert visible("line\n\ttab 你好 👩\u200d👧") == "line\n\ttab 你好 👩\u200d👧"
    assert "\x1b" not in "".join(row.text for row in flow_text("\x1b]52;c;aGk=\x07", 40))


@given(line, st.integers(1, 20))
def test_shortened_text_fits(text: str, width: int) -> None:
    short = shorten(text, width)
    assert width_of(short) <= width
    assert short == text or short.endswith("…")
