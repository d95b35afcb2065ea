"""The context meter: what fills the model's window, in numbers and bars; making the conversation shorter by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.binding import Binding, BindingType

from qianda.agents.agent import Agent
from qianda.agents.context_use import ContextUse, Portion, context_use
from qianda.tui.screens.detail import TextBlock
from qianda.tui.screens.items import Column, Item, Tone
from qianda.tui.screens.listing import ListScreen
from qianda.tui.transcript.blocks import Block
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.agents.context_use import PartName

NAMES: dict[PartName, tuple[str, str]] = {
    "instructions": ("Before the conversation", "instructions"),
    "memory": ("Before the conversation", "AGENTS.md and QWEN.md"),
    "tools": ("Before the conversation", "tools"),
    "mcp": ("Before the conversation", "tools of MCP servers"),
    "template": ("Before the conversation", "marks of the chat template"),
    "user": ("Conversation", "your prompts"),
    "assistant": ("Conversation", "answers and calls"),
    "reasoning": ("Conversation", "thinking that is sent again"),
    "results": ("Conversation", "results of tools"),
    "media": ("Conversation", "images, audio, video"),
}
BAR = 36
USED, FREE, KEPT = "█", "░", "▒"


class ContextScreen(ListScreen[Portion | None]):
    """A line per part of the prompt, and what is left."""

    COLUMNS = (Column(most=28), Column(most=9, right=True), Column(most=5, right=True), Column(grow=True))
    EMPTY = "There is no model yet"
    BESIDE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "whole"),
        Binding("c", "compact", "make the conversation shorter"),
    ]
    use: ContextUse | None = None

    def heading(self) -> str:
        """The prompt, the window, and who counted."""
        if self.use is None:
            return t("Context")
        next_one, told = f"{self.use.tokens:,}", self.chat.trace.tokens
        window = f"{self.use.window:,}" if self.use.window else "?"
        about = t("Next prompt: about {tokens} of {window} tokens", tokens=next_one, window=window)
        return f"{about} · {t('last: {tokens} by the server', tokens=f'{told:,}')}" if told else about

    async def load(self) -> Sequence[Item[Portion | None]]:
        """Measure it."""
        agent, conversation = self.chat.agent, self.chat.conversation
        if not isinstance(agent, Agent) or conversation is None:
            return ()
        self.head.update(t("Counting …"))
        self.use = use = await context_use(cast("Agent[Any]", agent), conversation.messages)
        groups = dict.fromkeys(group for group, _ in NAMES.values())
        whole = use.window or max(use.tokens, 1)
        portions = {portion.name: portion for portion in use.portions}
        items = [
            _item(name, t(title), portions[name].tokens, whole, portions[name], group=t(group))
            for wanted in groups
            for name, (group, title) in NAMES.items()
            if group == wanted
        ]
        if use.window:
            left = t("Left")
            items.append(_item("free", t("free"), use.free, whole, None, group=left, mark=FREE))
            items.append(_item("reserve", t("kept for the reply"), use.reserve, whole, None, group=left, mark=KEPT))
        return items

    async def detail(self, item: Item[Portion | None]) -> Sequence[Block]:
        """What a part consists of."""
        if item.value is None:
            return [TextBlock(t("When the next prompt does not fit, the conversation is made shorter by itself"))]
        lines = [f"{tokens:>9,}  {name}" for name, tokens in item.value.of]
        return [TextBlock("\n".join(lines))] if lines else []

    def action_compact(self) -> None:
        """Have it made shorter with the next prompt."""
        self.say(self.chat.compact())


def _item(
    key: str, name: str, tokens: int, whole: int, portion: Portion | None, *, group: str, mark: str = USED
) -> Item[Portion | None]:
    share = tokens / whole
    cells = max(round(share * BAR), 1 if tokens else 0)
    tone: Tone = "" if tokens else "muted"
    return Item(key, (name, f"{tokens:,}", f"{share:.0%}", mark * cells), portion, tone, group)
