"""The blocks of an earlier conversation: the same cards, laid out when they are looked at."""

from __future__ import annotations

from collections.abc import Sequence

from qianda.agents.conversation import STOPPED
from qianda.models.messages import AssistantMessage, Message, ToolMessage, UserMessage, content_text
from qianda.models.plan import Plan, step_texts
from qianda.tui.transcript.answer import LazyBlock
from qianda.tui.transcript.blocks import Block, NoticeBlock, ThinkingBlock, UserBlock
from qianda.tui.transcript.call_group import CallGroup
from qianda.tui.transcript.call_text import QUIET, read_arguments
from qianda.tui.transcript.calls import CallBlock
from qianda.tui.transcript.images import image_blocks
from qianda.tui.transcript.plan_block import PlanBlock
from qianda.tui.words import t

_NOT_ACCEPTED = "The user does not accept"


def call_blocks(call: CallBlock, before: Block | None) -> list[Block]:
    """What a call puts into the transcript: itself, and before it the group that it begins.

    Args:
        call: that begins.
        before: the last block so far.
    """
    close = isinstance(before, CallBlock | ThinkingBlock)
    if call.name not in QUIET:
        call.gap = not close
        return [call]
    group = before.group if isinstance(before, CallBlock) else None
    blocks: list[Block] = [call]
    if group is None:
        group = CallGroup(gap=not close)
        blocks.insert(0, group)
    group.add(call)
    return blocks


def restored_blocks(messages: Sequence[Message]) -> list[Block]:
    """The blocks of an earlier conversation."""
    results = {message.call_id: message for message in messages if isinstance(message, ToolMessage)}
    blocks: list[Block] = []
    plan: PlanBlock | None = None
    for message in messages:
        if isinstance(message, UserMessage):
            blocks += [UserBlock(content_text(message.content)), *image_blocks(message.content)]
            plan = None
        if not isinstance(message, AssistantMessage):
            continue
        if message.reasoning.strip():
            thinking = ThinkingBlock()
            thinking.feed(message.reasoning)
            thinking.finish(-1.0)
            blocks.append(thinking)
        if message.content == STOPPED:
            last = message is messages[-1]
            told = t("Stopped before there was an answer: /resume goes on with it") if last else t("Stopped")
            blocks.append(NoticeBlock(told, "warning"))
        elif message.content.strip():
            blocks.append(LazyBlock(message.content))
        if plan is not None and not message.tool_calls and plan.plan.open == [len(plan.plan.steps)]:
            plan.plan = plan.plan.moved(len(plan.plan.steps), "done")  # the answer was the last step
        for call in message.tool_calls:
            result = results.get(call.id)
            text = content_text(result.content) if result is not None else ""
            if call.name == "plan" and result is not None and result.outcome == "done":
                changed = _planned(plan.plan if plan else None, call.arguments, text)
                if changed is not None:
                    if plan is None:
                        plan = PlanBlock(changed)
                        blocks.append(plan)
                    plan.plan, plan.refused = changed, text.startswith(_NOT_ACCEPTED)
                    continue
            block = CallBlock(call.name, call.arguments)
            if result is not None:
                block.recall(text, result.outcome)
            else:
                block.stop("")
            blocks += call_blocks(block, blocks[-1] if blocks else None)
            blocks += image_blocks(result.content) if result is not None else []
    return blocks


def _planned(plan: Plan | None, arguments: str, result: str) -> Plan | None:
    """The plan after a call of the tool ``plan``, as the run changed it; None when that cannot be told."""
    values = read_arguments(arguments) or {}
    steps, number, state = values.get("steps"), values.get("step"), values.get("state")
    if isinstance(steps, list) and steps:
        plan = (plan or Plan()).revised(step_texts([str(step) for step in steps]))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON
        if result.startswith(_NOT_ACCEPTED):
            return plan
        plan = plan.begun()
    if plan is None or (number is None and state is None):
        return plan
    doing = next((at for at, step in enumerate(plan.steps, 1) if step.state == "doing"), 0)
    try:
        return plan.moved(int(number or doing), state or "doing", str(values.get("note") or ""))
    except (TypeError, ValueError):
        return None
