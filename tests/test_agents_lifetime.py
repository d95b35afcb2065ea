"""From opening to closing: agents, runs and connections under cancellation, in several event loops, side by side."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import suppress
from typing import Any

import pytest

from qianda import (
    Agent,
    ApprovalRequest,
    ConfigurationError,
    Context,
    Decision,
    LimitReached,
    Limits,
    Run,
    ServerUnreachable,
    ToolMessage,
    files,
    open_journal,
    tool,
)
from qianda.agents import agent as agent_module
from qianda.models.embedded import EmbeddedServer
from qianda.models.events import ApprovalAsked, CallDenied, CallFinished, Event, Notice, RunFinished, TextDelta
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.testing import Call, EchoServer, Fault, ScriptedServer, Turn
from qianda.testing.http_server import Request, Response

WRITE = Turn(calls=[Call("write_file", {"path": "a.txt", "content": "hi"})])


def runs_going_on() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("qianda run")]


async def events_of(run: Run) -> list[Event]:
    async with asyncio.timeout(50), run:
        return [event async for event in run]


class Waiting(EchoServer):
    """Says when it is asked for its models, and waits to be let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def answer(self, request: Request, response: Response) -> None:
        """Answer when it may."""
        self.asked.set()
        await self.go.wait()
        await super().answer(request, response)


