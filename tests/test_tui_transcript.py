"""The transcript: layout, scrolling, folding, selecting and copying, as a person finds them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
from textual.app import App, ComposeResult
from textual.events import MouseScrollUp
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.selection import SELECT_ALL, Selection

from qianda.tui.app import STYLES
from qianda.tui.transcript.answer import AnswerStream, LazyBlock, answer_blocks
from qianda.tui.transcript.blocks import NoticeBlock, ThinkingBlock, UserBlock
from qianda.tui.transcript.calls import CallBlock
from qianda.tui.transcript.markdown import markdown_rows
from qianda.tui.transcript.selection import row_key
from qianda.tui.transcript.view import Transcript


class Alone(App[None]):
    """The transcript and nothing else."""

    def __init__(self) -> None:
        super().__init__(css_path=[*sorted(STYLES.glob("*.tcss"))])
        self.transcript = Transcript()

    def compose(self) -> ComposeResult:
        yield self.transcript

    def lines(self) -> list[str]:
        self.transcript.flush()
        return [strip.text.rstrip() for strip in self.screen._compositor.render_strips()]


@asynccontextmanager
async def shown(width: int = 40, height: int = 10) -> AsyncGenerator[tuple[Alone, Transcript, Pilot[None]]]:
    app = Alone()
    async with app.run_test(size=(width, height)) as pilot:
        yield app, app.transcript, pilot


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    async with asyncio.timeout(50):
        while not condition():
            await pilot.pause()


def rows(source: str, width: int = 40) -> list[str]:
    return [row.text.rstrip() for block in answer_blocks(source) for row in block.layout(width)]


@pytest.mark.parametrize(
    ("source", "drawn"),
    [
        ("# Head\ntext", ["", "  Head", "", "  text"]),
        ("a  \nb\nc", ["", "  a", "  b c"]),
        ("中文\n中文", ["", "  中文中文"]),
        ("- a\n- b\n\n- c", ["", "  • a", "  • b", "", "  • c"]),
        ("1. a\n   - b\n     1. c", ["", "  1. a", "     ◦ b", "       1. c"]),
        ("3) a\n3) b", ["", "  3. a", "  4. b"]),
        ("> a\n>\n> b", ["", "  ▌ a", "  ▌", "  ▌ b"]),
        ("```\na\n\n b\n```", ["", "   a", "", "    b"]),
        ("<b>x</b> &amp; \\*", ["", "  <b>x</b> & *"]),
        ("[a](https://x.org) ![p](q.png)", ["", "  a [p]"]),
        ("[a][r]\n\n[r]: https://x.org", ["", "  a"]),
        ("---", ["", "  " + "─" * 38]),
        ("~~no~~ **yes**", ["", "  no yes"]),
        ("| a | b |\n|--|--|\n| 你 | x |", ["", "  a  │ b", "  ───┼──", "  你 │ x"]),
        ("", []),
    ],
)
def test_how_markdown_is_drawn(source: str, drawn: list[str]) -> None:
    assert [line.rstrip() for line in rows(source)] == drawn


def test_links_defined_earlier_are_known_later() -> None:
    blocks = answer_blocks("[r]: https://x.org\n\nsee [it][r]")
    styles = [style for block in blocks for row in block.layout(40) for text, style in row.runs if text == "it"]
    assert styles == ["link link=https://x.org"]


def test_a_link_to_anything_else_cannot_be_opened() -> None:
    for url in ("javascript:alert(1)", "file:///etc/passwd"):
        assert not any("link=" in style for row in markdown_rows(f"[x](<{url}>)", 40) for _, style in row.runs)


def test_a_wide_table_is_narrowed_by_its_widest_columns() -> None:
    source = "| key | text |\n|---|---|\n| a | " + "words " * 20 + "|"
    drawn = rows(source)
    assert max(map(len, drawn)) <= 40
    assert drawn[1].startswith("  key │ text")


async def test_the_end_stays_in_sight_until_someone_scrolls_up() -> None:
    async with shown() as (app, transcript, pilot):
        transcript.add(*(NoticeBlock(f"line {number}") for number in range(50)))
        await until(pilot, lambda: "line 49" in app.lines()[-1])
        transcript.move(-7)
        await pilot.pause()
        top = app.lines()[0]
        transcript.add(NoticeBlock("more"))
        await pilot.pause()
        assert app.lines()[0] == top
        transcript.move(1000)
        await pilot.pause()
        assert transcript.follow
        transcript.add(NoticeBlock("and more"))
        await until(pilot, lambda: "and more" in app.lines()[-1])


async def test_scrolling_up_over_what_was_never_seen_is_exact() -> None:
    paragraph = "words that will be wrapped into several rows of the window " * 3
    async with shown() as (app, transcript, pilot):
        transcript.add(*(LazyBlock(f"start {number}\n\n{paragraph}") for number in range(30)))
        await until(pilot, lambda: app.lines()[-1])
        seen: list[str] = []
        for _ in range(400):
            transcript.move(-1)
            seen.append(transcript.stack.blocks[transcript.stack.top[0]].layout(39)[transcript.stack.top[1]].text)
        found = [line.strip() for line in seen if "start" in line]
        assert found == [f"start {number}" for number in range(29, -1, -1)][-len(found) :]
        assert found[-1] == "start 0"


async def test_restored_answers_are_split_only_when_they_are_seen() -> None:
    async with shown() as (_, transcript, pilot):
        transcript.add(*(LazyBlock(f"# Answer {number}\n\ntext") for number in range(200)))
        await pilot.pause()
        assert sum(isinstance(block, LazyBlock) for block in transcript.stack.blocks) > 190
        transcript.go(0)
        await pilot.pause()
        assert not isinstance(transcript.stack.blocks[0], LazyBlock)


async def test_another_width_keeps_the_place() -> None:
    async with shown() as (app, transcript, pilot):
        transcript.add(*(NoticeBlock(f"{number} " + "wrapped words " * 8) for number in range(60)))
        await pilot.pause()
        transcript.go(100)
        await pilot.pause()
        block = transcript.stack.blocks[transcript.stack.top[0]]
        await pilot.resize_terminal(70, 14)
        await until(pilot, lambda: transcript.stack.width == 69)
        assert transcript.stack.blocks[transcript.stack.top[0]] is block
        transcript.move(10_000)
        await until(pilot, lambda: app.lines()[-1])
        await pilot.resize_terminal(30, 8)
        await until(pilot, lambda: transcript.stack.width == 29)
        await until(pilot, lambda: app.lines()[-1])
        assert transcript.follow


async def test_the_wheel_and_the_bar_scroll() -> None:
    async with shown() as (app, transcript, pilot):
        transcript.add(*(NoticeBlock(f"line {number}") for number in range(100)))
        await until(pilot, lambda: "line 99" in app.lines()[-1])
        await pilot._post_mouse_events([MouseScrollUp], None, (5, 5))
        await until(pilot, lambda: "line 99" not in "\n".join(app.lines()))
        await pilot.mouse_down(offset=(39, 0))
        await pilot.mouse_up(offset=(39, 0))
        await until(pilot, lambda: "line 0" in "\n".join(app.lines()))
        assert not transcript.follow


async def test_folding_a_block_keeps_its_first_row_in_place() -> None:
    async with shown(height=12) as (app, transcript, pilot):
        call = CallBlock("grep")
        call.start("grep", "{}")
        call.finish("\n".join(f"hit {number}" for number in range(30)), 0.1)
        transcript.add(UserBlock("go"), call, NoticeBlock("after"))
        await until(pilot, lambda: "· after" in app.lines())
        y = next(at for at, line in enumerate(app.lines()) if "✓ done" in line)
        await pilot.click(offset=(2, y))
        await until(pilot, lambda: "    hit 3" in app.lines())
        assert "✓ done" in app.lines()[y]
        assert not transcript.follow
        await pilot.click(offset=(2, y))
        await until(pilot, lambda: "· after" in app.lines())


async def test_failures_and_denials_do_not_fold() -> None:
    error = "\n".join(f"line {number} of the error" for number in range(5))
    for finish in (lambda call: call.fail(error, 0.1), lambda call: call.deny(error, "rule")):
        call = CallBlock("tool", "{}")
        finish(call)
        for _ in range(2):
            text = "\n".join(row.text for row in call.layout(60))
            assert error.replace("\n", "\n    ") in text
            call.toggle()


async def test_thinking_that_was_opened_by_hand_stays_open() -> None:
    async with shown() as (app, transcript, pilot):
        block = ThinkingBlock()
        transcript.add(block)
        transcript.feed(block, "a thought")
        transcript.action_toggle_block(block.serial)
        transcript.action_toggle_block(block.serial)
        transcript.end(block)
        await until(pilot, lambda: any("▾ Thought for" in line for line in app.lines()))
        assert "  a thought" in app.lines()


def test_thinking_in_pieces_is_laid_out_like_thinking_at_once() -> None:
    text = "一 short\n\n" + "a long line that has to be wrapped " * 4 + "\nend"
    whole, pieces = ThinkingBlock(), ThinkingBlock()
    whole.feed(text)
    for at in range(0, len(text), 3):
        pieces.feed(text[at : at + 3])
        pieces.layout(30)
    assert pieces.layout(30) == whole.layout(30)
    assert pieces.layout(21) == whole.layout(21)


async def test_copied_text_is_as_it_was_before_wrapping() -> None:
    source = (
        "A paragraph that is long enough to be wrapped at forty columns.\n\n"
        "```py\ndef f():\n    return 1\n```\n\n- 中文中文中文中文中文中文中文中文中文中文中文\n- two"
    )
    async with shown() as (_, transcript, pilot):
        transcript.add(*answer_blocks(source))
        await pilot.pause()
        copied = transcript.get_selection(SELECT_ALL)
        assert copied is not None
        assert copied[0] == (
            "A paragraph that is long enough to be wrapped at forty columns.\n\n"
            "def f():\n    return 1\n\n• 中文中文中文中文中文中文中文中文中文中文中文\n• two"
        )


async def test_a_drag_selects_and_ctrl_c_would_copy_it() -> None:
    async with shown() as (app, transcript, pilot):
        transcript.add(*answer_blocks("first line\n\nsecond line"))
        await until(pilot, lambda: "  second line" in app.lines())
        await pilot.mouse_down(offset=(8, 1))
        await pilot.hover(offset=(7, 3))
        await pilot.mouse_up(offset=(7, 3))
        assert app.screen.get_selected_text() == "line\n\nsecond"


async def test_folding_elsewhere_leaves_the_selection_where_it_is() -> None:
    async with shown(height=20) as (app, transcript, pilot):
        thinking = ThinkingBlock()
        transcript.add(thinking)
        transcript.feed(thinking, "one\ntwo\nthree")
        transcript.end(thinking)
        target = NoticeBlock("the words that are selected")
        transcript.add(target)
        key = row_key(target, 1)
        app.screen.selections = {transcript: Selection(Offset(6, key), Offset(11, key))}
        assert app.screen.get_selected_text() == "words"
        transcript.action_toggle_block(thinking.serial)
        await pilot.pause()
        assert app.screen.get_selected_text() == "words"


async def test_text_is_drawn_at_most_twenty_times_a_second() -> None:
    async with shown() as (app, transcript, pilot):
        stream = AnswerStream()
        laid_out: list[float] = []
        settle = transcript.settle

        def counted() -> None:
            laid_out.append(asyncio.get_running_loop().time())
            settle()

        transcript.settle = counted
        for number in range(2000):
            transcript.feed(stream, f"word {number} ")
            if number % 20 == 0:
                await asyncio.sleep(0)
        await until(pilot, lambda: "1999" in "\n".join(app.lines()))
        gaps = [after - before for before, after in itertools.pairwise(laid_out)]
        assert len(laid_out) < 40
        assert all(gap > 0.03 for gap in gaps[:-1])


async def test_a_theme_changes_the_colours() -> None:
    async with shown() as (app, transcript, pilot):
        transcript.add(NoticeBlock("x", "error"))
        before = transcript.painter.style("notice-error").color
        app.theme = "textual-light"
        await pilot.pause()
        assert transcript.painter.style("notice-error").color != before
