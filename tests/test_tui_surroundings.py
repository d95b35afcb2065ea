"""The chat in its terminal: themes and contrast, no colours, the clipboard, notifications, replies of the terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from rich.color import Color
from rich.style import Style
from textual import events
from tui_person import Person, chatting

from qianda.models.config import Config, user_config_path
from qianda.testing import Call, Turn
from qianda.tui import surroundings
from qianda.tui.app import STYLES, QiandaApp
from qianda.tui.desktop import notification, title
from qianda.tui.prompt.pasting import PasteParser
from qianda.tui.themes import BackgroundSaid, fitting
from qianda.tui.transcript.paint import COMPONENTS

DECORATION = {"rule", "thumb", "track"}


def component(person: Person, name: str) -> Style:
    transcript = person.app.chat_screen.transcript
    return transcript.rich_style + transcript.get_component_rich_style(f"transcript--{name}")


def contrast(style: Style) -> float:
    def luminance(color: Color | None) -> float:
        assert color is not None
        assert color.triplet is not None
        parts = [
            value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4
            for value in color.triplet.normalized
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    dark, light = sorted((luminance(style.color), luminance(style.bgcolor)))
    return (light + 0.05) / (dark + 0.05)


async def test_themes_are_shown_as_they_are_marked_and_kept_by_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    async with chatting() as person:
        assert person.app.theme == "qianda-dark"
        for theme in ("qianda-dark", "qianda-light"):
            person.app.show_theme(theme)
            await person.pilot.pause()
            weak = {name: contrast(component(person, name)) for name in COMPONENTS if name not in DECORATION}
            assert {name: ratio for name, ratio in weak.items() if ratio < 4.5} == {}, theme
        await person.does("theme")
        await person.sees("follows the terminal · chosen", "What is `area`?")
        await person.press("down", "down")
        assert person.app.theme == "qianda-light"
        await person.press("escape")
        await person.until(lambda: person.app.theme == "qianda-dark")
        await person.does("theme")
        await person.sees("follows the terminal · chosen")
        await person.press("end")
        assert person.app.theme == "tokyo-night"
        await person.press("enter")
        await person.until(lambda: person.in_chat)
        assert person.app.theme == "tokyo-night"
        assert 'theme = "tokyo-night"' in user_config_path().read_text("utf-8")
        await person.says("/theme nothing")
        await person.sees("There is no theme nothing")
        for theme in person.app.themes:  # each has what the sheets use
            person.app.show_theme(theme)
            await person.pilot.pause()


def test_the_sheets_have_colours_of_the_theme_alone() -> None:
    sheets = "".join(path.read_text("utf-8") for path in STYLES.glob("*.tcss"))
    values = re.findall(r"(?:color|background|border[\w-]*|tint): *([^;]*);", sheets)
    assert len(values) > 50
    names = {word for value in values for word in value.split() if not word.startswith("$")}
    assert {name for name in names if not re.fullmatch(r"\d+%|none|solid|heavy", name)} == set()


def test_auto_fits_the_terminal() -> None:
    assert fitting(light=False, colours="truecolor") == fitting(light=False, colours="256") == "qianda-dark"
    assert fitting(light=True, colours="truecolor") == "qianda-light"
    assert (fitting(light=False, colours="standard"), fitting(light=True, colours="standard")) == (
        "qianda-16",
        "ansi-light",
    )


async def test_auto_follows_the_background_that_the_terminal_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("COLORFGBG", "0;15")
    async with chatting() as person:
        assert person.app.theme == "qianda-light"
        assert person.app.has_class("-light-mode")
        assert component(person, "strong").bgcolor == Color.parse("#fbfbfd")
        person.app.post_message(BackgroundSaid(light=False))
        await person.until(lambda: person.app.theme == "qianda-dark")
    monkeypatch.delenv("COLORFGBG")
    async with chatting() as person:
        person.app.post_message(BackgroundSaid(light=True))
        await person.until(lambda: person.app.theme == "qianda-light")
    async with chatting() as person:
        assert person.app.theme == "qianda-light"  # as it was the last time


@pytest.mark.parametrize("cut", [0, 8, 20])
def test_the_terminals_answer_is_not_typed(cut: int) -> None:
    parser = PasteParser()
    data = "a\x1b]11;rgb:ffff/fafa/f0f0\x1b\\b"
    said = [event for piece in (data[:cut], data[cut:]) if piece for event in parser.feed(piece)]
    assert [event.light for event in said if isinstance(event, BackgroundSaid)] == [True]
    assert [event.character for event in said if isinstance(event, events.Key)] == ["a", "b"]


async def test_without_colours_only_attributes_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with chatting(Turn(calls=[Call("write_file", {"path": "x.txt", "content": "one"})]), "Done.") as person:
        await person.says("Write")
        await person.does("help")
        strips = [strip for screen in person.app.screen_stack for strip in screen._compositor.render_strips()]
        styles = [style for strip in strips for _, style, _ in strip if style is not None]
        assert {style.color.name for style in styles if style.color} <= {"default"}
        assert {style.bgcolor.name for style in styles if style.bgcolor} <= {"default"}
        marked = next(style for strip in strips for text, style, _ in strip if "▸ Enter" in text and style)
        assert marked.reverse


async def test_what_is_copied_is_said_and_too_much_is_not_copied() -> None:
    async with chatting() as person:
        person.app.copy_to_clipboard("four")
        await person.sees("Copied 4 characters")
        person.app.copy_to_clipboard("x" * 80_000)
        await person.sees("not every terminal")
        person.app.copy_to_clipboard("y" * 1_000_001)
        await person.sees("too many to copy")
        assert person.app.clipboard == "x" * 80_000


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"TERM": "xterm-kitty"}, "\x1b]99;;Qianda asks\x1b\\"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "\x1b]9;Qianda asks\a"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "\x1b]9;Qianda asks\a"),
        ({"TERM": "foot"}, "\x1b]777;notify;Qianda;Qianda asks\x1b\\"),
        ({"TERM": "xterm-256color"}, "\a"),
        (
            {"TERM": "tmux-256color", "TMUX": "/tmp/x,1,0", "TERM_PROGRAM": "tmux", "KITTY_WINDOW_ID": "1"},
            "\x1bPtmux;\x1b\x1b]99;;Qianda asks\x1b\x1b\\\x1b\\\a",
        ),
    ],
)
def test_the_desktop_is_told_as_the_terminal_can(environ: dict[str, str], told: str) -> None:
    assert notification("Qianda asks", environ) == told


def test_a_title_carries_no_control_characters() -> None:
    assert "\x1b]0;qianda – a␇b\a" in title(Path("/x/a\x07b"))


async def test_a_notification_comes_only_when_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(surroundings, "LONG_RUN", -1.0)
    monkeypatch.setattr(surroundings.Surroundings, "_tell", lambda _, sequence: told.append(sequence))
    monkeypatch.setenv("TERM", "xterm-kitty")
    async with chatting("One.", "Two.", "Three.") as person:
        told.clear()
        await person.says("a")
        await person.until(lambda: told == ["\a"])  # nobody knows whether the person looks
        person.app.post_message(events.AppBlur())
        await person.says("b")
        await person.until(lambda: len(told) == 2)
        assert told[1].startswith("\x1b]99;;Qianda: done in ")
        person.app.post_message(events.AppFocus())
        await person.says("c")
        await person.sees("Three.")
        assert len(told) == 2


def test_a_theme_and_a_language_that_are_not_there_are_said() -> None:
    async def open_agent(*_: object) -> Any:
        raise AssertionError

    app = QiandaApp(open_agent, config=Config(theme="nothing", language="xx"))
    assert app.theme == "qianda-dark"
    assert app.look_around() == [
        "There is no theme nothing: /theme shows what there is",
        "There is no language xx; there are en, zh",
    ]
