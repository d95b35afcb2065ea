"""Commands that try to leave a real sandbox, or to take the machine down."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from qianda.models.config import data_dir, user_config_path
from qianda.tools import Context, run_command
from qianda.tools.sandbox import NO_NETWORK, Sandbox

pytestmark = pytest.mark.sandbox

# (name, command, what must not be in the output). OUTSIDE is a folder beside the workspace, SECRET a key in the home.
ATTACKS = [
    ("write beside the workspace", "echo x > $OUTSIDE/file", ""),
    ("write in the home", "echo x >> $HOME/.bashrc", ""),
    ("write in the system", "touch /etc/x /usr/x /var/x /root/x", ""),
    ("remount", "mount -o remount,rw / ; umount /tmp; touch $OUTSIDE/file", ""),
    ("remount in a namespace of its own", "unshare -Urm sh -c 'mount -o remount,bind,rw /; touch $OUTSIDE/file'", ""),
    ("uncover", "unshare -Urm sh -c 'umount -l $HOME/.ssh; cat $HOME/.ssh/id_rsa'", "SECRET"),
    ("through a link", "ln -s $OUTSIDE out && echo x > out/file", ""),
    ("through a hard link", "ln $OUTSIDE/there here && echo x >> here", ""),
    ("through /proc", "echo x > /proc/1/root$OUTSIDE/file; cat /proc/1/root$HOME/.ssh/id_rsa", "SECRET"),
    ("read a key", "cat $HOME/.ssh/id_rsa; ls $HOME/.ssh", "id_rsa\n"),
    ("read our configuration", "cat $CONFIG $DATA/*", "SECRET"),
    ("read through a link", "ln -s $HOME/.ssh .qianda; cat .qianda/id_rsa", "SECRET"),
    ("change rights", "chmod 777 $OUTSIDE $OUTSIDE/there", ""),
    ("kernel settings", "echo 1 > /proc/sys/kernel/panic; echo b > /proc/sysrq-trigger", ""),
    ("a git hook", "echo evil > .git/hooks/pre-commit; git config core.pager evil", ""),
]  # fmt: skip


@pytest.fixture
def seen() -> Generator[Path]:
    """A folder outside ``/tmp``, which is another one in the sandbox."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder).resolve()


