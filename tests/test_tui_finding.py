"""Finding text in the transcript, and what the mouse and the keys copy, as a person does it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.events import MouseMove
from textual.pilot import Pilot

from qianda.tui.app import STYLES
from qianda.tui.transcript.answer import AnswerStream, LazyBlock, answer_blocks
from qianda.tui.transcript.blocks import NoticeBlock
from qianda.tui.transcript.view import Transcript


class Alone(App[None]):
    """The transcript and nothing else; what it copies is kept."""

    def __init__(self) -> None:
        super().__init__(css_path=[*sorted(STYLES.glob("*.tcss"))])
        self.transcript = Transcript()
        self.copied: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.transcript

    def on_transcript_code_copied(self, message: Transcript.CodeCopied) -> None:
        self.copied.append(message.code)

    def lines(self) -> list[str]:
        self.transcript.flush()
        return [strip.text.rstrip() for strip in self.screen._compositor.render_strips()]


@asynccontextmanager
async def shown(width: int = 40, height: int = 10) -> AsyncGenerator[tuple[Alone, Transcript, Pilot[None]]]:
    app = Alone()
    async with app.run_test(size=(width, height)) as pilot:
        yield app, app.transcript, pilot


async def test_a_text_is_found_from_the_end_to_the_beginning_and_around() -> None:
    async with shown() as (app, transcript, pilot):
        transcript.add(
            LazyBlock("the first Needle\n\n" + "words\n\n" * 30 + "a needle, and a needle"),
            *(NoticeBlock(f"line {number}") for number in range(40)),
            NoticeBlock("the last needle"),
        )
        await pilot.pause()
        assert transcript.find_text("needle")
        seen: list[str] = []
        for _ in range(4):
            serial, row = transcript.search.place or (0, 0)
            block = transcript.stack.blocks[transcript.stack.find(serial) or 0]
            seen.append(block.layout(39)[row].text.strip())
            await pilot.pause()
            assert any(seen[-1] in line for line in app.lines())
            transcript.find_next(-1)
        assert seen == ["· the last needle", "a needle, and a needle", "the first Needle", "· the last needle"]
        transcript.find_next(1)
        transcript.find_next(1)
        assert transcript.search.place == (transcript.stack.blocks[0].serial, 1)
        assert not transcript.follow


async def test_what_is_found_is_marked_until_it_is_not_looked_for() -> None:
    async with shown() as (_, transcript, pilot):
        transcript.add(*answer_blocks("a **needle**, a needle\n\nneedle"))
        await pilot.pause()
        transcript.find_text("NEEDLE")
        rows = list(transcript.stack.window(0, 10))
        marked = [transcript.search.marked(block.serial, number, row).runs for block, number, row in rows]
        assert marked[1] == (("  ", ""), ("a ", ""), ("needle", "strong found"), (", a ", ""), ("needle", " found"))
        assert marked[3] == (("  ", ""), ("needle", " found-now"))
        assert not transcript.find_text("nowhere")
        assert not transcript.find_text("")
        assert [transcript.search.marked(block.serial, at, row) for block, at, row in rows] == [row for *_, row in rows]


async def test_the_word_beside_code_copies_it_and_so_does_the_mouse_over_it() -> None:
    async with shown(height=14) as (app, transcript, pilot):
        transcript.add(*answer_blocks("```py\none\n```\n\n```sh\ntwo\n```\n\nend"))
        await pilot.pause()
        y = next(at for at, line in enumerate(app.lines()) if "py" in line)
        x = app.lines()[y].index("copy")
        await pilot.click(offset=(x + 1, y))
        await pilot.pause()
        assert app.copied == ["one\n"]
        assert transcript.last_code == "one\n"  # the mouse is there
        await pilot.hover(offset=(3, 13))
        assert transcript.last_code == "two\n"


async def test_what_is_being_selected_does_not_run_away_from_the_mouse() -> None:
    async with shown() as (app, transcript, pilot):
        stream = AnswerStream()
        transcript.add(NoticeBlock("above"))
        transcript.feed(stream, "first words\n\nsecond ")
        transcript.flush()
        await pilot.pause()
        y = next(at for at, line in enumerate(app.lines()) if "first words" in line)
        await pilot.mouse_down(offset=(2, y))
        for text in ("line\n\nthird line\n\n", "fourth\n\nfifth\n\n```\ncode\n```\n"):
            transcript.feed(stream, text)
            transcript.flush()
            await pilot.pause()
            assert "first words" in app.lines()[y]
            await pilot._post_mouse_events([MouseMove], None, (7, y + 2), button=1)
        await pilot.mouse_up(offset=(7, y + 2))
        assert app.screen.get_selected_text() == "first words\n\nsecond"
        assert transcript.follow
        transcript.feed(stream, "more\n\n" * 20)
        transcript.end(stream)
        await pilot.pause()
        assert "more" in app.lines()[-1]
        assert app.screen.get_selected_text() == "first words\n\nsecond"


EVERYTHING = """# Heading

- [x] done, with *emphasis* and `code`
- [ ] 待办事项
  1. nested

| left | middle | right |
|:-----|:------:|------:|
| a<br>b | 中文 | $x^2$ |

$$
A = \\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}
$$

> quoted https://example.org

```python
def f(x: int) -> str:  # a comment
    return "text"
```
"""


@pytest.mark.parametrize(("size", "theme"), [((80, 24), "textual-dark"), ((120, 40), "textual-light")])
def test_picture_of_markdown(size: tuple[int, int], theme: str, snap_compare: Any) -> None:
    app = Alone()

    async def show(pilot: Pilot[None]) -> None:
        app.theme = theme
        app.transcript.add(*answer_blocks(EVERYTHING))
        app.transcript.find_text("text")
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=show)
