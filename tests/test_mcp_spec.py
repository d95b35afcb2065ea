"""How MCP servers are specified: commands, mappings, .mcp.json, and the names of their tools."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda.models.errors import ConfigurationError
from qianda.tools.mcp import MCPServer, load_mcp_json
from qianda.tools.mcp.content import visible
from qianda.tools.mcp.failures import start_failure
from qianda.tools.mcp.mcp_tool import model_name
from qianda.tools.mcp.server_log import ServerLog


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("uvx mcp-server-time", "time"),
        ("uvx --from git+https://example.org/x mcp-server-git --repository .", "git"),
        ("uvx mcp_server_fetch==2025.1.1", "fetch"),
        ("npx -y @modelcontextprotocol/server-filesystem@2026.8.31 /data", "filesystem"),
        ("npx -y @playwright/mcp@latest", "mcp"),
        ("npm exec -- some-mcp", "some"),
        ("python -m mcp_server_time", "time"),
        ("python3.12 /home/me/my_tools.py", "my_tools"),
        ("/opt/venv/bin/mcp-server-time --local-timezone UTC", "time"),
        ("uv run --with mcp server.py", "server"),
        ("uv tool run mcp-server-time", "time"),
        ("docker run -i --rm -e KEY=1 mcp/github:latest", "github"),
        ("qianda serve files", "qianda"),
        ("'/我的 工具/天气'", "server"),
        ("./mcp", "mcp"),
    ],
)
def test_a_command_gets_a_short_name(command: str, name: str) -> None:
    assert MCPServer.parse(command).name == name


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://mcp.linear.app/mcp", "linear"),
        ("https://api.githubcopilot.com/mcp/", "githubcopilot"),
        ("http://127.0.0.1:8000/notes/mcp", "notes"),
        ("http://[::1]:9/sse", "server"),
        ("http://localhost:9/mcp", "server"),
    ],
)
def test_an_address_is_a_server_with_a_short_name(address: str, name: str) -> None:
    server = MCPServer.parse(f" {address} ")

    assert (server.name, server.url, server.command) == (name, address, ())


def test_a_command_is_split_as_a_shell_does_it() -> None:
    server = MCPServer.parse("TOKEN=a=b LANG='zh CN' python 'my server.py' --say \"你好\"")

    assert server.command == ("python", "my server.py", "--say", "你好")
    assert server.env == {"TOKEN": "a=b", "LANG": "zh CN"}


@pytest.mark.parametrize("command", ["", "   ", "KEY=value", "python 'unclosed", "http://", "https://x:port/"])
def test_a_command_without_a_program_is_refused(command: str) -> None:
    with pytest.raises(ConfigurationError):
        MCPServer.parse(command)


@given(st.text())
def test_any_command_gives_a_usable_name_or_a_clear_refusal(command: str) -> None:
    try:
        server = MCPServer.parse(command)
    except ConfigurationError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_-]+", server.name)
    assert server.command or server.url


def write(folder: Path, servers: object) -> None:
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")


def test_mcp_json_is_read_with_its_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEATHER_KEY", "secret")
    write(
        tmp_path,
        {
            "weather": {
                "type": "stdio",
                "command": "${RUNNER:-uvx}",
                "args": ["weather", "--key=${WEATHER_KEY}", "${UNSET:-}"],
                "env": {"KEY": "${WEATHER_KEY}"},
                "cwd": "sub",
                "timeout": 5000,
                "autoApprove": ["$anything ${UNKNOWN}"],
            },
            "off": {"command": "x", "disabled": True},
        },
    )

    assert load_mcp_json(tmp_path) == [
        MCPServer(
            "weather",
            ("uvx", "weather", "--key=secret", ""),
            {"KEY": "secret"},
            cwd="sub",
            call_timeout=5.0,
            source=str(tmp_path / ".mcp.json"),
        )
    ]


def test_no_file_is_no_servers(tmp_path: Path) -> None:
    assert load_mcp_json(tmp_path) == []


def test_an_unset_variable_is_an_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, {"weather": {"command": "x", "env": {"KEY": "${NOT_SET_ANYWHERE}"}}})

    with pytest.raises(ConfigurationError, match=r"'weather'.*NOT_SET_ANYWHERE"):
        load_mcp_json(tmp_path)


def test_each_server_fails_alone(tmp_path: Path) -> None:
    write(tmp_path, {"unset": {"command": "${NOT_SET_ANYWHERE}"}, "list": ["x"], "near": {"command": "x"}})
    said: list[str] = []

    servers = load_mcp_json(tmp_path, notify=said.append)

    assert [server.name for server in servers] == ["near"]
    assert len(said) == 2
    assert "NOT_SET_ANYWHERE" in said[0]
    assert "'list'" in said[1]


@pytest.mark.parametrize(
    ("entry", "transport"),
    [
        ({"type": "http", "url": "https://x/mcp"}, "http"),
        ({"type": "streamable-http", "url": "https://x/mcp"}, "http"),
        ({"type": "sse", "url": "https://x/mcp"}, "sse"),
        ({"transport": "sse", "url": "https://x/mcp"}, "sse"),
        ({"url": "https://x/mcp"}, ""),
        ({"httpUrl": "https://x/mcp"}, "http"),
    ],
)
def test_servers_at_addresses(tmp_path: Path, entry: dict[str, str], transport: str) -> None:
    write(tmp_path, {"far": {**entry, "headers": {"X-Key": "${UNSET_HERE:-k}"}}})

    (server,) = load_mcp_json(tmp_path)

    assert (server.url, server.transport, server.command) == ("https://x/mcp", transport, ())
    assert server.headers == {"X-Key": "k"}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"mcpServers": []}',
        '{"mcpServers": {"a": "uvx"}}',
        '{"mcpServers": {"a": {}}}',
        '{"mcpServers": {"a": {"command": ["uvx"]}}}',
        '{"mcpServers": {"a": {"command": "x", "args": "y"}}}',
        '{"mcpServers": {"a": {"command": "x", "env": {"K": 1}}}}',
        '{"mcpServers": {"a": {"command": "x", "cwd": 1}}}',
        '{"mcpServers": {"a": {"command": "x", "timeout": -1}}}',
        '{"mcpServers": {"a": {"type": "websocket", "url": "wss://x"}}}',
        '{"mcpServers": {"a": {"url": "ftp://x"}}}',
        '{"mcpServers": {"a": {"url": "https://x:port"}}}',
        '{"mcpServers": {"a": {"url": "https://x", "headers": ["a"]}}}',
        '{"mcpServers": {"a": {"command": "x", "includeTools": "y"}}}',
    ],
)
def test_a_wrong_mcp_json_is_one_line_about_what_is_wrong(tmp_path: Path, text: str) -> None:
    (tmp_path / ".mcp.json").write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        load_mcp_json(tmp_path)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("last_words", "hint"),
    [
        ("AttributeError: 'Server' object has no attribute 'list_resources'", True),
        ("ImportError: cannot import name 'McpError' from 'mcp.shared.exceptions' (/x/mcp/shared/exceptions.py)", True),
        ("ModuleNotFoundError: No module named 'mcp.server.fastmcp'", True),
        ("ModuleNotFoundError: No module named 'sqlparse'", False),
        ("ValueError: mcp needs a path", False),
    ],
)
def test_a_server_for_the_first_sdk_is_told_how_to_get_it(last_words: str, hint: bool, tmp_path: Path) -> None:
    error = start_failure(
        MCPServer.parse("uvx mcp-server-sqlite --db-path 'my db'"),
        ExceptionGroup("", [ExceptionGroup("", [RuntimeError("Connection closed")])]),
        cwd=tmp_path,
        returncode=1,
        fault="",
        tail=last_words,
        log=tmp_path / "log",
    )

    assert last_words in str(error)
    assert ("uvx --with 'mcp<2' mcp-server-sqlite --db-path 'my db'" in str(error)) is hint


def test_the_telling_line_of_a_log_is_found() -> None:
    log = ServerLog(MCPServer("s", ("x",)))
    with log.opened():
        assert log.tail() == ""
        assert log.file is not None
        log.file.write(b"node:internal\nError: Cannot find module 'x'\n  at f\xff\n\nNode v24\n")
        assert log.tail() == "Error: Cannot find module 'x'"
    with log.opened():
        assert log.tail() == ""


def test_names_of_tools_are_what_models_take_and_stay_apart() -> None:
    taken: list[str] = []
    for server, tool in [("time", "now"), ("my 服务", "a.b"), ("my 服务", "a_b"), ("s", "x" * 100), ("s", "x" * 101)]:
        taken.append(model_name(server, tool, taken))

    assert taken[0] == "mcp__time__now"
    assert len(set(taken)) == len(taken)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in taken)


@given(st.lists(st.tuples(st.text(), st.text(max_size=90)), unique=True))
def test_any_tools_get_names_that_can_be_called(tools: list[tuple[str, str]]) -> None:
    taken: set[str] = set()
    for server, tool in tools:
        taken.add(model_name(server, tool, taken))

    assert len(taken) == len(tools)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in taken)


def test_invisible_characters_go_and_writing_stays() -> None:
    tagged = "ignore".translate({code: code + 0xE0000 for code in range(128)})

    assert (
        visible(f"Adds{tagged}\u200b\u2060\ufeff two\u202e numbers\u3164\ufe01\u200c\u200d\u200c") == "Adds two numbers"
    )
    for writing in ("价格\n\t¥3", "می‌خواهم", "क्‍ष", "👩‍🚀", "é ñ ﷺ"):
        assert visible(writing) == writing
