"""Qianda in editors: the agent's side of the Agent Client Protocol, spoken to by the SDK's own client."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from acp import RequestError, audio_block, connect_to_agent, image_block, resource_link_block, text_block
from acp.agent.connection import AgentSideConnection
from acp.schema import (
    AcceptElicitationResponse,
    AllowedOutcome,
    BlobResourceContents,
    ClientCapabilities,
    DeclineElicitationResponse,
    DeniedOutcome,
    ElicitationCapabilities,
    ElicitationFormCapabilities,
    EmbeddedResourceContentBlock,
    EnvVariable,
    HttpHeader,
    HttpMcpServer,
    McpServerStdio,
    RequestPermissionResponse,
    SseMcpServer,
    TextResourceContents,
)

from qianda.cli.acp_server.agent import EditorAgent
from qianda.cli.acp_server.content import content_blocks, mcp_server, prompt_content
from qianda.cli.main import main
from qianda.cli.opening import Choices
from qianda.models.config import user_config_path
from qianda.models.detection import FoundModel, FoundServer
from qianda.models.messages import MediaPart, TextPart
from qianda.models.servers import server_kinds
from qianda.testing import Call, Fault, ScriptedServer, Turn

FORMS = ClientCapabilities(elicitation=ElicitationCapabilities(form=ElicitationFormCapabilities()))


class Editor:
    """An editor: keeps what it is told, and answers as the test says."""

    def __init__(self) -> None:
        self.updates: list[Any] = []
        self.sessions: list[str] = []
        self.asked: list[Any] = []
        self.answers: list[Any] = []
        self.forms: list[Any] = []
        self.filled: list[Any] = []
        self.came = asyncio.Condition()

    async def session_update(self, session_id: str, update: Any, **_rest: Any) -> None:
        async with self.came:
            self.updates.append(update)
            self.sessions.append(session_id)
            self.came.notify_all()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: Any, **_rest: Any
    ) -> RequestPermissionResponse:
        self.asked.append((tool_call, options))
        answer: Any = self.answers.pop(0)
        if isinstance(answer, asyncio.Event):
            answer.set()
            await asyncio.Event().wait()
        if answer is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=str(answer)))

    async def create_elicitation(self, message: str, mode: Any, **_rest: Any) -> Any:
        self.forms.append((message, mode.requested_schema))
        return self.filled.pop(0)

    def on_connect(self, conn: Any) -> None:
        pass

    def of(self, kind: str) -> list[Any]:
        return [update for update in self.updates if update.session_update == kind]

    def text(self, kind: str = "agent_message_chunk") -> str:
        return "".join(update.content.text for update in self.of(kind))

    async def until(self, seen: Callable[[], Any]) -> None:
        async with asyncio.timeout(20), self.came:
            await self.came.wait_for(seen)

    def calls(self) -> list[dict[str, Any]]:
        """Each call as it stands after its updates."""
        calls: dict[str, dict[str, Any]] = {}
        for update in self.updates:
            if update.session_update in ("tool_call", "tool_call_update"):
                call = calls.setdefault(update.tool_call_id, {"states": []})
                fields = update.model_dump(exclude_none=True)
                call |= fields
                call["states"].append(fields.get("status"))
        return list(calls.values())


def memory_pair() -> tuple[Any, Any]:
    from acp._transport import memory_transport_pair

    return memory_transport_pair()


@asynccontextmanager
async def connected(
    server: ScriptedServer | None, *, forms: bool = False, **choices: Any
) -> AsyncGenerator[tuple[Any, Editor]]:
    """The SDK's client, connected and initialized, and the editor that it speaks for."""
    ours, theirs = memory_pair()
    agent = EditorAgent(Choices(server=server.url if server else None, sandbox=False, **choices))
    made: Any = agent
    side = AgentSideConnection(made, ours, use_unstable_protocol=True)
    editor = Editor()
    faced: Any = editor
    client = connect_to_agent(faced, theirs, use_unstable_protocol=True)
    try:
        await client.initialize(protocol_version=1, client_capabilities=FORMS if forms else ClientCapabilities())
        yield client, editor
    finally:
        await agent.close()
        await client.close()
        await side.close()


