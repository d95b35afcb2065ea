"""The part of the app that belongs to the terminal around it: colours, language, clipboard, notifications, leaving."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events
from textual.app import App
from textual.drivers._writer_thread import WriterThread

from qianda.tui.kept import keep, kept
from qianda.tui.screen import ChatScreen
from qianda.tui.themes import ASK_BACKGROUND, AUTO, OWN, BackgroundSaid, fitting, said_light
from qianda.tui.words import languages, t, use_language

if TYPE_CHECKING:
    from threading import Event

    from textual.driver import Driver

    from qianda.models.config import Config
    from qianda.tui.chat import Chat

LONG_RUN = 20.0
"""Seconds of a run after which its end is told to who looks elsewhere."""


class PatientWriter(WriterThread):
    """Textual's thread that writes to the terminal; when that is gone, it still takes what is written."""

    def run(self) -> None:
        """Write until the end."""
        try:
            super().run()
        except OSError:
            while self._queue.get() is not None:
                pass


class Surroundings(App[int]):
    """Follows the terminal.

    Args:
        config: the user's settings: theme, language, notifications.
        styles: the style sheets.
    """

    chat: Chat

    def __init__(self, config: Config, styles: list[Path]) -> None:
        use_language(config.language)
        # With colours of the terminal's own there is none left when they are filtered out.
        super().__init__(css_path=[*styles], ansi_color=True if "NO_COLOR" in os.environ else None)
        self._config = config
        self._light = said_light()
        self._focused: bool | None = None  # until the terminal says so
        for theme in OWN:
            self.register_theme(theme)
        self._theme = config.theme if config.theme in self.available_themes else AUTO
        self.set_reactive(App.theme, self._named(self._theme))
        # What Textual has made of its own theme by now; setting it the usual way would lay out the first frame twice.
        self.stylesheet.set_variables(self.get_css_variables())
        dark = self.current_theme.dark
        self.set_class(dark, "-dark-mode", update=False)
        self.set_class(not dark, "-light-mode", update=False)
        self._refresh_truecolor_filter(self.ansi_theme)

    def get_driver_class(self) -> type[Driver]:
        """Textual's driver for this terminal; it does not wait for one that is gone."""
        driver = super().get_driver_class()
        module = vars(sys.modules[driver.__module__])
        if "WriterThread" in module:
            module["WriterThread"] = PatientWriter
        return driver

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What Textual's themes of 16 colours lack."""
        return {"foreground-disabled": "ansi_bright_black"}

    def _named(self, theme: str) -> str:
        if theme != AUTO:
            return theme
        light = kept().get("light") is True if self._light is None else self._light
        return fitting(light=light, colours=self.console.color_system)

    def look_around(self) -> list[str]:
        """After the first frame: ask the terminal what it did not say; gives what is wrong with the settings."""
        if self._theme == AUTO and self._light is None and not self.is_web and os.environ.get("TERM") != "linux":
            self._tell(ASK_BACKGROUND)
        config, wrong = self._config, list[str]()
        if config.theme not in (AUTO, self._theme):
            wrong.append(t("There is no theme {name}: /theme shows what there is", name=config.theme))
        if config.language not in (AUTO, *languages()):
            known = ", ".join(languages())
            wrong.append(t("There is no language {name}; there are {names}", name=config.language, names=known))
        return wrong

    def on_background_said(self, message: BackgroundSaid) -> None:
        """Its answer; remembered, so that the next start begins with it."""
        self._light = message.light
        keep(light=message.light)
        if self._theme == AUTO:
            self.theme = self._named(AUTO)

    # Themes

    @property
    def themes(self) -> tuple[str, ...]:
        """What can be chosen: ``auto``, our own, Textual's."""
        own = [theme.name for theme in OWN]
        return (AUTO, *own, *sorted(self.available_themes.keys() - set(own)))

    @property
    def chosen_theme(self) -> str:
        """What was chosen."""
        return self._theme

    def show_theme(self, name: str) -> None:
        """Show one, without choosing it."""
        self.theme = self._named(name)

    async def choose_theme(self, name: str) -> None:
        """Use one from now on, also after the next start.

        Raises:
            ConfigurationError: it cannot be kept.
        """
        from qianda.models.config import user_config_path
        from qianda.models.config_file import change_setting

        self._theme = name
        self.show_theme(name)
        await asyncio.to_thread(change_setting, user_config_path(), "theme", name)

    def action_theme(self, name: str = "") -> None:
        """Use a theme, or show them."""
        if not name:
            from qianda.tui.screens.themes import ThemesScreen

            self.push_screen(ThemesScreen(self.chat))
        elif name in self.themes:
            self.run_worker(self.choose_theme(name))
        else:
            self.hint(t("There is no theme {name}: /theme shows what there is", name=name))

    # Clipboard

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text by way of the terminal, so also over ssh, and say so."""
        from qianda.tui.desktop import MOST_COPIED, SURELY_COPIED, give_tmux

        size, count = len(text.encode()), len(text)
        if size > MOST_COPIED:
            self.hint(t("{count} characters are too many to copy", count=f"{count:,}"))
            return
        super().copy_to_clipboard(text)
        if os.environ.get("TMUX") and not self.is_headless:
            self.run_worker(give_tmux(text))
        if size > SURELY_COPIED:
            self.hint(t("Copied {count} characters; not every terminal takes so many", count=f"{count:,}"))
        else:
            self.hint(t("Copied {count} characters", count=f"{count:,}"))

    # Notifications

    def on_app_focus(self, event: events.AppFocus) -> None:
        """The person looks here."""
        del event
        self._focused = True

    def on_app_blur(self, event: events.AppBlur) -> None:
        """The person looks elsewhere."""
        self._focused = False
        # In a browser the keys come from the page whatever it says of its focus, which may come too early to count.
        if self.is_web:
            event.prevent_default()

    def on_chat_screen_run_ended(self, message: ChatScreen.RunEnded) -> None:
        """A run ended."""
        from qianda.tui.transcript.blocks import duration

        if message.seconds > LONG_RUN:
            time = duration(int(message.seconds))
            said = (
                t("Qianda: failed after {time}", time=time)
                if message.failed
                else t("Qianda: done in {time}", time=time)
            )
            self._tell_desktop(said)

    def on_chat_screen_asks(self) -> None:
        """Something waits for an answer."""
        self._tell_desktop(t("Qianda asks"))

    def _tell_desktop(self, text: str) -> None:
        """A line on the desktop, with nothing of the conversation, or the bell, unless the person looks here."""
        from qianda.tui.desktop import BELL, notification

        if self._config.notify and not self._focused:
            self._tell(BELL if self._focused is None else notification(text))

    def _tell(self, sequence: str) -> None:
        if self._driver is not None and not self.is_headless:
            self._driver.write(sequence)

    # Standing back and leaving

    def action_suspend_process(self) -> None:
        """Ctrl+Z: back to the shell, with whatever started this program; fg goes on."""
        job = os.getpgrp() != os.getsid(0)  # a shell's, which can go on with it
        if self._driver is None or not self._driver.can_suspend or not job:
            self.hint(t("There is no shell to go back to"))
            return
        with self.suspend():
            os.killpg(0, signal.SIGSTOP)

    def hint(self, text: str) -> None:
        """Say something for a moment."""
        raise NotImplementedError

    def action_leave(self) -> None:
        """Quit."""
        raise NotImplementedError

    async def live(self) -> int | None:
        """Run until the person leaves, under a title, or until the terminal or the program is ended."""
        from qianda.tui.desktop import TITLE_BEFORE, has_title, title

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.hang_up)
        loop.add_signal_handler(signal.SIGTERM, self.action_leave)
        named = sys.__stderr__ if has_title() else None  # where Textual writes too
        if named is not None:
            named.write(title(Path.cwd()))
        try:
            return await self.run_async()
        finally:
            if named is not None:
                named.write(TITLE_BEFORE)
                named.flush()

    def hang_up(self) -> None:
        """The terminal is gone: what goes on is stopped, recorded and closed."""
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)  # nothing is read or written any more that would fail
        if self._driver is not None:
            stop: Event | None = getattr(self._driver, "exit_event", None)
            if stop is not None:
                stop.set()  # the thread that reads keys: it would be told of the end without end
        self.action_leave()
