"""The sandbox's face and command lines; tests/system runs it for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qianda import Agent
from qianda.models.config import SandboxMode, data_dir
from qianda.models.errors import ConfigurationError
from qianda.tools import Context, run_command, sandbox
from qianda.tools.sandbox import NO_NETWORK, Sandbox
from qianda.tools.sandbox_walls import Walls, bubblewrap, seatbelt

LIMITS = (100, 1 << 30, 1 << 30)


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "sandbox_problem", lambda: "bubblewrap is not installed")


@pytest.fixture
def one_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "sandbox_problem", lambda: "")


def walls(*writable: Path, network: bool = False) -> Walls:
    return Walls(writable=writable, network=network, temporary=Path("/tmp/qianda-x"), limits=LIMITS)


def mounts(line: list[str]) -> dict[str, int]:
    """Where in the line each path is mounted last."""
    return {word: at for at, word in enumerate(line)}


def test_what_an_agent_takes(tmp_path: Path) -> None:
    assert Agent(workspace=tmp_path, sandbox="off").sandbox is None
    words: tuple[tuple[SandboxMode, bool], ...] = (("auto", False), ("on", True))
    for word, required in words:
        made = Agent(workspace=tmp_path, sandbox=word).sandbox
        assert made == Sandbox(required=required, workspace=tmp_path)
    own = Agent(workspace=tmp_path, sandbox=Sandbox(network=True, writable=["/srv"])).sandbox
    assert own == Sandbox(network=True, writable=["/srv"], workspace=tmp_path)
    with pytest.raises(ConfigurationError, match='Use "auto", "on", "off" or Sandbox'):
        Agent(sandbox="maybe")  # pyright: ignore[reportArgumentType] - the error is what is tested


async def test_without_one_it_is_said_once_and_commands_run(tmp_path: Path, nothing_here: None) -> None:
    said: list[str] = []
    context = Context(workspace=tmp_path, sandbox=Sandbox.of("auto", tmp_path), notice=said.append)
    for _ in range(2):
        assert (await run_command.call({"command": "echo ran"}, context)).content == "ran\n[exit code 0]"
    assert said == ["Commands run without a sandbox and can reach what you can: bubblewrap is not installed"]


async def test_without_one_that_is_required_nothing_runs(tmp_path: Path, nothing_here: None) -> None:
    context = Context(workspace=tmp_path, sandbox=Sandbox.of("on", tmp_path))
    result = await run_command.call({"command": "touch ran"}, context)
    assert result.failed
    assert "Commands cannot run in a sandbox here: bubblewrap is not installed" in str(result.content)
    assert not (tmp_path / "ran").exists()


def test_a_failure_for_want_of_network_says_what_to_do(one_here: None) -> None:
    failure = "pip: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution"
    assert Sandbox().explain(failure) == NO_NETWORK
    assert Sandbox(network=True).explain(failure) == ""
    assert "workspace" in Sandbox().explain("touch: cannot touch '/etc/x': Read-only file system")
    assert Sandbox().explain("AssertionError") == ""


def test_secrets_are_covered_after_what_the_workspace_brings(tmp_path: Path) -> None:
    for name in (".ssh", ".aws"):
        (Path.home() / name).mkdir()
    (Path.home() / ".netrc").touch()
    data_dir().mkdir()
    (tmp_path / ".git/hooks").mkdir(parents=True)
    (tmp_path / ".qianda").symlink_to(Path.home() / ".ssh")  # would uncover it
    line = bubblewrap(walls(tmp_path), ["true"], tmp_path)
    at = mounts(line)
    assert str(tmp_path / ".qianda") not in at
    home = Path.home().resolve()
    last_of_workspace = at[str(tmp_path / ".git/hooks")]
    assert line[last_of_workspace - 2] == "--ro-bind"
    for secret in (home / ".ssh", home / ".aws", data_dir().resolve(), home / ".netrc"):
        assert at[str(secret)] > last_of_workspace > line.index(str(tmp_path))
    assert line[at[str(home / ".netrc")] - 1] == "/dev/null"


def test_a_python_in_tmp_can_be_run_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Path("/tmp/somewhere/.venv")
    monkeypatch.setattr(sys, "prefix", str(environment))
    line = bubblewrap(walls(tmp_path), ["true"], tmp_path)
    at = line.index(str(environment))
    assert line[at - 1 : at + 2] == ["--ro-bind", str(environment), str(environment)]
    assert line.index("/tmp") < at < line.index(str(tmp_path))  # a workspace around it can still be changed
    monkeypatch.setattr(sys, "prefix", "/tmp")
    assert "--ro-bind /tmp /tmp " not in " ".join(bubblewrap(walls(tmp_path), ["true"], tmp_path))


def test_a_workspace_inside_a_hidden_folder_can_be_used() -> None:
    inside = data_dir() / "work"
    inside.mkdir(parents=True)
    line = bubblewrap(walls(inside), ["true"], inside)
    assert line.index(str(data_dir().resolve())) < line.index(str(inside))


def test_the_network_is_there_only_when_it_is_wanted(tmp_path: Path) -> None:
    assert "--unshare-net" in bubblewrap(walls(tmp_path), ["true"], tmp_path)
    assert "--unshare-net" not in bubblewrap(walls(tmp_path, network=True), ["true"], tmp_path)
    assert "(deny network*)" in seatbelt(walls(tmp_path), ["true"])[2]
    assert "(deny network*)" not in seatbelt(walls(tmp_path, network=True), ["true"])[2]


def test_a_folder_cannot_write_rules(tmp_path: Path) -> None:
    folder = tmp_path / 'a") (allow default) ("'
    folder.mkdir()
    profile = seatbelt(walls(folder), ["true"])[2]
    assert r"a\") (allow default) (\"" in profile
    assert profile.count("(allow default)") == 2  # the first line's, and the one inside the string


def test_the_limits_hold_and_the_exit_code_comes_through(tmp_path: Path) -> None:
    line = Walls((tmp_path,), network=False, temporary=tmp_path, limits=(100, 1 << 30, 4096)).prelude('exec "$@"')
    done = subprocess.run([*line, "sh", "-c", "ulimit -f; exit 7"], capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert int(done.stdout) * 512 == 4096
    write = [sys.executable, "-c", "import pathlib; pathlib.Path('big').write_bytes(bytes(5000))"]
    assert subprocess.run([*line, *write], cwd=tmp_path, capture_output=True, check=False).returncode != 0
    assert (tmp_path / "big").stat().st_size <= 4096