async def test_it_says_what_it_can() -> None:
    ours, theirs = memory_pair()
    made: Any = EditorAgent(Choices())
    side = AgentSideConnection(made, ours)
    editor: Any = Editor()
    client = connect_to_agent(editor, theirs)
    said = await client.initialize(protocol_version=1)
    assert (said.protocol_version, said.auth_methods) == (1, [])
    assert said.agent_info is not None
    assert said.agent_info.title == "Qianda"
    assert said.agent_capabilities is not None
    assert said.agent_capabilities.load_session
    assert said.agent_capabilities.prompt_capabilities is not None
    assert said.agent_capabilities.prompt_capabilities.image
    await client.close()
    await side.close()


async def test_a_prompt_streams_thinking_a_read_file_and_the_answer(tmp_path: Path) -> None:
    (tmp_path / "price.txt").write_text("1\n2\n14\n")
    first = Turn(
        "Let me look. ", reasoning="Where is it?", calls=[Call("read_file", {"path": "price.txt", "lines": "2-3"})]
    )
    async with ScriptedServer(first, Turn("It is 14.")) as server, connected(server) as (client, editor):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        done = await client.prompt(session_id=session.session_id, prompt=[text_block("What is the price?")])
        assert done.stop_reason == "end_turn"
    assert editor.text("agent_thought_chunk").strip() == "Where is it?"
    assert editor.text() == "Let me look. \n\nIt is 14."
    (call,) = editor.calls()
    assert (call["title"], call["kind"], call["status"]) == ("Read price.txt", "read", "completed")
    assert call["states"][-2:] == ["in_progress", "completed"]
    assert [(place["path"], place["line"]) for place in call["locations"]] == [(str(tmp_path / "price.txt"), 2)]
    assert "14" in call["content"][0]["content"]["text"]
    assert call["content"][0]["content"]["text"].startswith("```")
    assert editor.of("usage_update")[-1].size == 262_144
    assert [update.title for update in editor.of("session_info_update")] == ["What is the price?"]


