"""Images in the transcript: what is drawn where, and what no terminal must ever get."""

from __future__ import annotations

import base64
import io
import re
import sys

import pytest
from PIL import Image
from rich.cells import cell_len
from textual.app import App, ComposeResult

from qianda.models.messages import MediaPart, TextPart
from qianda.tui.app import STYLES
from qianda.tui.transcript.blocks import Block
from qianda.tui.transcript.images import MOST_ROWS, ImageBlock, image_blocks, speaks_kitty
from qianda.tui.transcript.view import Transcript

KITTY = {"TERM": "xterm-kitty", "COLORTERM": "truecolor"}


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that nothing is known of."""
    for name in ("TMUX", "NO_COLOR", "TERM_PROGRAM", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def png(width: int, height: int, mode: str = "RGB", colour: tuple[int, ...] = (255, 0, 0)) -> bytes:
    image = Image.new(mode, (width, height), colour)
    if mode == "RGB":
        image.paste((0, 0, 255), (0, height // 2, width, height))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def shown(data: bytes, width: int = 60) -> tuple[ImageBlock, list[str]]:
    block = ImageBlock(data, "PNG")
    return block, [row.text for row in block.layout(width)]


@pytest.mark.parametrize(("size", "cells"), [((40, 20), (40, 10)), ((400, 400), (32, 16)), ((1000, 50), (58, 1))])
def test_an_image_keeps_its_proportion_and_fits(size: tuple[int, int], cells: tuple[int, int]) -> None:
    _, rows = shown(png(*size))
    assert rows[0].startswith(f"  ▣ PNG · {size[0]} × {size[1]} · ")
    assert (cell_len(rows[1]) - 2, len(rows) - 1) == cells
    assert all(cell_len(row) <= 60 for row in rows)


def test_half_blocks_have_the_colours_of_both_halves() -> None:
    block = ImageBlock(png(4, 4), "PNG")
    styles = [[style for text, style in row.runs if "▀" in text] for row in block.layout(60)[1:]]
    assert styles == [["pixel=f80000,f80000"], ["pixel=0000f8,0000f8"]]


def test_what_is_transparent_is_left_alone() -> None:
    _, rows = shown(png(4, 4, "RGBA", (0, 0, 0, 0)))
    assert {row.strip() for row in rows[1:]} == {""}


def test_nothing_of_an_image_is_copied() -> None:
    block = ImageBlock(png(10, 10), "PNG")
    assert [row.text[row.pad :] for row in block.layout(60)[1:]] == [""] * 5


@pytest.mark.parametrize("data", [b"no image", png(30, 30)[:60], b"GIF89a"])
def test_what_cannot_be_read_is_named(data: bytes) -> None:
    _, rows = shown(data)
    assert len(rows) == 1
    assert "it cannot be read" in rows[0]


def test_without_pillow_the_line_says_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(10, 10)
    monkeypatch.setitem(sys.modules, "PIL", None)
    _, rows = shown(data, 90)
    assert rows == ["  ▣ PNG · 0 KB · to see it: pip install 'qianda[images]'"]


def test_without_colours_and_folded_there_is_the_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    block, rows = shown(png(10, 10))
    assert len(rows) == 6
    block.toggle()
    assert len(block.layout(60)) == 1
    monkeypatch.setenv("NO_COLOR", "1")
    assert len(shown(png(10, 10))[1]) == 1


def test_images_of_messages_are_found_and_addresses_are_not_fetched() -> None:
    url = "data:image/png;base64," + base64.b64encode(png(2, 2)).decode()
    content = (
        TextPart("see"),
        MediaPart("image", url),
        MediaPart("image", "https://x.org/a.png"),
        MediaPart("audio", "data:,"),
    )
    first, second = image_blocks(content)
    assert first.layout(60)[0].text.startswith("  ▣ PNG · 2 × 2")
    assert [row.text for row in second.layout(60)] == ["  ▣ https://x.org/a.png"]
    assert image_blocks("text") == []


@pytest.mark.parametrize(
    ("environment", "kitty"),
    [
        (KITTY, True),
        ({**KITTY, "TERM": "xterm-ghostty"}, True),
        ({**KITTY, "TMUX": "/tmp/tmux"}, False),
        ({**KITTY, "NO_COLOR": "1"}, False),
        ({"TERM": "xterm-kitty"}, False),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "TERM_PROGRAM": "iTerm.app"}, False),
        ({}, False),
    ],
)
def test_only_terminals_that_are_known_for_it_get_kittys_protocol(environment: dict[str, str], kitty: bool) -> None:
    assert speaks_kitty(environment) is kitty


class Alone(App[None]):
    """The transcript and one block."""

    def __init__(self, block: Block) -> None:
        super().__init__(css_path=[*sorted(STYLES.glob("*.tcss"))])
        self.transcript = Transcript()
        self.block = block

    def compose(self) -> ComposeResult:
        yield self.transcript

    def on_mount(self) -> None:
        self.transcript.add(self.block)


async def test_kitty_gets_the_image_once_and_placeholders_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KITTY.items():
        monkeypatch.setenv(name, value)
    block = ImageBlock(png(300, 120), "PNG")
    app = Alone(block)
    async with app.run_test(size=(60, 30)) as pilot:
        await pilot.pause()
        assert block.take_data() == ""  # it went with the first picture
        lines = [row.text for row in block.layout(59)]
        assert len(lines) - 1 <= MOST_ROWS
        assert {line.count("\U0010eeee") for line in lines[1:]} == {57}
        assert all(cell_len(line) <= 59 for line in lines)
        block.changed()
        block.layout(40)
        data = block.take_data()
        number = f"{block._id}"
        assert re.findall(r"a=t,f=100,i=(\d+)", data) == [number]
        assert data.endswith(f"\x1b_Ga=p,U=1,i={number},c=38,r=8,q=2\x1b\\")
        pieces = re.findall(r"\x1b_G[^;\x1b]*;([^\x1b]*)\x1b\\", data)
        assert Image.open(io.BytesIO(base64.b64decode("".join(pieces)))).format == "PNG"
