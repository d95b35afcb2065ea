"""The trace: requests, calls and what became of them, while a run goes on and afterwards, within bounds."""

from __future__ import annotations

from typing import Any

from tui_person import chatting

from qianda import tool
from qianda.models.events import ApprovalAsked, CallFinished, CallProgress, CallStarted, InputReceived
from qianda.testing import Call, Turn
from qianda.testing.script import Fault
from qianda.tools.builtin import write_file
from qianda.tui import trace
from qianda.tui.trace import Trace


@tool(read_only=True)
async def look(where: str) -> str:
    """Look somewhere.

    Args:
        where: a place.
    """
    if where == "nowhere":
        raise ValueError("there is no such place")
    return f"{where} is fine"


async def test_requests_calls_retries_and_denials() -> None:
    script = (
        Turn(calls=[Call("look", {"where": "here"}), Call("look", {"where": "nowhere"})]),
        Fault.status(503),
        Turn(calls=[Call("write_file", {"path": "a.txt", "content": "a"})]),
        "All is well.",
    )
    async with chatting(*script, tools=[look, write_file], permissions="ask", size=(120, 40)) as person:
        person.app.chat_screen.editor.insert("Look around")
        await person.press("enter", "f9")
        await person.sees("The model waits for your answer", "asking")  # the trace follows the run
        await person.press("escape", "enter")
        await person.until(lambda: not person.app.chat.busy)
        await person.press("f9")
        await person.sees("prompt", "Look around", "tokens, first", "retry", "503", "attempt 2", "denied by you")
        assert "done" in person.line('"here"')
        assert "failed" in person.line('"nowhere"')
        assert "▸" in person.line("end")
        await person.press("home")
        await person.press(*["down"] * 3)
        await person.sees("here is fine", '"where": "here"')
        await person.press("enter", "escape", "c")
        await person.sees("Copied")
        assert "here is fine" in person.app.clipboard
        await person.press("slash")
        await person.types("denied")
        await person.sees_no("retry")
        await person.sees("write_file")


def test_a_call_that_says_something_is_not_asking_any_more() -> None:
    trace = Trace()
    told: list[bool] = []
    trace.watchers.add(lambda: told.append(trace.steps[-1].runs))
    call: dict[str, Any] = {"run_id": "r", "seq": 0, "time": 1.0, "call_id": "a", "name": "run_command"}
    trace.note(CallStarted(**call, arguments="{}"))
    trace.note(ApprovalAsked(**call, request_id="q", arguments="{}", description="", reason="it may"))
    for _ in range(3):
        trace.note(CallProgress(**call, text="made\n"))
    assert told == [False, False, True]


async def test_it_follows_a_run() -> None:
    async with chatting() as person:
        await person.press("f9")
        await person.sees("Nothing happened yet")
        person.app.chat.trace.note(CallStarted(run_id="r", seq=0, time=0.0, call_id="1", name="look", arguments="{}"))
        await person.sees("look {}", "running")
        person.app.chat.trace.note(
            CallFinished(run_id="r", seq=1, time=0.1, call_id="1", name="look", content="fine", seconds=0.1)
        )
        await person.sees("done 0.1 s")
        await person.sees_no("running")


def test_it_keeps_to_its_bounds() -> None:
    kept = Trace()
    for number in range(trace.MOST + 50):
        kept.note(InputReceived(run_id="r", seq=number, time=0.0, content="x"))
    assert len(kept.steps) == trace.MOST
    kept.clear()
    for number in range(30):
        call, at = str(number), 2 * number
        kept.note(CallStarted(run_id="r", time=0.0, seq=at, call_id=call, name="look", arguments="{}"))
        text = "y" * 1_000_000
        kept.note(CallFinished(run_id="r", time=0.0, seq=at + 1, call_id=call, name="look", content=text, seconds=0.1))
    assert 5 < len(kept.steps) < 12
    assert kept.steps[-1].end is not None