async def test_an_approval_shows_the_difference_and_the_exact_rule(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\ny = 2\n")
    edit = Call("edit_file", {"path": "a.py", "old_text": "y = 2", "new_text": "y = 3"})
    async with (
        ScriptedServer(Turn(calls=[edit]), Turn("Done."), window=32_768) as server,
        connected(server) as (client, editor),
    ):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        editor.answers = ["once"]
        done = await client.prompt(session_id=session.session_id, prompt=[text_block("Change y")])
    assert done.stop_reason == "end_turn"
    ((asked, options),) = editor.asked
    names = [(option.option_id, option.kind) for option in options]
    assert names == [
        ("no", "reject_once"),
        ("once", "allow_once"),
        ("session", "allow_always"),
        ("rule", "allow_always"),
    ]
    assert "edit_file(=a.py)" in options[-1].name
    assert (asked.content[0].old_text, asked.content[0].new_text) == ("x = 1\ny = 2\n", "x = 1\ny = 3\n")
    assert "may change something" in asked.content[1].content.text
    (call,) = editor.calls()
    assert call["tool_call_id"] == asked.tool_call_id
    assert (call["title"], call["kind"], call["status"]) == ("Edit a.py", "edit", "completed")
    assert call["locations"][0]["line"] == 2
    (diff,) = call["content"]
    assert (diff["type"], diff["old_text"], diff["new_text"]) == ("diff", "x = 1\ny = 2\n", "x = 1\ny = 3\n")
    assert editor.of("usage_update")[-1].size == 32_768


async def test_what_is_allowed_unasked_still_shows_its_difference(tmp_path: Path) -> None:
    write = Call("write_file", {"path": "new.txt", "content": "hello\n"})
    async with (
        ScriptedServer(Turn(calls=[write]), Turn("Done.")) as server,
        connected(server, permissions="edits") as (client, editor),
    ):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        await client.prompt(session_id=session.session_id, prompt=[text_block("Write")])
    assert editor.asked == []
    (call,) = editor.calls()
    assert [(diff.get("old_text"), diff["new_text"]) for diff in call["content"]] == [(None, "hello\n")]


@pytest.mark.parametrize("answer", ["no", None])
async def test_a_denied_call_is_unmistakably_failed(answer: str | None, tmp_path: Path) -> None:
    run = Call("run_command", {"command": "touch gone"})
    async with ScriptedServer(Turn(calls=[run]), Turn("Then not.")) as server, connected(server) as (client, editor):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        editor.answers = [answer]
        await client.prompt(session_id=session.session_id, prompt=[text_block("Do it")])
        told = server.requests[-1]["messages"][-1]["content"]
    assert "touch gone" in editor.asked[0][0].content[0].content.text
    (call,) = editor.calls()
    assert (call["status"], call["title"]) == ("failed", "⊘ Denied: `touch gone`")
    assert "by you" in call["content"][0]["content"]["text"]
    assert "said no" in told
    assert not (tmp_path / "gone").exists()


async def test_a_reason_for_no_reaches_the_model_where_the_editor_has_forms(tmp_path: Path) -> None:
    run = Call("run_command", {"command": "touch gone"})
    async with (
        ScriptedServer(Turn(calls=[run]), Turn("Then not.")) as server,
        connected(server, forms=True) as (client, editor),
    ):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        editor.answers = ["no-because"]
        editor.filled = [AcceptElicitationResponse(action="accept", content={"text": "use git mv"})]
        await client.prompt(session_id=session.session_id, prompt=[text_block("Do it")])
        assert "use git mv" in server.requests[-1]["messages"][-1]["content"]


async def test_cancel_stops_the_run_and_its_open_question(tmp_path: Path) -> None:
    run = Call("run_command", {"command": "touch gone"})
    async with ScriptedServer(Turn(calls=[run]), Turn("And on.")) as server, connected(server) as (client, editor):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        asked = asyncio.Event()
        editor.answers = [asked]
        prompting = asyncio.create_task(client.prompt(session_id=session.session_id, prompt=[text_block("Do it")]))
        async with asyncio.timeout(20):
            await asked.wait()
            await client.cancel(session_id=session.session_id)
            assert (await prompting).stop_reason == "cancelled"
            assert editor.calls()[0]["status"] == "failed"
            done = await client.prompt(session_id=session.session_id, prompt=[text_block("Go on")])
        assert (done.stop_reason, editor.text()) == ("end_turn", "And on.")
    assert not (tmp_path / "gone").exists()


async def test_two_sessions_run_at_once_and_a_second_prompt_waits(tmp_path: Path) -> None:
    both = asyncio.Event()
    count = 0

    async def wait(body: dict[str, Any]) -> Turn:
        nonlocal count
        count += 1
        if count == 2:
            both.set()
        await both.wait()
        return Turn(f"You said {body['messages'][-1]['content']}.")

    async with ScriptedServer(default=wait) as server, connected(server) as (client, editor):
        one, two = [await client.new_session(cwd=str(tmp_path), mcp_servers=[]) for _ in range(2)]
        async with asyncio.timeout(20):
            done = await asyncio.gather(
                *(
                    client.prompt(session_id=session.session_id, prompt=[text_block(text)])
                    for session, text in ((one, "A"), (two, "B"), (one, "C"))
                )
            )
    assert [each.stop_reason for each in done] == ["end_turn"] * 3
    said = {one.session_id: "", two.session_id: ""}
    for name, update in zip(editor.sessions, editor.updates, strict=True):
        said[name] += update.content.text if update.session_update == "agent_message_chunk" else ""
    assert list(said.values()) == ["You said A.You said C.", "You said B."]


async def test_prompts_carry_pictures_files_and_links(tmp_path: Path) -> None:
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    file = EmbeddedResourceContentBlock(
        type="resource", resource=TextResourceContents(uri=(tmp_path / "a b.py").as_uri(), text="x = 1\n")
    )
    link = resource_link_block("readme", (tmp_path / "README.md").as_uri())
    async with ScriptedServer(Turn("A")) as server, connected(server) as (client, _editor):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        blocks = [text_block("Compare "), file, text_block(" and "), link, image_block(picture, "image/png")]
        await client.prompt(session_id=session.session_id, prompt=blocks)
        text, image = server.requests[-1]["messages"][-1]["content"]
    assert text["text"] == 'Compare a b.py and README.md\n\n<file name="a b.py">\nx = 1\n</file>'
    assert image["image_url"]["url"] == f"data:image/png;base64,{picture}"


async def test_plans_are_shown_and_accepted_in_plan_mode(tmp_path: Path) -> None:
    plan = Call("plan", {"steps": ["Look", "Write"]})
    write = Call("write_file", {"path": "a.txt", "content": "1"})
    done = Call("plan", {"step": 1, "state": "done"})
    turns = [
        Turn(calls=[plan]),
        Turn(calls=[done]),
        Turn(calls=[write]),
        Turn(calls=[Call("plan", {"state": "done"})]),
        Turn("All done."),
    ]
    async with ScriptedServer(*turns) as server, connected(server, permissions="edits") as (client, editor):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        assert session.modes.current_mode_id == "edits"
        assert [mode.id for mode in session.modes.available_modes] == ["read-only", "ask", "edits", "auto", "plan"]
        await client.set_session_mode(session_id=session.session_id, mode_id="plan")
        editor.answers = ["Accept the plan"]
        await client.prompt(session_id=session.session_id, prompt=[text_block("Write a.txt")])
    ((asked, options),) = editor.asked
    assert [option.kind for option in options] == ["reject_once", "allow_once"]
    assert asked.title == "Carry out this plan?"
    assert "1. [ ] Look" in asked.content[0].content.text
    states = [[entry.status for entry in update.entries] for update in editor.of("plan")]
    assert states[0] == ["pending", "pending"]
    assert ["completed", "in_progress"] in states
    assert states[-1] == ["completed", "completed"]
    assert (tmp_path / "a.txt").read_text() == "1"


async def test_modes_and_switches(tmp_path: Path) -> None:
    write = Call("write_file", {"path": "a.txt", "content": "1"})
    turns = [Turn(calls=[write]), Turn("No."), Turn(calls=[write]), Turn("Yes."), Turn("Thought.")]
    async with ScriptedServer(*turns) as server, connected(server) as (client, editor):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        name = session.session_id
        switches = {option.id: option for option in session.config_options}
        assert [switches[each].current_value for each in ("mode", "thinking")] == ["ask", "default"]
        assert switches["model"].current_value == f"qwen3-8b at {server.url}"
        assert switches["model"].current_value in [option.value for option in switches["model"].options]
        await client.set_config_option(config_id="mode", session_id=name, value="read-only")
        assert [update.current_mode_id for update in editor.of("current_mode_update")] == ["read-only"]
        await client.prompt(session_id=name, prompt=[text_block("Write")])
        assert editor.calls()[0]["status"] == "failed"
        await client.set_session_mode(session_id=name, mode_id="auto")
        assert editor.of("config_option_update")[-1].config_options[0].current_value == "auto"
        await client.prompt(session_id=name, prompt=[text_block("Write")])
        assert (tmp_path / "a.txt").exists()
        said = await client.set_config_option(config_id="thinking", session_id=name, value="off")
        assert [option.current_value for option in said.config_options] == ["auto", f"qwen3-8b at {server.url}", "off"]
        await client.prompt(session_id=name, prompt=[text_block("And?")])
        assert server.requests[-1]["chat_template_kwargs"] == {"enable_thinking": False}
        with pytest.raises(RequestError, match="no mode 'wild'"):
            await client.set_session_mode(session_id=name, mode_id="wild")


async def test_another_model_takes_the_conversation_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        ScriptedServer(Turn("One.", reasoning="hm")) as first,
        ScriptedServer(Turn("Two."), model="qwen3-32b") as second,
    ):

        async def found() -> list[FoundServer]:
            return [FoundServer(second.url, server_kinds()["vllm"], (FoundModel("qwen3-32b", None),))]

        monkeypatch.setattr("qianda.cli.acp_server.session.probe_local", found)
        async with connected(first) as (client, editor):
            session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
            name, other = session.session_id, f"qwen3-32b at {second.url}"
            await client.prompt(session_id=name, prompt=[text_block("A")])
            with pytest.raises(RequestError, match="no model 'nowhere'"):
                await client.set_config_option(config_id="model", session_id=name, value="nowhere")
            said = await client.set_config_option(config_id="model", session_id=name, value=other)
            assert said.config_options[1].current_value == other
            await client.prompt(session_id=name, prompt=[text_block("B")])
            assert [message["content"] for message in second.requests[-1]["messages"]][1:] == ["A", "One.", "B"]
    assert editor.text() == "One.Two."


