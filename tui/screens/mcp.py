"""The MCP servers: their states, tools, resources, prompts and logs; approving, logging in, starting, switching off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from qianda.models.errors import QiandaError
from qianda.tools.mcp import approvals
from qianda.tools.mcp.config_file import set_used
from qianda.tools.mcp.known import KnownServer
from qianda.tools.mcp.offers import Offer
from qianda.tools.tool import Tool
from qianda.tui.mcp_servers import Server, offers_of, servers_of, toolset_of
from qianda.tui.screens.detail import TextBlock, code
from qianda.tui.screens.items import Column, Item
from qianda.tui.screens.listing import ListScreen
from qianda.tui.screens.mcp_details import offer_item, server_details, server_item, tool_details, tool_item, tools_of
from qianda.tui.transcript.blocks import Block
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tools.mcp import MCPServer
    from qianda.tools.mcp.toolset import MCPToolset
    from qianda.tui.chat import Chat

AGAIN = 0.1
"""Seconds between two looks at servers that change."""
LOG_SECONDS = 1.0
"""Between two looks at the marked server's log, while the screen is open."""
LOGIN_SECONDS = 300.0


class McpScreen(ListScreen[Server | Tool | Offer]):
    """A line per server; opened, its tools, resources and prompts below it."""

    COLUMNS = (Column(most=24), Column(most=13), Column(grow=True))
    EMPTY = "No MCP servers. In a shell: qianda mcp add time -- uvx mcp-server-time"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "open, use"),
        Binding("a", "approve", "approve"),
        Binding("l", "login", "log in"),
        Binding("r", "restart", "restart"),
        Binding("e", "switch", "on, off"),
        Binding("w", "whole", "details"),
    ]

    def __init__(self, chat: Chat) -> None:
        super().__init__(chat)
        self._unfolded: set[str] = set()
        self._offers: dict[str, list[Offer] | str] = {}
        self._watched: MCPToolset | None = None
        self._waiting = False
        self._log_size = 0
        self._held: Sequence[Block] = ()  # shown in the place of any detail: what a question is about

    def on_mount(self) -> None:
        """Follow the log of the marked server."""
        super().on_mount()
        self.set_interval(LOG_SECONDS, self._follow_log)

    def on_unmount(self) -> None:
        """Look away."""
        if self._watched is not None:
            self._watched.watchers.discard(self._changed)

    def _changed(self) -> None:
        if not self._waiting:
            self._waiting = True
            self.set_timer(AGAIN, self._again)

    def _again(self) -> None:
        self._waiting = False
        self.reload()

    def _follow_log(self) -> None:
        server = self._server
        size = server.connection.log.size if server is not None and server.connection is not None else 0
        if size != self._log_size and self.item is not None and isinstance(self.item.value, Server):
            self._log_size = size
            self.on_item_list_moved(self.list.Moved(self.item))

    def heading(self) -> str:
        """How many run."""
        servers = [item.value for item in self.items if isinstance(item.value, Server)]
        ready = sum(server.now in ("ready", "tools changed") for server in servers)
        return t("MCP servers: {ready} of {count} ready", ready=ready, count=len(servers))

    async def load(self) -> Sequence[Item[Server | Tool | Offer]]:
        """The servers as they are now; what they offer is asked for beside."""
        toolset = toolset_of(self.chat)
        if toolset is not self._watched:
            self.on_unmount()
            self._watched = toolset
            if toolset is not None:
                toolset.watchers.add(self._changed)
        problems: list[str] = []
        servers = await servers_of(self.chat, problems.append)
        if problems:
            self.say(" ".join(problems))
        for server in servers:
            if server.now in ("ready", "tools changed"):
                self.run_worker(self._list(server.name), group=f"offers {server.name}", exclusive=True)
            else:
                self._offers.pop(server.name, None)
        return self._made(servers)

    async def _list(self, name: str) -> None:
        before = self._offers.get(name)
        self._offers[name] = found = await offers_of(self.chat, name)
        if found != before:
            self.items = self._made([item.value for item in self.items if isinstance(item.value, Server)])
            await self._show()

    def _made(self, servers: Sequence[Server]) -> list[Item[Server | Tool | Offer]]:
        items: list[Item[Server | Tool | Offer]] = []
        for server in servers:
            tools, offers = tools_of(self._watched, server), self._offers.get(server.name, [])
            items.append(server_item(server, offers))
            if server.name in self._unfolded:
                items += [tool_item(tool, self.chat, server.name) for tool in tools]
                items += [
                    offer_item(offer) for offer in offers if not isinstance(offers, str) and isinstance(offer, Offer)
                ]
        return items

    async def detail(self, item: Item[Server | Tool | Offer]) -> Sequence[Block]:
        """Of a server all that there is; of a tool what it may do."""
        if self._held:
            return self._held
        match item.value:
            case Server() as server:
                tools, offers = tools_of(self._watched, server), self._offers.get(server.name, [])
                return await asyncio.to_thread(server_details, server, tools, offers)
            case Offer() as offer:
                about = "\n".join(filter(None, [offer.title, offer.description]))
                arguments = [
                    f"{name}{'' if needed else ' ' + t('(may be left out)')}" for name, needed in offer.arguments
                ]
                note = t("Arguments: {names}", names=", ".join(arguments)) if arguments else ""
                return [
                    TextBlock(f"{offer.server} {offer.name}", "strong"),
                    TextBlock(about),
                    TextBlock(note, "call-note"),
                ]
            case Tool() as tool:
                return tool_details(tool)

    def choose(self, item: Item[Server | Tool | Offer]) -> None:
        """Open or fold a server; put a resource or a prompt into the person's prompt."""
        match item.value:
            case Server() as server:
                self._unfolded ^= {server.name}
                self.reload()
            case Offer() as offer:
                sign = "/" if offer.kind == "prompt" else "@"
                self.dismiss()
                self.program.chat_screen.editor.insert(f"{sign}{offer.server}:{offer.name} ")
            case Tool():
                super().choose(item)

    def action_back(self) -> None:
        """Esc: what was held goes first."""
        self._held = ()
        super().action_back()

    def action_whole(self) -> None:
        """The detail alone on the screen."""
        if self.item is not None:
            super().choose(self.item)

    @property
    def _server(self) -> Server | None:
        """The marked server, or the one of what is marked."""
        at = self.list.at if self.list.items else -1
        above = [item.value for item in self.list.items[: at + 1] if isinstance(item.value, Server)]
        return above[-1] if above else None

    def _with_server(self, work: Callable[[Server], Awaitable[None]]) -> None:
        async def done() -> None:
            server = self._server
            if server is not None:
                await work(server)

        self.act(done())

    # Approving

    def action_approve(self) -> None:
        """Let a project's server run, or changed tools be used, as they are now."""
        self._with_server(self._approve)

    async def _approve(self, server: Server) -> None:
        configured = server.configured
        if server.changes:
            await self._approve_changes(server)
        elif configured is None or server.now != "not approved":
            self.say(t("Nothing waits for your approval"))
        elif await self._agreed(
            t("{name} of {path} runs exactly this:", name=server.name, path=configured.path),
            configured.shown(),
            t("Let it be used in this folder, until that changes?"),
        ):
            await asyncio.to_thread(approvals.approve, configured, self.chat.workspace)
            await self._start(configured.resolve())

    async def _approve_changes(self, server: Server) -> None:
        spec = server.spec()
        known, taken = KnownServer(spec), False
        for change in server.changes:
            title = t("{name} has changed its tool {tool}:", name=server.name, tool=change.tool)
            if await self._agreed(title, change.diff, t("Use it as it is now?"), "diff"):
                await asyncio.to_thread(known.approve, change.tool)
                taken = True
        if taken:
            await self._start(spec)

    async def _agreed(self, title: str, text: str, question: str, language: str = "") -> bool:
        self._hold([TextBlock(title, "strong"), code(text, language)])
        try:
            return await self.confirm(question)
        finally:
            self._hold(())

    def _hold(self, blocks: Sequence[Block]) -> None:
        self._held = blocks
        if self.is_attached:
            self.set_class(bool(blocks), "-whole")
            self.on_item_list_moved(self.list.Moved(self.item))

    async def _start(self, spec: MCPServer) -> None:
        """Use a server from now on, in the place of the one of its name."""
        toolset = toolset_of(self.chat)
        if toolset is not None:
            await toolset.put(spec)
        elif self.chat.busy:
            self.say(t("Ctrl+R after this run uses it"))
        else:
            await self.chat.open_again()
        self.reload()

    # Starting and switching off

    def action_restart(self) -> None:
        """Stop it and start it again."""
        self._with_server(self._restart)

    async def _restart(self, server: Server) -> None:
        if server.connection is None:
            self.say(t("{name} is not used: {state}", name=server.name, state=t(server.now)))
        else:
            await self._start(server.connection.server)

    def action_switch(self) -> None:
        """Use it, or do not, from now on; in later sessions too if the person says so."""
        self._with_server(self._switch)

    async def _switch(self, server: Server) -> None:
        on = server.connection is None
        configured = server.configured
        if server.now in ("not approved", "hidden", "broken"):
            self.say(t("{name} cannot be switched on: {state}", name=server.name, state=t(server.now)))
            return
        if on and configured is not None and configured.scope == "project" and server.now == "disabled":
            # A project's server was refused: using it is a decision for this folder.
            if not await self._agreed(
                server.where, server.shown, t("Let it be used in this folder, until that changes?")
            ):
                return
            await asyncio.to_thread(set_used, configured, self.chat.workspace, used=True)
            await asyncio.to_thread(approvals.approve, configured, self.chat.workspace)
        switched: Mapping[str, bool] = {**(self.chat.changes.mcp_switched or {}), server.name: on}
        self.chat.changes = replace(self.chat.changes, mcp_switched=switched)
        if configured is None and not on:
            self.chat.mcp_off[server.name] = server.spec()
        else:
            self.chat.mcp_off.pop(server.name, None)
        toolset = toolset_of(self.chat)
        if on:
            await self._start(server.spec())
        elif toolset is not None:
            await toolset.drop(server.name)
            self.reload()
        if configured is None or (on and server.now == "off"):
            return
        question = t("{name} is on. In later sessions too?") if on else t("{name} is off. In later sessions too?")
        later = configured.scope != "project" or not on  # a project's that is on was approved for later ones
        if later and await self.confirm(question.format(name=server.name)):
            await asyncio.to_thread(set_used, configured, self.chat.workspace, used=on)
            self.reload()

    # Logging in

    def action_login(self) -> None:
        """Log in at a server with an address."""
        self._with_server(self._login)

    async def _login(self, server: Server) -> None:
        if server.now == "not approved":
            self.say(t("Approve it first: a"))
            return
        spec = server.spec()
        if not spec.url:
            self.say(t("{name} is a command; only addresses have logins", name=server.name))
            return
        self.program.run_worker(self._log_in(spec))  # the app's: it may outlast this screen

    async def _log_in(self, spec: MCPServer) -> None:
        import webbrowser

        from qianda.tools.mcp.logins import has_browser, way_back
        from qianda.tools.mcp.oauth import login

        async def show(url: str) -> None:
            way = way_back(url)
            self.program.copy_to_clipboard(url)
            title = TextBlock(t("Log in at {name} here (copied):", name=spec.name), "strong")
            self._hold([title, code(url), TextBlock(way)])
            if has_browser():
                await asyncio.to_thread(webbrowser.open, url)

        self.say(t("Asking {name} where to log in …", name=spec.name))
        try:
            came = await login(spec, show=show, seconds=LOGIN_SECONDS)
        except QiandaError as error:
            said, came = str(error), False
        else:
            said = t("Logged in at {name}", name=spec.name) if came else t("{name} wants no login", name=spec.name)
        if came:
            await self._start(spec)
        self._hold(())
        if self.is_attached:
            self.say(said)
            self.reload()
        else:
            self.chat.say(said)