@pytest.fixture
def places(seen: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    outside, workspace = seen / "outside", seen / "workspace"
    outside.mkdir()
    (seen / "home").mkdir()
    monkeypatch.setenv("HOME", str(seen / "home"))
    for name in ("CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(seen / "home" / name.lower()))
    monkeypatch.delenv("QIANDA_DATA_DIR")
    (outside / "there").write_text("as it was")
    (workspace / ".git/hooks").mkdir(parents=True)
    (workspace / ".git/config").write_text("[core]\n")
    (Path.home() / ".ssh").mkdir()
    (Path.home() / ".ssh/id_rsa").write_text("SECRET")
    (Path.home() / ".bashrc").write_text("")
    for path in (user_config_path(), data_dir() / "journal.db"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("SECRET")
    found = {"OUTSIDE": outside, "CONFIG": user_config_path(), "DATA": data_dir()}
    for name, path in found.items():
        monkeypatch.setenv(name, str(path))
    return {**found, "WORKSPACE": workspace}


def context(workspace: Path, sandbox: Sandbox | None = None) -> Context:
    return Context(workspace=workspace, sandbox=Sandbox.of(sandbox or "on", workspace))


async def call(where: Context, command: str, timeout: int = 30) -> str:  # noqa: ASYNC109 - the tool's own
    return str((await run_command.call({"command": command, "timeout": timeout}, where)).content)


def state(folder: Path) -> dict[str, tuple[int, str]]:
    return {str(path): (path.stat().st_mode, path.read_text() if path.is_file() else "") for path in folder.rglob("*")}


@pytest.mark.parametrize(("name", "command", "unseen"), ATTACKS, ids=[attack[0] for attack in ATTACKS])
async def test_it_is_stopped(places: dict[str, Path], name: str, command: str, unseen: str) -> None:
    workspace = places["WORKSPACE"]
    kept = [places["OUTSIDE"], Path.home(), workspace / ".git"]
    before = [state(folder) for folder in kept]
    box = context(workspace)
    said = await call(box, command)
    said += await call(box, command)  # what the first one prepared, the second one finds
    assert not unseen or unseen not in said
    assert [state(folder) for folder in kept] == before


async def test_what_is_allowed_works(places: dict[str, Path], seen: Path) -> None:
    more = seen / "more"
    more.mkdir()
    box = context(places["WORKSPACE"], Sandbox(writable=[more]))
    said = await call(box, f"echo a > file; echo b > {more}/file; echo c > /tmp/kept; echo d > /dev/shm/x; exit 7")
    assert said == "(no output)\n[exit code 7]"
    assert (places["WORKSPACE"] / "file").read_text() + (more / "file").read_text() == "a\nb\n"
    assert await call(box, "cat /tmp/kept") == "c\n[exit code 0]"  # the next command finds it
    assert "kept" not in {path.name for path in Path("/tmp").glob("*")}  # noqa: ASYNC240 - nothing else runs
    assert "No such file" in await call(context(places["WORKSPACE"]), "cat /tmp/kept")


async def test_there_is_no_network_and_it_is_said(places: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f'python3 -c \'import socket; socket.create_connection(("127.0.0.1", {port}), 2); print("in")\''
        assert "refused" in await call(context(places["WORKSPACE"]), connect)
        allowed = context(places["WORKSPACE"], Sandbox(network=True))
        assert (await call(allowed, connect)).startswith("in")
    fetch = "python3 -c 'import urllib.request; urllib.request.urlopen(\"http://example.com\")'"
    assert NO_NETWORK in await call(context(places["WORKSPACE"]), fetch)


async def test_sockets_of_services_cannot_be_reached(places: dict[str, Path]) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/service")
        server.listen()
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect('{folder}/service')"
        assert "No such file" in await call(context(places["WORKSPACE"]), f'python3 -c "{connect}"')
    assert (
        await call(context(places["WORKSPACE"]), "ls -A /run | grep -v current-system") == "(no output)\n[exit code 1]"
    )


async def test_nothing_outside_is_seen_and_nothing_outlives_it(places: dict[str, Path]) -> None:
    box = context(places["WORKSPACE"])
    assert f"\n{os.getpid()}\n" not in await call(box, "ls /proc")
    said = await call(box, "(setsid sh -c 'sleep 60; touch late' >/dev/null 2>&1 &); echo started")
    assert said == "started\n[what it left in the background was stopped]\n[exit code 0]"


@pytest.fixture
async def beat() -> AsyncGenerator[list[float]]:
    """How long a thread of ours had to wait for its turn, at most."""
    waits, over = [0.0], threading.Event()

    def watch() -> None:
        last = time.monotonic()
        while not over.wait(0.05):
            waits[0], last = max(waits[0], time.monotonic() - last), time.monotonic()

    thread = threading.Thread(target=watch)
    thread.start()
    yield waits
    over.set()
    await asyncio.to_thread(thread.join)


async def test_a_fork_bomb_stays_inside(places: dict[str, Path], beat: list[float]) -> None:
    box = context(places["WORKSPACE"], Sandbox(processes=60))
    # Not a bomb yet: were there no limit, these would only wait. 200 processes are less than any machine holds.
    said = await call(box, "for i in $(seq 200); do sleep 5 & done; jobs -r | wc -l")
    assert "Resource temporarily unavailable" in said
    said = await call(box, "bomb() { bomb | bomb & }; bomb; sleep 1; echo over", timeout=3)
    assert "Resource temporarily unavailable" in said
    assert beat[0] < 2
    assert await call(box, "echo alive") == "alive\n[exit code 0]"


async def test_memory_and_files_have_limits(places: dict[str, Path]) -> None:
    box = context(places["WORKSPACE"], Sandbox(memory=300_000_000, file_size=1_000_000))
    assert "MemoryError" in await call(box, "python3 -c 'bytearray(500_000_000)'")
    assert "exit code 0" not in await call(box, "head -c 2000000 /dev/zero > big; test $(stat -c %s big) -gt 1000000")