async def test_a_recorded_session_is_listed_loaded_and_gone_on_with(tmp_path: Path) -> None:
    write = Call("write_file", {"path": "a.txt", "content": "1"})
    stop = Call("run_command", {"command": "make"})
    turns = [Turn("Hm. ", reasoning="I think", calls=[write, stop]), Turn("Done."), Turn("As I said.")]
    async with ScriptedServer(*turns) as server:
        async with connected(server) as (client, editor):
            session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
            editor.answers = ["once", "no"]
            await client.prompt(session_id=session.session_id, prompt=[text_block("Write a")])
        async with connected(server) as (client, editor):
            (found,) = (await client.list_sessions(cwd=str(tmp_path))).sessions
            assert (found.session_id, found.cwd, found.title) == (session.session_id, str(tmp_path), "Write a")
            loaded = await client.load_session(cwd=str(tmp_path), session_id=found.session_id, mcp_servers=[])
            assert loaded.modes.current_mode_id == "ask"
            assert editor.text("user_message_chunk") == "Write a"
            assert editor.text("agent_thought_chunk") == "I think"
            assert editor.text() == "Hm.Done."
            written, stopped = editor.calls()
            assert (written["status"], written["content"][0]["new_text"]) == ("completed", "1")
            assert (stopped["status"], stopped["title"]) == ("failed", "⊘ Denied: `make`")
            await client.prompt(session_id=found.session_id, prompt=[text_block("And?")])
            said = [message["content"] for message in server.requests[-1]["messages"]]
            assert "Write a" in said
            with pytest.raises(RequestError, match="no session 'x'") as raised:
                await client.load_session(cwd=str(tmp_path), session_id="x", mcp_servers=[])
            assert raised.value.code == -32002


