"""Events while a run goes on, and an approval: the agent may look at files, and asks before it changes one.

    python examples/watch_a_run.py "Which files are here? Write their number into count.txt."

It works in the current folder.
"""

import asyncio
import sys

from qianda import Agent, Decision, files
from qianda.models.events import ApprovalAsked, CallDenied, CallFailed, CallFinished, CallStarted, RunStarted, TextDelta


async def main(prompt: str) -> None:
    """Run the prompt in the current folder and print what happens."""
    agent = Agent(tools=files(), permissions="ask")
    async with agent.stream(prompt) as run:
        async for event in run:
            match event:
                case RunStarted():
                    print(f"{event.model}, because {event.why}")
                case CallStarted():
                    print(f"-> {event.name} {event.arguments}")
                case ApprovalAsked():
                    answer = await asyncio.to_thread(input, f"   {event.reason}. Allow it? [y/N] ")
                    run.answer(event.request_id, Decision.allow() if answer == "y" else Decision.deny("not now"))
                case CallFinished():
                    print(f"<- {event.name} done in {event.seconds:.1f} s")
                case CallFailed():
                    print(f"<- {event.name} failed: {event.error}")
                case CallDenied():
                    print(f"<- {event.name} denied: {event.reason}")
                case TextDelta():
                    print(event.text, end="", flush=True)
                case _:
                    pass
    print()


asyncio.run(main(" ".join(sys.argv[1:]) or "Which files are here?"))
