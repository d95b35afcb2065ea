"""Installing: plain pip beside packages of the same names, and clear words where it cannot work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = '''
import asyncio, sys

import agents
import tools

import qianda
import qianda.agents
import qianda.tools
from qianda import Agent, tool
from qianda.testing import Call, ScriptedServer, Turn


@tool
def double(number: int) -> int:
    """Twice a number."""
    return 2 * number


async def main():
    async with ScriptedServer(Turn(calls=[Call("double", {"number": 21})]), Turn("It is 42.")) as server:
        result = await Agent(server=server.url, tools=[double]).run("Double 21.")
        assert server.requests[-1]["messages"][-1]["content"] == "42"
    print(result.output, agents.WHOSE, tools.WHOSE, qianda.tools.__file__, qianda.agents.__file__)


asyncio.run(main())
'''


@pytest.mark.pypi
@pytest.mark.timeout(600)
def test_pip_install_beside_modules_and_packages_of_the_same_name(
    tmp_path: Path, copy_house: Callable[[Path], Path]
) -> None:
    source = copy_house(tmp_path / "source")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", source, "openai-agents"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)

    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    for name in ("tools", "agents"):
        (project / f"{name}.py").write_text('WHOSE = "mine"\n')
    (project / "main.py").write_text(SCRIPT)
    answer, *files = run_at(elsewhere, python, project / "main.py").rsplit(" ", 2)
    assert answer == "It is 42. mine mine"
    assert all("site-packages/qianda/" in file for file in files)

    # Without modules of the user's own, `agents` is the package that openai-agents installs.
    code = "import agents, qianda.agents; assert agents.Runner and qianda.Agent and agents.Agent is not qianda.Agent"
    run_at(elsewhere, python, "-c", code)
    assert run_at(elsewhere, tmp_path / "venv/bin/qianda", "--version").startswith("qianda 0.")


def run_at(cwd: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def install(top: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ if path is None else {**os.environ, "PATH": path}
    return subprocess.run(
        [str(shutil.which("sh")), ".ci/venv", ".venv", "local"],
        cwd=top,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_checkout_without_links_is_told_what_to_do(tmp_path: Path, copy_house: Callable[[Path], Path]) -> None:
    top = copy_house(tmp_path / "a checkout")
    link = top / "src/qianda/models"
    target = str(link.readlink())
    link.unlink()
    link.write_text(target)  # this is what git leaves where it may not make links
    done = install(top)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "src/qianda/models is no link" in done.stderr
    assert "core.symlinks" in done.stderr
    assert not (top / ".venv").exists()


def test_a_machine_without_python_is_told_what_to_do(tmp_path: Path, copy_house: Callable[[Path], Path]) -> None:
    top = copy_house(tmp_path / "a checkout")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("cat",):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = install(top, str(programs))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no Python 3.11 or newer found" in done.stderr


def test_every_make_target_is_explained(house: Path) -> None:
    done = subprocess.run(["make", "help"], cwd=house, capture_output=True, text=True, check=True)
    explained = {line.split()[1] for line in done.stdout.splitlines()}
    assert {"demo", "test", "test-system", "lint", "types", "format", "bench", "lock", "clean", "help"} <= explained


def test_the_lock_file_fits_pyproject_and_names_no_index(house: Path) -> None:
    """Every direct dependency is locked to a release within its bounds."""
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lock = (house / "requirements/ci.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    locked: dict[str, list[str]] = {}
    for line in lock.splitlines():
        if line and line[0].isalnum():
            name, _, rest = line.partition("==")
            locked.setdefault(name, []).append(rest.split()[0])
    project = tomllib.loads((house / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name == project["name"]:  # the extra "dev" takes others in
            continue
        assert locked.get(name), f"{name} is not in the lock file: make lock"
        for version in locked[name]:
            assert requirement.specifier.contains(version), f"{requirement} but locked {version}: make lock"


def test_the_version_is_said_once(house: Path) -> None:
    import tomllib

    import qianda

    project = tomllib.loads((house / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == qianda.__version__
    done = subprocess.run([sys.executable, "-m", "qianda", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"qianda {qianda.__version__}\n"