async def test_questions_of_tools_become_forms_choices_or_a_clear_text(tmp_path: Path) -> None:
    ask = Call("ask_user", {"question": "Which?", "options": ["red", "blue"]})
    free = Call("ask_user", {"question": "Who are you?"})
    turns = [Turn(calls=[ask]), Turn(calls=[free]), Turn("Good.")]
    async with ScriptedServer(*turns, *turns) as server:
        async with connected(server, forms=True) as (client, editor):
            session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
            chosen = AcceptElicitationResponse(action="accept", content={"choice": "blue"})
            editor.filled = [chosen, DeclineElicitationResponse(action="decline")]
            await client.prompt(session_id=session.session_id, prompt=[text_block("Ask")])
            assert "blue" in server.requests[1]["messages"][-1]["content"]
            assert [message for message, _ in editor.forms] == ["Which?", "Who are you?"]
        async with connected(server) as (client, editor):
            session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
            editor.answers = ["0"]
            await client.prompt(session_id=session.session_id, prompt=[text_block("Ask")])
            ((asked, options),) = editor.asked
            assert (asked.title, [option.name for option in options]) == ("Which?", ["red", "blue", "None of these"])
            assert "red" in server.requests[4]["messages"][-1]["content"]
            assert "Ask it in your answer" in server.requests[5]["messages"][-1]["content"]


