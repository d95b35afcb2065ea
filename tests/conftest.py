"""Every test alone: an empty home, an empty working folder, no key, no setting of the person who runs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from hypothesis import HealthCheck, settings

HOUSE = Path(__file__).resolve().parent.parent
sys.path.append(str(HOUSE / "tests"))  # for modules that several tests share

# Read once, before any test changes them: where the person's own files are.
REAL_HOME = Path.home()
REAL_DATA_DIR = Path(os.environ.get("QIANDA_DATA_DIR") or platformdirs.user_data_path("qianda"))
REAL_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or REAL_HOME / ".cache")
PARTS = Path(os.environ.get("QIANDA_PARTS") or REAL_HOME / ".cache/qianda-parts")
REAL_CONFIG = Path(os.environ.get("XDG_CONFIG_HOME") or REAL_HOME / ".config")

PREFIXES = ("QIANDA_", "DASHSCOPE_", "XDG_")
NAMES = (
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "COLUMNS",
    "LINES",
    "TEXTUAL",
    "TTY_COMPATIBLE",
)

# A machine that is busy with other things is no failure.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Textual and rich read some of these when they are imported, which is before any fixture runs.
# The processes that pytest-xdist starts get the folder of the pictures by TEXTUAL_SNAPSHOT_TEMPDIR.
for _name in list(os.environ):
    if _name in NAMES or (_name.startswith("TEXTUAL_") and not _name.startswith("TEXTUAL_SNAPSHOT_")):
        del os.environ[_name]


def _registry_settings() -> dict[str, str]:
    """Settings by which uv, pip and npm find the person's caches and configuration although HOME is empty."""
    settings = {
        "UV_CACHE_DIR": str(REAL_CACHE / "uv"),
        "PIP_CACHE_DIR": str(REAL_CACHE / "pip"),
        "NPM_CONFIG_CACHE": str(REAL_HOME / ".npm"),
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
    }
    for name, places in {
        "PIP_CONFIG_FILE": (REAL_CONFIG / "pip/pip.conf", REAL_HOME / ".pip/pip.conf"),
        "UV_CONFIG_FILE": (REAL_CONFIG / "uv/uv.toml",),
        "NPM_CONFIG_USERCONFIG": (REAL_HOME / ".npmrc",),
    }.items():
        there = [place for place in places if place.is_file()]
        if there:
            settings[name] = str(there[0])
    return {name: value for name, value in settings.items() if name not in os.environ}


@pytest.fixture(scope="session")
def house() -> Path:
    """The top folder of the project."""
    return HOUSE


@pytest.fixture(scope="session")
def house_files(house: Path) -> list[str]:
    """Every file of the project, relative: what git tracks, and what it would with the next ``git add``."""
    if not (house / ".git").exists() or shutil.which("git") is None:
        pytest.skip("only a git checkout says which files are the project's")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=house, capture_output=True, check=True).stdout.decode()
    return sorted(name for name in set(listed.split("\0")) if name and os.path.lexists(house / name))


@pytest.fixture
def copy_house(house: Path, house_files: list[str]) -> Callable[[Path], Path]:
    """A function that copies the project's files into a new folder, links as links."""

    def copy(target: Path) -> Path:
        for name in house_files:
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(house / name, place, follow_symlinks=False)
        return target

    return copy


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The person's own data folder, which holds the demo weights once they were fetched."""
    return REAL_DATA_DIR


@pytest.fixture(scope="session")
def parts() -> Path:
    """The folder that the set-up scripts fill."""
    return PARTS


@pytest.fixture(autouse=True)
def alone(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Give the test a home and a data folder of its own, and ``tmp_path``, empty, as working folder.

    In the data folder of tests marked ``llamacpp`` are the weights that the person fetched.
    """
    for name in list(os.environ):
        if name.startswith(PREFIXES) or name in NAMES:
            monkeypatch.delenv(name)
    for name, value in _registry_settings().items():
        monkeypatch.setenv(name, value)
    if everything := os.environ.get("LC_ALL"):  # else texts are in the person's language
        monkeypatch.setenv("LC_CTYPE", everything)
        monkeypatch.delenv("LC_ALL")
    monkeypatch.setenv("LC_MESSAGES", "C")
    monkeypatch.setenv("COLORTERM", "truecolor")  # the theme depends on it
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("CONFIG", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("QIANDA_DATA_DIR", str(home / "qianda"))
    if request.node.get_closest_marker("llamacpp"):
        (home / "qianda").mkdir()
        (home / "qianda/models").symlink_to(REAL_DATA_DIR / "models")
    monkeypatch.setenv("NO_PROXY", ",".join(filter(None, [os.environ.get("NO_PROXY", ""), "127.0.0.1,localhost,::1"])))
    monkeypatch.chdir(tmp_path)


def _missing(mark: str) -> str:
    """What a test of the system tier lacks on this machine, with the way to get it; "" when all is there."""
    if mark == "llamacpp" and importlib.util.find_spec("xllamacpp") is None:
        return "xllamacpp is not installed: pip install 'qianda[local]'"
    if mark == "llamacpp" and not any(REAL_DATA_DIR.glob("models/*.gguf")):
        return "the demo weights are not here: qianda models pull demo"
    if mark == "vllm" and not (PARTS / "vllm/model.done").is_file():
        return "vLLM is not installed: bash tests/servers/setup_vllm.sh (3.4 GB)"
    if mark == "tmux" and shutil.which("tmux") is None:
        return "tmux is not installed: tests/system/setup_tmux.sh"
    if mark == "sandbox":
        from qianda.tools.sandbox import sandbox_problem

        why = sandbox_problem()
        return why and f"no sandbox here, {why}: tests/system/setup_sandbox.sh"
    if mark == "node" and shutil.which("npx") is None:
        return "Node.js is not installed: apt-get install nodejs npm"
    return ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Tests of one real server go to one process (``make test-system``); xdist 3.8's groups do not know pytest 9.2."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs] -- types without stubs

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "vllm" if "test_vllm_" in file else file if "test_llamacpp_" in file else nodeid

    return Groups(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, saying why, what needs a part that this machine does not have."""
    for mark in item.iter_markers():
        if why := _missing(mark.name):
            pytest.skip(why)
