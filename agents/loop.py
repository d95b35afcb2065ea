"""The loop: ask the model, run its calls, until it answers without one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qianda.agents.asking import hear
from qianda.agents.calls import run_calls
from qianda.agents.context import ContextWindow
from qianda.agents.conversation import call_ids, reply_message, unique_calls
from qianda.agents.ladder import Ladder
from qianda.agents.output import Answer, Goal
from qianda.agents.plan import proposed_answer
from qianda.agents.resources import Resources
from qianda.models.events import Notice
from qianda.models.forcing import Forced
from qianda.models.reply import Reply
from qianda.models.thinking import Thinking

if TYPE_CHECKING:
    from qianda.agents.run import Run


async def run_loop(run: Run[Any], resources: Resources) -> Answer:
    """Run until the model has answered.

    Everything that must not happen twice goes through the journal: a resumed run takes the same path and finds the
    recorded results.

    Returns:
        The answer: the text of a reply without calls, or what the output type made of it.

    Raises:
        LimitReached: a limit of the run was reached.
        ServerError: the model server failed.
        ModelOutputError: the model gave nothing to work with, or nothing that fits the output type.
    """
    journal, limits, client = resources.journal, resources.limits, resources.client
    window, goal, ladder = ContextWindow(run, resources), Goal(resources), Ladder()
    turn = calls = 0
    thinking: Thinking | None = None  # less than was wanted, where that may help
    taken = call_ids(run.conversation)

    async def ask_once(forced: Forced | None) -> Reply:
        way = goal.request
        fields, think = way.fields, way.thinking or thinking
        if forced:
            fields, think = {**(fields or {}), **forced.fields}, forced.thinking or think
        batches = client.ask(run.conversation, way.tools, window.encoder, fields=fields, thinking=think)
        return unique_calls(await hear(run, batches), taken)

    while True:
        run.take_steering()
        resources.follow_servers()
        while run.heard and resources.notices:
            run.emit(Notice, text=resources.notices.pop(0))
        run.check_turn(turn)
        await window.fit(turn)
        ask = partial(window.asked, partial(ladder.ask, run, resources, turn, ask_once))
        reply = await journal.step(run.id, f"turn/{turn}", ask, kind="model", repeat="safe", returns=Reply)
        window.note(reply.usage)
        run.add_usage(reply.usage)
        message = reply_message(reply, run.id, turn)
        taken.update(call.id for call in message.tool_calls)
        if message.tool_calls:
            run.conversation.append(message)
            calls += len(message.tool_calls)
            limits.check_calls(calls)
            await run_calls(run, resources, message, reply.broken, turn, ladder=ladder)
            thinking = ladder.calmed(client)
        elif message.content:
            run.conversation.append(message)
            if ladder.nudged(run, resources, reply):
                turn += 1
                continue
        else:
            thinking = ladder.emptied(run, resources, reply, thinking)
        turn += 1
        if (message.tool_calls or message.content) and not run.has_steering:
            answer = proposed_answer(run, resources) or goal.reached(run, message, reply)
            if answer is not None:
                return answer