def all_gone(folder: Path) -> bool:
    """Whether the servers that wrote their ids into a folder have ended."""
    started = [int(file.name.removeprefix("pid-")) for file in folder.glob("pid-*")]
    return started != [] and not any(Path(f"/proc/{pid}").exists() for pid in started)


async def test_the_editors_mcp_servers_are_connected_and_their_questions_asked(tmp_path: Path) -> None:
    env = [EnvVariable(name="PIDS", value=str(tmp_path))]
    fixture = str(Path(__file__).parent / "fixtures/mcp/server.py")
    given = McpServerStdio(name="mine", command=sys.executable, args=["-S", fixture], env=env)
    calls = [Call("mcp__mine__echo", {"text": "hi"}), Call("mcp__mine__ask", {})]
    async with (
        ScriptedServer(Turn(calls=calls), Turn("Ok.")) as server,
        connected(server, forms=True) as (client, editor),
    ):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[given])
        editor.answers = ["session", "once"]
        editor.filled = [AcceptElicitationResponse(action="accept", content={"name": "Ada"})]
        await client.prompt(session_id=session.session_id, prompt=[text_block("Echo")])
    assert [asked.title for asked, _ in editor.asked] == ["mcp__mine__echo text=hi", "mcp__mine__ask"]
    assert "mine" in editor.forms[0][0]
    assert [call["status"] for call in editor.calls()] == ["completed", "completed"]
    assert "hi" in editor.calls()[0]["content"][0]["content"]["text"]
    assert all_gone(tmp_path)


async def test_an_agent_that_works_for_another_is_seen_and_asked_for(tmp_path: Path) -> None:
    agents = user_config_path().with_name("agents")
    agents.mkdir(parents=True)
    (agents / "boss.toml").write_text('tools = ["files"]\nagents = ["hand"]\ninstructions = "Give it on."\n')
    (agents / "hand.toml").write_text('description = "Writes"\ntools = ["files"]\ninstructions = "Write."\n')
    given = Call("task", {"agent": "hand", "task": "Write a.txt"})
    write = Call("write_file", {"path": "a.txt", "content": "1"})
    turns = [Turn(calls=[given]), Turn("Hidden.", calls=[write]), Turn("Written."), Turn("All done.")]
    async with ScriptedServer(*turns) as server, connected(server, agent="boss") as (client, editor):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        editor.answers = ["once"]
        await client.prompt(session_id=session.session_id, prompt=[text_block("Write")])
    task, written = editor.calls()
    assert (task["title"], task["status"]) == ("hand: Write a.txt", "completed")
    assert (written["title"], written["status"]) == ("↳ Write a.txt", "completed")
    assert written["content"][0]["new_text"] == "1"
    ((asked, _),) = editor.asked
    assert (asked.tool_call_id, asked.content[0].new_text) == (written["tool_call_id"], "1")
    assert "the agent hand" in asked.content[1].content.text
    assert len(editor.of("usage_update")) == 2  # of its own context, not the other's
    assert editor.text() == "All done."


