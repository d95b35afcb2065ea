"""The files that hosts keep MCP servers in: any content is read or refused, and what we write comes back."""

from __future__ import annotations

import contextlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.config_file import write_server
from qianda.tools.mcp.configured import Configured, masked_url
from qianda.tools.mcp.dialects import DIALECTS, FOREIGN, KEYS, dialect_of, places, read_servers
from qianda.tools.mcp.spec import MCPServer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
COMMON = ("type", "transport", "httpUrl", "includeTools", "excludeTools", "disabled", "serverUrl")
ENTRIES = st.dictionaries(st.sampled_from((*KEYS, *COMMON)) | st.text(), JSON | st.just("https://x/mcp"), max_size=6)
ANYWHERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
# TOML's text has neither surrogates nor the null character; all else has to survive.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@ANYWHERE
@given(entry=ENTRIES | JSON, dialect=st.sampled_from(list(DIALECTS.values())))
def test_any_entry_is_a_server_or_one_line(tmp_path: Path, entry: Any, dialect: Any) -> None:
    path = tmp_path / "servers.json"
    value: Any = {"any": entry}
    for key in reversed(dialect.tables[0].split(".")):
        value = {key: value}
    path.write_text(json.dumps(value))

    (read,) = read_servers(path, dialect, tmp_path).values()
    configured = Configured("any", read, path, "user")

    assert "\n" not in configured.shown()
    try:
        server = configured.resolve()
    except ConfigurationError:
        return
    assert bool(server.command) != bool(server.url)
    assert len(configured.hash()) == 64


@ANYWHERE
@given(text=st.text() | st.sampled_from(['{"mcpServers": [', '{"mcpServers": 3}', "[]", "3", "{} // x"]))
def test_any_file_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "servers.json"
    path.write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(ConfigurationError):
        assert read_servers(path, DIALECTS["mcp.json"], tmp_path) == {}


@ANYWHERE
@given(value=JSON)
def test_comments_and_last_commas_change_nothing(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "servers.json"
    entry = {"command": "x", "env": {"A": json.dumps(value)}}
    plain = json.dumps({"mcpServers": {"a": entry}}, indent=1)
    path.write_text("// one\n/* two\n*/" + plain.replace("\n }", ",\n } // end"))

    assert read_servers(path, DIALECTS["mcp.json"], tmp_path) == {"a": entry}


@ANYWHERE
@given(
    servers=st.dictionaries(NAMES, st.tuples(TEXTS, st.lists(TEXTS), st.dictionaries(TEXTS, TEXTS)), max_size=3),
    ending=st.sampled_from([".toml", ".json"]),
)
def test_what_is_written_is_read_and_can_be_removed(tmp_path: Path, servers: dict[str, Any], ending: str) -> None:
    path = tmp_path / f"servers{ending}"
    before = 'model = "m"  # mine\n\n[api_keys]\na = "k"\n' if ending == ".toml" else '{"other": 1}'
    path.write_text(before)
    entries: dict[str, Any] = {
        name: {"command": command, "args": args, "env": env, "timeout": 2.5, "enabled": True}
        for name, (command, args, env) in servers.items()
    }
    for name, entry in entries.items():
        write_server(path, name, entry)

    assert read_servers(path, dialect_of(path, tmp_path), tmp_path) == entries

    for name in entries:
        write_server(path, name, None)
    if ending == ".toml":
        assert tomllib.loads(path.read_text()) == tomllib.loads(before)
        assert "# mine" in path.read_text()
    else:
        assert json.loads(path.read_text())["other"] == 1


@pytest.mark.parametrize("name", FOREIGN)
def test_each_hosts_files_are_known_by_their_place(name: str, tmp_path: Path) -> None:
    dialect = DIALECTS[name]
    found = places(dialect, tmp_path)
    assert found
    assert all(dialect_of(path, tmp_path) is dialect for path in found)


@pytest.mark.parametrize(
    ("name", "entry", "expected"),
    [
        ("qwen-code", {"url": "https://x/e"}, ("https://x/e", "sse")),
        ("qwen-code", {"url": "https://x/e", "httpUrl": "https://x/h"}, ("https://x/h", "http")),
        ("cursor", {"url": "https://x/e"}, ("https://x/e", "")),
        ("vscode", {"type": "sse", "url": "https://x/e"}, ("https://x/e", "sse")),
        ("qwen-code", {"type": "http", "url": "https://x/e"}, ("https://x/e", "http")),
    ],
)
def test_what_an_address_means_is_the_files_affair(
    name: str, entry: dict[str, str], expected: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({DIALECTS[name].tables[0]: {"a": entry}}))
    (read,) = read_servers(path, DIALECTS[name], tmp_path).values()
    server = Configured("a", read, path, "user").resolve()
    assert (server.url, server.transport) == expected


def test_addresses_are_shown_without_secrets() -> None:
    assert masked_url("https://me:pw@x.org/a?key=1&b=2#f") == "https://x.org/a?key=…&b=…#f"
    assert masked_url("http://[bad") == "an address that cannot be read"


@given(st.text())
def test_any_address_can_be_masked_and_named(text: str) -> None:
    masked_url(f"https://{text}")
    with contextlib.suppress(ConfigurationError):
        assert MCPServer.parse(f"https://{text}").name
