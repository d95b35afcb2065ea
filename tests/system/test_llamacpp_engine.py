"""The embedded engine for real: xllamacpp with the demo weights, over HTTP as the model client uses it."""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qianda.models.embedded import EmbeddedServer, start_embedded
from qianda.models.embedded.weights import installed_weights
from qianda.models.errors import ConfigurationError

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(300)]

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
TOOLS = json.loads((FIXTURES / "core-tools.json").read_text(encoding="utf-8"))[:5]
PRICE = {"role": "user", "content": "Read price.txt. It holds a number; multiply it by 3."}
STORY: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell a story."}], "ignore_eos": True, "stream": True}


def start(model: Path | None = None) -> EmbeddedServer:
    return asyncio.run(start_embedded(str(model) if model else None, download=False, notify=print))


def client(server: EmbeddedServer, key: str | None = None) -> httpx2.Client:
    headers = {"authorization": f"Bearer {key or server.api_key}"}
    return httpx2.Client(base_url=server.url.removesuffix("/v1"), headers=headers, timeout=120, trust_env=False)


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedServer]:
    server = start()
    yield server
    server.close()


@pytest.fixture
def http(engine: EmbeddedServer) -> Iterator[httpx2.Client]:
    with client(engine) as opened:
        yield opened


def chat(http: httpx2.Client, **body: Any) -> dict[str, Any]:
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_it_says_what_it_is(engine: EmbeddedServer, http: httpx2.Client) -> None:
    props = http.get("/props").json()
    assert props["default_generation_settings"]["n_ctx"] == engine.window
    assert 4096 <= engine.window <= 8192
    assert http.get("/v1/models").json()["data"][0]["id"] == engine.model
    assert engine.demo
    assert "qwen" not in engine.model.lower()
    assert engine.api_key not in repr(engine)