def test_servers_and_media_of_the_editor_as_ours(tmp_path: Path) -> None:
    header = HttpHeader(name="Authorization", value="Bearer x")
    for kind in (
        HttpMcpServer(type="http", name="web", url="https://example.org/mcp", headers=[header]),
        SseMcpServer(type="sse", name="web", url="https://example.org/mcp", headers=[header]),
    ):
        made = mcp_server(kind)
        assert (made.url, made.transport, made.headers) == (kind.url, kind.type, {"Authorization": "Bearer x"})
    sound = audio_block("QUJD", "audio/wav")
    blob = BlobResourceContents(uri="https://example.org/a.png", blob="QUJD", mime_type="image/png")
    other = BlobResourceContents(uri="file:///a.bin#L3", blob="QUJD")
    picture, unknown = (EmbeddedResourceContentBlock(type="resource", resource=each) for each in (blob, other))
    content: Any = prompt_content([text_block("Hear "), sound, picture, unknown], tmp_path)
    text, *media = content
    assert text == TextPart("Hear https://example.org/a.png/a.bin (L3)")
    assert media == [MediaPart("audio", "data:audio/wav;base64,QUJD"), MediaPart("image", "data:image/png;base64,QUJD")]
    blocks = content_blocks((TextPart("a"), *media, MediaPart("video", "https://example.org/a.mp4")))
    assert [block.type for block in blocks] == ["text", "audio", "image", "text"]


PROMPTS = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    match asked["method"]:
        case "initialize":
            version = asked["params"]["protocolVersion"]
            info = {"name": "p", "version": "1"}
            result = {"protocolVersion": version, "capabilities": {"prompts": {}}, "serverInfo": info}
        case "prompts/list":
            argument = {"name": "what", "required": True}
            result = {"prompts": [{"name": "review", "description": "Review it", "arguments": [argument]}]}
        case "prompts/get":
            text = "Review " + asked["params"]["arguments"]["what"]
            result = {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}
        case _:
            result = {}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


async def test_skills_and_prompts_of_servers_are_slash_commands(tmp_path: Path) -> None:
    skill = user_config_path().with_name("skills") / "release"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: release\ndescription: How we release\n---\nTag it.\n")
    given = McpServerStdio(name="p", command=sys.executable, args=["-c", PROMPTS], env=[])
    async with ScriptedServer(Turn("A"), Turn("B")) as server, connected(server) as (client, editor):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[given])
        await editor.until(lambda: len(editor.of("available_commands_update")) == 2)
        told = editor.of("available_commands_update")[-1]
        assert [(each.name, each.description) for each in told.available_commands] == [
            ("release", "How we release"),
            ("p:review", "Review it"),
        ]
        for text in ("/release 1.0", "/p:review what=this"):
            await client.prompt(session_id=session.session_id, prompt=[text_block(text)])
        said = [request["messages"][-1]["content"] for request in server.requests]
    assert said == ["Read the skill release with read_skill, then do what it is for. 1.0", "Review this"]


async def test_what_goes_wrong_is_a_clear_error_or_reason(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1")
    read = Turn(calls=[Call("read_file", {"path": "a.txt"})])
    inspected = {
        "error": {"code": "data_inspection_failed", "message": "Output data may contain inappropriate content."}
    }
    turns = [
        Fault.status(400, body={"error": {"message": "no such thing"}}),
        Fault.status(400, body=inspected),
        read,
        "Cut",
    ]
    async with ScriptedServer(*turns) as server, connected(server, limits={"turns": 1}) as (client, editor):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])

        async def prompt() -> str:
            return (await client.prompt(session_id=session.session_id, prompt=[text_block("A")])).stop_reason

        with pytest.raises(RequestError, match="no such thing") as raised:
            await prompt()
        assert (raised.value.code, raised.value.data) == (-32603, {"details": str(raised.value)})
        assert await prompt() == "refusal"
        assert await prompt() == "max_turn_requests"
        assert "limit of 1 turns" in editor.text()
        with pytest.raises(RequestError, match="does not exist"):
            await client.new_session(cwd=str(tmp_path / "nowhere"), mcp_servers=[])
        with pytest.raises(RequestError, match="no session 'x'"):
            await client.prompt(session_id="x", prompt=[text_block("A")])


