"""The tools that the model has, what of them runs unasked, the rules, and the mode."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from qianda.models.config import PERMISSION_MODES
from qianda.tools.effects import NO_EFFECTS
from qianda.tools.permissions import Permissions
from qianda.tools.permissions.rules import Rule
from qianda.tools.tool import Tool
from qianda.tui.screens.detail import TextBlock, json_code
from qianda.tui.screens.items import Column, Item, Tone
from qianda.tui.screens.listing import ListScreen
from qianda.tui.transcript.blocks import Block
from qianda.tui.words import t

RUNS: dict[str, tuple[str, Tone]] = {"allow": ("runs", "good"), "ask": ("asks", ""), "deny": ("denied", "warning")}


class ToolsScreen(ListScreen[Tool | Rule]):
    """A line per tool, then one per rule."""

    COLUMNS = (Column(most=34), Column(most=8), Column(grow=True))
    EMPTY = "The model has no tools"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "details"),
        Binding("m", "mode", "another mode"),
        Binding("d", "forget", "delete a saved rule"),
    ]

    @property
    def _permissions(self) -> Permissions | None:
        return None if self.chat.agent is None else self.chat.agent.permissions

    def heading(self) -> str:
        """The mode, and what it means."""
        mode = self._permissions.mode if self._permissions is not None else "ask"
        return t("Permissions: {mode}", mode=t(mode)) + " · " + t(MEANS[mode])

    async def load(self) -> Sequence[Item[Tool | Rule]]:
        """The agent's tools, those of its MCP servers, and the rules."""
        agent = self.chat.agent
        if agent is None:
            self.say(t("There is no model yet"))
            return ()
        async with agent.opened() as resources:
            tools = [_tool(tool, resources.permissions) for tool in resources.tools.values()]
        tools.sort(key=lambda item: item.group)
        rules = [_rule(rule) for action in ("deny", "ask", "allow") for rule in agent.permissions.rules(action)]
        return [*tools, *rules]

    async def detail(self, item: Item[Tool | Rule]) -> Sequence[Block]:
        """A tool's description and arguments; where a rule stands."""
        value = item.value
        if isinstance(value, Rule):
            where = value.origin or t("said on the command line")
            return [TextBlock(f"{value.action} {value}", "strong"), TextBlock(where, "call-note")]
        traits = [
            t("changes nothing") if value.read_only else t("may change something"),
            *([t("may destroy something")] if value.destructive else []),
            *([t("reaches beyond this machine")] if value.open_world else []),
        ]
        schema = value.schema
        return [
            TextBlock(value.name, "strong"),
            TextBlock(" · ".join(traits), "call-note"),
            TextBlock(schema.description),
            json_code(json.dumps(schema.parameters)),
        ]

    def action_mode(self) -> None:
        """The next mode; the loosest one is asked for."""
        self.act(self._switch())

    async def _switch(self) -> None:
        permissions = self._permissions
        if permissions is None:
            return
        mode = PERMISSION_MODES[(PERMISSION_MODES.index(permissions.mode) + 1) % len(PERMISSION_MODES)]
        if mode == "auto" and not await self.confirm(t("Let every tool run unasked, as far as it seems safe?")):
            mode = PERMISSION_MODES[0]
        self.chat.set_mode(mode)
        await self._reload()

    def action_forget(self) -> None:
        """Delete a rule that was saved while being asked."""
        self.act(self._forget())

    async def _forget(self) -> None:
        permissions, rule = self._permissions, self.item.value if self.item is not None else None
        if permissions is None or not isinstance(rule, Rule):
            return
        if not permissions.saved(rule):
            self.say(t("Only rules that were saved while being asked are deleted here; this one: {where}", where=rule))
        elif await self.confirm(t("Delete the rule {rule}?", rule=rule)):
            await asyncio.to_thread(permissions.forget, rule)
            await self._reload()


MEANS = {
    "read-only": "nothing is changed",
    "ask": "you are asked before something is changed",
    "edits": "files in the folder are changed unasked, for all else you are asked",
    "auto": "what seems safe runs unasked",
}


def _tool(tool: Tool, permissions: Permissions) -> Item[Tool | Rule]:
    # Of no certain call: what a file or a command would change is judged when there is one.
    runs, tone = RUNS[permissions.judge(tool, {}, NO_EFFECTS).action]
    group = tool.origin or t("Your own tools")
    return Item(tool.name, (tool.name, t(runs), tool.schema.description), tool, tone, group)


def _rule(rule: Rule) -> Item[Tool | Rule]:
    runs, tone = RUNS[rule.action]
    return Item(f"{rule.action} {rule}", (str(rule), t(runs), rule.origin), rule, tone, t("Rules"))