def test_it_calls_tools_in_json_and_sse(http: httpx2.Client) -> None:
    body = {"messages": [PRICE], "tools": TOOLS}
    message = chat(http, **body)["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert call["function"]["name"] == "read_file"
    assert json.loads(call["function"]["arguments"]) == {"path": "price.txt"}

    name = arguments = ""
    with http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    for chunk in map(json.loads, lines[:-1]):
        for choice in chunk["choices"]:
            for delta in choice["delta"].get("tool_calls", []):
                name += delta["function"].get("name") or ""
                arguments += delta["function"].get("arguments") or ""
    assert (name, json.loads(arguments)) == ("read_file", {"path": "price.txt"})


def test_it_does_not_think_and_is_greedy_unless_asked(http: httpx2.Client) -> None:
    prompt = http.post("/apply-template", json={"messages": [PRICE]}).json()["prompt"]
    assert prompt.endswith("<think>\n\n</think>\n\n")
    kwargs = {"chat_template_kwargs": {"enable_thinking": True}}
    prompt = http.post("/apply-template", json={"messages": [PRICE], **kwargs}).json()["prompt"]
    assert prompt.endswith("<|im_start|>assistant\n")
    assert http.get("/props").json()["default_generation_settings"]["params"]["temperature"] == 0


def test_llama_cpp_renders_the_official_prompt(http: httpx2.Client) -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    official = environment.from_string((FIXTURES / "qwen3/chat_template.jinja").read_text(encoding="utf-8"))
    call = {"id": "c1", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "价格.txt"}'}}
    other = {"id": "c2", "type": "function", "function": {"name": "list_files", "arguments": '{"path": "."}'}}
    loop = [
        {"role": "system", "content": "Be brief & <plain>."},
        PRICE,
        {"role": "assistant", "content": "Both.", "reasoning_content": "Two calls.", "tool_calls": [call, other]},
        {"role": "tool", "tool_call_id": "c1", "content": "19.5"},
        {"role": "tool", "tool_call_id": "c2", "content": "a.txt\nb.txt"},
    ]
    done = [*loop, {"role": "assistant", "content": "58.5"}, {"role": "user", "content": "And by 4? 好"}]
    for messages in ([PRICE], loop, done, done[1:]):
        for tools in (None, TOOLS):
            for thinking in (True, False):
                body: dict[str, Any] = {"messages": messages, "chat_template_kwargs": {"enable_thinking": thinking}}
                if tools:
                    body["tools"] = tools
                rendered = http.post("/apply-template", json=body).json()["prompt"]
                assert rendered == official.render(
                    messages=messages, tools=tools, add_generation_prompt=True, enable_thinking=thinking
                )


@pytest.mark.parametrize("path", ["/v1/models", "/props", "/slots", "/tokenize", "/v1/chat/completions", "/metrics"])
def test_the_port_is_locked(engine: EmbeddedServer, path: str) -> None:
    with client(engine, key="wrong") as http:
        for method in ("GET", "POST"):
            response = http.request(method, path, json={})
            assert response.status_code == 401
            assert "Invalid API Key" in response.text
    assert engine.url.startswith("http://127.0.0.1:")


def test_no_page_of_a_browser_may_read_it(engine: EmbeddedServer) -> None:
    with httpx2.Client(base_url=engine.url, trust_env=False) as http:
        for origin in ("http://evil.example", "null", "http://127.0.0.1"):
            headers = {"origin": origin, "access-control-request-method": "POST"}
            for response in (
                http.options("/chat/completions", headers=headers),
                http.get("/models", headers={"origin": origin}),
            ):
                assert response.headers.get("access-control-allow-origin") not in ("*", origin)
                assert response.headers.get("access-control-allow-credentials") != "true"


def test_going_away_stops_the_generation(http: httpx2.Client) -> None:
    with http.stream("POST", "/v1/chat/completions", json={**STORY, "max_tokens": 4000}) as response:
        next(line for line in response.iter_lines() if '"content":"' in line)
    started = time.monotonic()
    chat(http, messages=[{"role": "user", "content": "Hi"}], max_tokens=1)
    assert time.monotonic() - started < 10  # 4,000 tokens take a minute and more


def test_closing_ends_what_was_left_and_frees_the_port() -> None:
    server = start()
    with client(server) as http:
        with http.stream("POST", "/v1/chat/completions", json={**STORY, "max_tokens": 4000}) as response:
            next(line for line in response.iter_lines() if '"content":"' in line)
        started = time.monotonic()
        server.close()
        server.close()
        assert time.monotonic() - started < 10  # 4,000 tokens take a minute and more
        with pytest.raises(httpx2.ConnectError):
            http.get("/health")


async def test_two_engines_answer_at_once(engine: EmbeddedServer) -> None:
    other = await start_embedded(None, download=False, notify=print)
    try:
        assert other.url != engine.url
        assert other.api_key != engine.api_key
        body = {"messages": [PRICE], "tools": TOOLS, "max_tokens": 60}
        async with httpx2.AsyncClient(timeout=120, trust_env=False) as http:
            answers = await asyncio.gather(
                *(
                    http.post(
                        f"{server.url}/chat/completions",
                        json=body,
                        headers={"authorization": f"Bearer {server.api_key}"},
                    )
                    for server in (engine, other)
                )
            )
            crossed = await http.get(f"{other.url}/models", headers={"authorization": f"Bearer {engine.api_key}"})
        assert [answer.json()["choices"][0]["finish_reason"] for answer in answers] == ["tool_calls", "tool_calls"]
        assert crossed.status_code == 401
    finally:
        other.close()


def test_a_file_of_ones_own_runs_with_its_own_template(tmp_path: Path) -> None:
    weights = installed_weights()
    assert weights is not None
    (tmp_path / "qwen3-0.6b-q4_1.gguf").symlink_to(weights)
    server = start(tmp_path / "qwen3-0.6b-q4_1.gguf")
    try:
        assert (server.model, server.demo, server.window) == ("qwen3-0.6b-q4_1", False, 8192)
        with client(server) as http:
            prompt = http.post("/apply-template", json={"messages": [PRICE]}).json()["prompt"]
        assert "You are a helpful AI assistant named SmolLM" in prompt
    finally:
        server.close()


def test_a_file_cut_short_is_one_line(tmp_path: Path) -> None:
    weights = installed_weights()
    assert weights is not None
    with weights.open("rb") as stream:
        (tmp_path / "cut.gguf").write_bytes(stream.read(20_000_000))
    with pytest.raises(ConfigurationError, match=r"could not load .*cut\.gguf \(architecture llama\)"):
        start(tmp_path / "cut.gguf")


def test_not_a_word_on_stdout_or_stderr(tmp_path: Path) -> None:
    """llama.cpp logs from C++ threads: only a process of its own shows what really comes out."""
    weights = installed_weights()
    assert weights is not None
    with weights.open("rb") as stream:
        (tmp_path / "cut.gguf").write_bytes(stream.read(20_000_000))
    script = """
import asyncio, json, urllib.request
from qianda.models.embedded import start_embedded
from qianda.models.errors import ConfigurationError

async def main():
    try:
        await start_embedded("cut.gguf", download=False, notify=lambda text: None)
    except ConfigurationError:
        pass
    server = await start_embedded(None, download=False, notify=lambda text: None)
    headers = {"authorization": f"Bearer {server.api_key}", "content-type": "application/json"}
    for body in ({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}, {"messages": 7}):
        request = urllib.request.Request(server.url + "/chat/completions", json.dumps(body).encode(), headers)
        try:
            urllib.request.urlopen(request).read()
        except urllib.error.HTTPError as error:
            error.close()
    return server  # never closed: the end of the process does it

server = asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=tmp_path, capture_output=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_importing_the_engine_does_not_load_llama_cpp() -> None:
    assert importlib.util.find_spec("xllamacpp") is not None
    script = "import sys; from qianda.models.embedded import available; print(available(), 'xllamacpp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.split() == ["True", "False"]