async def test_no_model_server_is_said_when_a_session_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QIANDA_SERVER", "http://127.0.0.1:9/v1")  # whatever answers on this machine
    async with connected(None, model="nowhere-1b") as (client, _editor):
        with pytest.raises(RequestError, match="No server answers at") as raised:
            await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        assert raised.value.code == -32603


async def test_a_reply_that_breaks_off_and_calls_that_never_came_are_said(tmp_path: Path) -> None:
    broken = Turn("Half an ans", calls=[Call("read_file", {"path": "a.txt"})], fault=Fault.drop(after=4))
    async with ScriptedServer(broken, Turn("The whole answer.")) as server, connected(server) as (client, editor):
        session = await client.new_session(cwd=str(tmp_path), mcp_servers=[])
        await client.prompt(session_id=session.session_id, prompt=[text_block("A")])
    assert "broke off and begins anew" in editor.text()
    assert editor.text().endswith("The whole answer.")
    assert {call["status"] for call in editor.calls()} <= {"failed"}


def send(process: asyncio.subprocess.Process, number: int, method: str, **params: Any) -> None:
    assert process.stdin is not None
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    process.stdin.write(json.dumps(message).encode() + b"\n")


@pytest.mark.parametrize("end", ["eof", "signal"])
async def test_stdout_has_the_protocol_alone_and_the_end_is_clean(end: str, tmp_path: Path) -> None:
    tools = tmp_path / "noisy.py"
    tools.write_text(
        "import os\nfrom qianda import tool\nprint('loud')\n\n"
        "@tool\ndef shout() -> str:\n    \"\"\"Shout.\"\"\"\n    print('LOUD'); os.system('echo LOUDER'); return 'x'\n"
    )
    hangs = asyncio.Event()

    def hang(_body: dict[str, Any]) -> Fault:
        hangs.set()
        return Fault.hang()

    async with ScriptedServer(Turn(calls=[Call("shout", {})]), Turn("Done."), hang) as server:
        command = [sys.executable, "-m", "qianda", "acp", "--server", server.url, "--tools", str(tools), "--no-sandbox"]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stderr is not None
        output = process.stdout
        messages: list[dict[str, Any]] = []

        async def until(number: int) -> Any:
            while not messages or messages[-1].get("id") != number:
                messages.append(json.loads(await output.readline()))
            return messages[-1]["result"]

        async with asyncio.timeout(40):
            send(process, 1, "initialize", protocolVersion=1)
            await until(1)
            send(process, 2, "session/new", cwd=str(tmp_path), mcpServers=[])
            name = (await until(2))["sessionId"]
            send(process, 3, "session/prompt", sessionId=name, prompt=[{"type": "text", "text": "Shout"}])
            assert (await until(3))["stopReason"] == "end_turn"
            send(process, 4, "session/prompt", sessionId=name, prompt=[{"type": "text", "text": "Hang"}])
            await hangs.wait()
            if end == "eof":
                process.stdin.close()
            else:
                process.send_signal(signal.SIGTERM)
            rest, errors = await asyncio.gather(output.read(), process.stderr.read())
            assert await process.wait() == 0, errors.decode()
    assert all(json.loads(line) for line in rest.splitlines())
    assert b"LOUD\n" in errors
    assert b"LOUDER" in errors
    assert b"Traceback" not in errors


def test_help_has_examples_and_a_missing_extra_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["acp", "--help"]) == 0
    assert "agent_servers" in capsys.readouterr().out
    monkeypatch.setattr("qianda.cli.acp.find_spec", lambda _name: None)
    assert main(["acp"]) == 2
    said = "qianda: qianda acp needs the package agent-client-protocol. pip install 'qianda[acp]'\n"
    assert capsys.readouterr().err == said