class TestCancelling:
    """Whoever is cancelled, wherever, leaves nothing running."""

    @pytest.mark.parametrize("steps", range(12))
    async def test_at_each_of_the_first_steps(self, steps: int) -> None:
        async with asyncio.timeout(50), EchoServer() as server:
            task = asyncio.create_task(Agent(server=server.url).run("go"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert runs_going_on() == []

    async def test_while_the_agent_opens(self) -> None:
        async with asyncio.timeout(50), Waiting() as server:
            agent = Agent(server=server.url)
            async with agent.stream("one") as run:
                await server.asked.wait()
                other = asyncio.create_task(agent.run("two"))
                run.cancel()
                run.cancel()
                assert (await run.wait()).finish == "cancelled"
                assert [type(event) async for event in run] == [RunFinished]
            server.go.set()
            assert (await other).output == "two"

    async def test_while_someone_is_asked(self, tmp_path: Any) -> None:
        asked = asyncio.Event()

        async def approve(request: ApprovalRequest) -> bool:
            asked.set()
            return await asyncio.Future()

        async with asyncio.timeout(50), ScriptedServer(WRITE) as server:
            agent = Agent(server=server.url, tools=files(), workspace=tmp_path, approve=approve)
            async with agent.stream("go") as run:
                await asked.wait()
                run.cancel()
                result = await run.wait()
        assert result.finish == "cancelled"
        assert [message.role for message in result.messages] == ["user", "assistant", "tool"]
        assert not (tmp_path / "a.txt").exists()

    async def test_an_answer_that_comes_too_late_is_no_error(self, tmp_path: Any) -> None:
        async with asyncio.timeout(50), ScriptedServer(WRITE) as server:
            agent = Agent(server=server.url, tools=files(), workspace=tmp_path)
            async with agent.stream("go") as run:
                async for event in run:
                    if isinstance(event, ApprovalAsked):
                        run.cancel()
                        run.answer(event.request_id, True)
                        with pytest.raises(LookupError):
                            run.answer(event.request_id, True)
        assert run.result.finish == "cancelled"
        assert not (tmp_path / "a.txt").exists()

    async def test_a_tool_that_swallows_it_stops_the_run_and_is_remembered(self) -> None:
        begun = asyncio.Event()

        @tool
        async def stubborn() -> str:
            """Does not want to stop."""
            begun.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Future()
            return "done all the same"

        async with asyncio.timeout(50), ScriptedServer(Turn(calls=[Call("stubborn")]), "never asked") as server:
            agent = Agent(server=server.url, tools=[stubborn])
            async with agent.stream("go") as run:
                await begun.wait()
                run.cancel()
                result = await run.wait()
        assert result.finish == "cancelled"
        assert result.messages[-1].content == "done all the same"
        assert len(server.requests) == 1

    async def test_while_a_retry_is_waited_for(self) -> None:
        async with asyncio.timeout(50), ScriptedServer(Fault.status(429, retry_after=60)) as server:
            async with Agent(server=server.url).stream("go") as run:
                async for event in run:
                    if event.type == "retrying":
                        break
            assert run.result.finish == "cancelled"

    async def test_leaving_early_closes_the_connection(self) -> None:
        async with asyncio.timeout(50), ScriptedServer(Turn("a b c d", fault=Fault.hang(after=3))) as server:
            async with Agent(server=server.url).stream("go") as run:
                async for event in run:
                    if isinstance(event, TextDelta):
                        break
            await server.wait_disconnects()
        assert run.result.finish == "cancelled"
        with pytest.raises(RuntimeError, match="only once"):
            await run.__aenter__()

    async def test_between_two_calls_the_result_is_fit_to_go_on(self) -> None:
        begun = asyncio.Event()

        @tool
        async def quick() -> str:
            """Quick."""
            await begun.wait()
            return "done"

        @tool
        async def endless() -> str:
            """Endless."""
            begun.set()
            await asyncio.Future()
            return ""

        calls = [Call("endless", id="e"), Call("quick", id="q")]
        async with asyncio.timeout(50), ScriptedServer(Turn(calls=calls), "fine") as server:
            agent = Agent(server=server.url, tools=[quick, endless])
            async with agent.stream("go") as run:
                async for event in run:
                    if isinstance(event, CallFinished):
                        run.cancel()
            await agent.run("and now?", history=run.result.messages)
        told = {message["tool_call_id"]: message["content"] for message in server.requests[1]["messages"][2:4]}
        assert told["q"] == "done"
        assert "unknown" in told["e"]


class TestLimits:
    """What there is when a limit ends a run."""

    async def test_every_call_of_the_partial_result_has_an_answer(self) -> None:
        @tool
        async def look() -> str:
            """Looks."""
            return "seen"

        async with ScriptedServer(Turn(calls=[Call("look"), Call("look")]), "fine") as server:
            agent = Agent(server=server.url, tools=[look], limits=Limits(tool_calls=1))
            with pytest.raises(LimitReached) as caught:
                await agent.run("go")
            messages = caught.value.result.messages
            assert [message.role for message in messages] == ["user", "assistant", "tool", "tool"]
            assert (await agent.run("go on", history=messages)).output == "fine"

    async def test_the_time_runs_while_someone_is_asked(self, tmp_path: Any) -> None:
        async def approve(request: ApprovalRequest) -> bool:
            return await asyncio.Future()

        async with asyncio.timeout(50), ScriptedServer(WRITE) as server:
            limits = Limits(seconds=0.3)
            agent = Agent(server=server.url, tools=files(), workspace=tmp_path, approve=approve, limits=limits)
            with pytest.raises(LimitReached, match="seconds"):
                await agent.run("go")
        assert not (tmp_path / "a.txt").exists()


class TestApprove:
    """A callback that fails has not agreed."""

    @pytest.mark.parametrize("how", ["raises", "gives nothing", "is cancelled", "is not async"])
    async def test_it_counts_as_a_refusal_that_says_why(self, how: str, tmp_path: Any) -> None:
        async def approve(request: ApprovalRequest) -> Any:
            if how == "raises":
                raise ConnectionError("the phone is off")
            if how == "is cancelled":
                raise asyncio.CancelledError
            return None

        callback: Any = approve if how != "is not async" else lambda request: True  # pyright: ignore[reportUnknownLambdaType] -- a user's mistake
        async with ScriptedServer(WRITE, "sorry") as server:
            agent = Agent(server=server.url, tools=files(), workspace=tmp_path, approve=callback)
            events = await events_of(agent.stream("go"))
        denied = [event for event in events if isinstance(event, CallDenied)]
        assert [event.by for event in denied] == ["nobody"]
        assert "the question failed" in denied[0].reason
        assert ("the phone is off" in denied[0].reason) is (how == "raises")
        assert server.requests[1]["messages"][-1]["content"] == denied[0].reason
        assert isinstance(events[-1], RunFinished)
        assert events[-1].output == "sorry"

    async def test_who_only_waits_for_the_end_answers_nothing(self, tmp_path: Any) -> None:
        async with ScriptedServer(WRITE, "sorry") as server:
            agent = Agent(server=server.url, tools=files(), workspace=tmp_path)
            async with asyncio.timeout(50), agent.stream("go") as run:
                assert (await run.wait()).output == "sorry"

    async def test_who_reads_and_waits_is_asked(self, tmp_path: Any) -> None:
        async with ScriptedServer(WRITE, "fine") as server:
            agent = Agent(server=server.url, tools=files(), workspace=tmp_path)
            async with asyncio.timeout(50), agent.stream("go") as run:
                end = asyncio.create_task(run.wait())
                async for event in run:
                    if isinstance(event, ApprovalAsked):
                        run.answer(event.request_id, Decision.allow())
                await end
        assert (tmp_path / "a.txt").read_text() == "hi"


class TestSeveralLoops:
    """Connections belong to an event loop, an agent does not."""

    async def test_in_threads_beside_an_open_one(self) -> None:
        async with asyncio.timeout(20), EchoServer() as server, Agent(server=server.url) as agent:
            threads = [asyncio.to_thread(agent.run_sync, f"thread {n}") for n in range(4)]
            here = [agent.run(f"here {n}") for n in range(4)]
            results = await asyncio.gather(*threads, *here)
        assert [result.output for result in results] == [
            f"{where} {n}" for where in ("thread", "here") for n in range(4)
        ]

    async def test_one_after_another(self) -> None:
        async with asyncio.timeout(20), EchoServer() as server:
            agent = Agent(server=server.url)
            session = agent.session("s")
            for text in ("a", "b"):
                assert (await asyncio.to_thread(agent.run_sync, text)).output == text
                assert (await asyncio.to_thread(session.run_sync, text)).output == text
            assert len(session.messages) == 4

    async def test_run_sync_of_a_session_inside_a_loop_is_explained(self) -> None:
        with pytest.raises(ConfigurationError, match="run_sync"):
            Agent(server="http://127.0.0.1:9").session("s").run_sync("x")
        gc.collect()  # a coroutine that was never awaited would warn now


async def test_two_that_open_at_once_each_hear_what_is_wrong() -> None:
    async with ScriptedServer() as server:
        url = server.url
    agent = Agent(server=url)
    results = await asyncio.gather(agent.run("a"), agent.run("b"), return_exceptions=True)
    assert [type(result) for result in results] == [ServerUnreachable] * 2


class TestEngine:
    """An embedded engine that the agent chose is closed with the agent, not before."""

    @pytest.fixture
    def closed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        closed: list[str] = []

        class Engine(EmbeddedServer):
            def close(self) -> None:
                closed.append(self.model)

        async def choose(*, server: str, **rest: Any) -> Endpoint:
            engine = Engine(url=server, api_key="k", model="qwen3-8b", window=1, demo=False)
            kind = server_kinds()["embedded"]
            return Endpoint(url=server, kind=kind, model="qwen3-8b", why="", engine=engine)

        monkeypatch.setattr(agent_module, "resolve", choose)
        return closed

    async def test_not_while_a_run_goes_on(self, closed: list[str]) -> None:
        async with asyncio.timeout(50), EchoServer() as server:
            agent = Agent(server=server.url)
            async with agent, agent.stream("one") as run:
                await run.wait()
            assert closed == ["qwen3-8b"]
            async with agent.stream("two") as run:
                async with agent:
                    pass
                assert len(closed) == 1
                assert (await run.wait()).output == "two"
            async with agent:
                assert (await agent.run("three")).output == "three"
            assert len(closed) == 2


async def test_what_went_wrong_in_opening_is_said_once() -> None:
    async with asyncio.timeout(20), EchoServer() as server:
        agent = Agent(server=server.url, mcp_servers=[f"{sys.executable}-nonexistent"])
        async with agent:
            first, second = [await events_of(agent.stream(text)) for text in ("a", "b")]
    assert len([event for event in first if isinstance(event, Notice)]) == 1
    assert [event for event in second if isinstance(event, Notice)] == []


async def test_nothing_comes_after_the_end() -> None:
    late: list[Context] = []

    @tool
    async def begin(context: Context) -> str:
        """Begins."""
        late.append(context)
        return "begun"

    async with ScriptedServer(Turn(calls=[Call("begin")]), "fine") as server:
        run = Agent(server=server.url, tools=[begin]).stream("go")
        async with asyncio.timeout(50), run:
            await run.wait()
            late[0].progress("still here")
            events = [event async for event in run]
    assert isinstance(events[-1], RunFinished)


async def test_text_that_is_no_unicode_is_sent_as_well_as_it_can_be() -> None:
    async with ScriptedServer("fine") as server:
        run = Agent(server=server.url, instructions="In \udcff.").stream("caf\udce9 ok")
        events = await events_of(run)
    assert [message["content"] for message in server.requests[0]["messages"]] == ["In ?.", "caf? ok"]
    assert isinstance(events[-1], RunFinished)
    assert events[-1].reason == "done"


async def test_an_agent_that_stays_open_does_not_collect_its_runs() -> None:
    async with EchoServer() as server, Agent(server=server.url) as agent:
        async with agent.opened() as one, agent.opened() as two:
            assert one.journal is not two.journal
            assert one.client is two.client
        mine = open_journal(None)
        kept = Agent(server=server.url, journal=mine)
        result = await kept.run("x")
    assert list(mine.records(result.run_id))


async def test_call_ids_stay_apart_over_the_runs_of_a_session() -> None:
    @tool
    async def look() -> str:
        """Looks."""
        return "seen"

    raw = Turn(raw='<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>')
    cut = Turn(calls=[Call("look", '{"a": "')], finish="length")
    async with ScriptedServer(raw, raw, cut, "one", raw, raw, cut, "two") as server:
        session = Agent(server=server.url, tools=[look], journal=open_journal(None)).session("s")
        await session.run("first")
        await session.run("second")
    ids = [message.call_id for message in session.messages if isinstance(message, ToolMessage)]
    assert len(ids) == 6
    assert len(set(ids)) == 6
