"""The models of all servers that were found, what each can do, and switching to another in mid-conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from qianda.models.catalog.entries import Model, understand
from qianda.models.catalog.prices import has_price
from qianda.models.family import Family, find_family
from qianda.models.resolve import Endpoint
from qianda.models.thinking import Thinking, server_holds_budget
from qianda.tui.screens.detail import TextBlock
from qianda.tui.screens.findings import SECONDS, findings_block, look_closely
from qianda.tui.screens.items import Column, Item
from qianda.tui.screens.listing import ListScreen
from qianda.tui.servers import Choice, choices, in_use, merged
from qianda.tui.thinking import fits, thinking_words, ways
from qianda.tui.transcript.blocks import Block
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.models.probes import Finding
    from qianda.tui.chat import Chat

THINKS = {"none": "no", "only": "always", "on": "on, off", "off": "off, on", "unknown": "unknown"}
SWITCHES = {
    "kwargs": "a field of the chat template",
    "top": "a field of the request",
    "effort": "its effort",
}


class ModelsScreen(ListScreen[Choice]):
    """A line per model, by server; servers come as they answer."""

    COLUMNS = (
        Column(grow=True),
        Column(most=6),
        Column(most=9, right=True),
        Column(most=16),
        Column(most=19, wide=True),
        Column(most=14, wide=True),
    )
    EMPTY = "No model server answers. /connect finds or names one"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "use"),
        Binding("t", "think", "thinking"),
        Binding("b", "budget", "budget"),
        Binding("s", "save", "save"),
        Binding("p", "probe", "test"),
        Binding("w", "whole", "details"),
        Binding("r", "reload", "again"),
    ]

    def __init__(self, chat: Chat) -> None:
        super().__init__(chat)
        self._groups: dict[int, list[Choice]] = {}
        self._looking = False

    def heading(self) -> str:
        """What is in use now."""
        endpoint = self.chat.endpoint
        if endpoint is None:
            return t("There is no model yet")
        thinking = thinking_words(self.chat.thinking) or t("default thinking")
        busy = t("looking for more …") if self._looking else ""
        return " · ".join(filter(None, [t("In use: {model}", model=endpoint.label), thinking, busy]))

    async def load(self) -> Sequence[Item[Choice]]:
        """What has answered; the others are asked."""
        self._looking = True
        self.run_worker(self._look, exclusive=True, group="look")
        return self._made()

    async def _look(self) -> None:
        try:
            async for at, group in choices(self.chat):
                self._groups[at] = group
                await self._again()
        finally:
            self._looking = False
        await self._again()

    async def _again(self) -> None:
        self.items = self._made()
        await self._show()

    async def _show(self) -> None:
        new = not self.list.items
        await super()._show()
        if not self.items and self._looking:
            self.say("")
        now = next((at for at, item in enumerate(self.list.items) if in_use(self.chat, item.value)), 0)
        if new and now:
            self.list.go(now)

    def _made(self) -> list[Item[Choice]]:
        return [self._item(choice) for choice in merged(self._groups)]

    def _item(self, choice: Choice) -> Item[Choice]:
        key = f"{choice.url} {choice.model}"
        if choice.problem:
            return Item(key, (choice.problem, "", "", "", "", ""), choice, "warning", choice.title)
        model, family = understand(choice.model).model, find_family(choice.model)
        used = in_use(self.chat, choice)
        window = choice.window or (model.window if model is not None else None)
        cells = (
            choice.model,
            t("in use") if used else "",
            f"{window:,}" if window else "",
            (t("levels") if family.efforts else _thinks(family)) if model or family.qwen else t("not in the table"),
            ", ".join(map(t, model.input[1:] or model.input)) if model is not None else "",
            _price(model) if choice.kind.is_model_studio else "",
        )
        return Item(key, cells, choice, "good" if used else "", choice.title)

    async def detail(self, item: Item[Choice]) -> Sequence[Block]:
        """What the table, the server and the doctor know of it."""
        choice, endpoint = item.value, self.chat.endpoint
        if choice.problem:
            return [TextBlock(choice.title, "strong"), TextBlock(choice.problem, "call-failed-text")]
        facts = TextBlock("\n".join(_facts(choice)))
        if endpoint is None or not in_use(self.chat, choice):
            return [TextBlock(choice.model, "strong"), facts]
        tested = await asyncio.to_thread(_known, endpoint)
        more = (
            findings_block(tested) if tested else TextBlock(t("p tests calls, thinking, schemas, images"), "call-note")
        )
        why = TextBlock(t("In use, because {why}", why=endpoint.why), "call-note")
        return [TextBlock(choice.model, "strong"), more, facts, why]

    def action_whole(self) -> None:
        """The detail alone on the screen."""
        if self.item is not None:
            super().choose(self.item)

    def action_reload(self) -> None:
        """Look again."""
        self.reload()

    # Switching

    def choose(self, item: Item[Choice]) -> None:
        """Go on with this model."""
        choice = item.value
        if choice.problem:
            super().choose(item)
        elif self.chat.busy:
            self.say(t("Stop the run first: Esc"))
        elif in_use(self.chat, choice):
            self.say(t("It is in use"))
        else:
            self.dismiss()
            self.program.run_worker(switch(self.chat, choice))

    def action_think(self) -> None:
        """The next way of thinking that the model in use has."""
        if (endpoint := self._endpoint()) is not None:
            every = ways(find_family(endpoint.model), endpoint.kind)
            now = self.chat.thinking
            at = every.index(now) if now in every else 0
            if len(every) < 2:
                self.say(t("{model} thinks in one way only", model=endpoint.model))
            else:
                self.chat.think(every[(at + 1) % len(every)])
                self.run_worker(self._again, exclusive=True, group="load")

    def action_budget(self) -> None:
        """Bound the thinking by tokens."""
        self.act(self._bound())

    async def _bound(self) -> None:
        endpoint = self._endpoint()
        text = await self.ask(t("Tokens of thinking at most in one reply, such as 2000")) if endpoint else ""
        if text.replace(",", "").isdecimal():
            self.chat.think(Thinking(budget=int(text.replace(",", ""))))
            await self._again()
        elif text:
            self.say(t("That is no number of tokens: {text}", text=text))

    def _endpoint(self) -> Endpoint | None:
        if self.chat.endpoint is None:
            self.say(t("There is no model yet"))
        return self.chat.endpoint

    def action_save(self) -> None:
        """Make it the model of later chats, with the thinking that was chosen."""
        self.act(self._save())

    async def _save(self) -> None:
        from qianda.models.config import load_config, user_config_path
        from qianda.models.config_file import change_setting, remember_server

        choice = self.item.value if self.item is not None else None
        if choice is None or choice.problem:
            return
        path, changes, used = user_config_path(), self.chat.changes, in_use(self.chat, choice)
        key = changes.api_key if used else None
        server = choice.server or (changes.server if used else None) or choice.url
        question = t(
            "Use {model} at {server} in later chats too? It is written to {path}",
            model=choice.model,
            server=server,
            path=path,
        )
        if not await self.confirm(question):
            return
        await asyncio.to_thread(remember_server, path, server, choice.model, key)
        said = t("Saved")
        wanted = changes.thinking if used else None
        if isinstance(wanted, Thinking):
            said = t("Saved, but for the thinking: the settings know on and off only")
        elif wanted is not None:
            await asyncio.to_thread(change_setting, path, "thinking", None if wanted == "default" else wanted)
        origins = (await asyncio.to_thread(load_config, self.chat.workspace)).origins
        first = [origins.get(name, "") for name in ("server", "model", "api_keys")]
        if variables := [word.rpartition("environment ")[2] for word in first if "environment " in word]:
            said += "; " + t("in this shell {variables} goes before it", variables=", ".join(variables))
        self.say(said)

    def action_probe(self) -> None:
        """Ask the model in use a few small things."""
        self.act(self._probe())

    async def _probe(self) -> None:
        if (endpoint := self._endpoint()) is not None:
            self.say(
                t("Asking {model} a few small things, {count} s at most …", model=endpoint.model, count=int(SECONDS))
            )
            await look_closely(endpoint)
            self.say("")
            if self.item is not None:
                self.pane.show(await self.detail(self.item))


async def switch(chat: Chat, choice: Choice) -> None:
    """Go on with another model; thinking that it cannot do is left to it."""
    if in_use(chat, choice):
        chat.say(t("It is in use"))
        return
    changed = {"model": choice.model} if choice.server is None else {"model": choice.model, "server": choice.server}
    thinking = chat.thinking
    if thinking is not None and not fits(thinking, find_family(choice.model), choice.kind):
        chat.say(
            t(
                "{model} cannot do this: {thinking}; it thinks by default",
                model=choice.model,
                thinking=thinking_words(thinking),
            )
        )
        await chat.change(**changed, thinking="default")
    else:
        await chat.change(**changed)


def _known(endpoint: Endpoint) -> tuple[Finding, ...]:
    from qianda.models.profile_cache import recall

    return recall(endpoint.url, endpoint.model, fingerprint=endpoint.fingerprint).findings


def _thinks(family: Family) -> str:
    return ", ".join(reversed(family.efforts)) if family.efforts else t(THINKS[family.thinking])


def _price(model: Model | None) -> str:
    if model is None or not has_price(model.name):
        return ""
    first = model.prices[0]
    more = " …" if len(model.prices) > 1 else ""
    return f"${first.input:g} / ${first.output:g}{more}"


def _facts(choice: Choice) -> list[str]:
    """What is known of a model, a line each."""
    named, family = understand(choice.model), find_family(choice.model)
    model, kind = named.model, choice.kind
    lines = [choice.title]
    if choice.window:
        lines.append(t("Window: {count} tokens, as the server says", count=f"{choice.window:,}"))
    if model is None:
        lines.append(t("It is not in the table: it runs on safe defaults") if not family.qwen else family.name)
    else:
        if model.window:
            extended = t(", {count} with YaRN", count=f"{model.extended:,}") if model.extended else ""
            lines.append(t("Made for {count} tokens", count=f"{model.window:,}") + extended)
        lines.append(t("Reads: {what}", what=", ".join(map(t, model.input))))
        size = t("{count} billion parameters", count=f"{model.parameters:g}") if model.parameters else ""
        if about := " · ".join(filter(None, [family.name, size, model.licence, model.released, model.note])):
            lines.append(about)
        if kind.is_model_studio:
            lines += [
                t("${input} in, ${output} out for a million tokens", input=f"{row.input:g}", output=f"{row.output:g}")
                + (t(", from {count} tokens of input on", count=f"{row.over:,}") if row.over else "")
                for row in model.prices
            ]
    switched = SWITCHES.get(kind.thinking, "") or ("/think and /no_think" if family.soft_switch else "")
    how = t(", switched by {way}", way=t(switched)) if switched and family.thinking in ("on", "off") else ""
    lines.append(t("Thinking: {thinks}", thinks=_thinks(family)) + how)
    if family.thinking not in ("none", "unknown") and fits(Thinking(budget=1), family, kind):
        keeps = t("the server") if server_holds_budget(Thinking(budget=1), kind) else "Qianda"
        lines.append(t("A bound of its tokens is kept by {whom}", whom=keeps))
    return lines
