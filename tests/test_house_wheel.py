"""What is built: the wheel holds exactly the tracked files of the packages, and so does one made from the sdist."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGES = ("agents", "cli", "mcp_servers", "models", "testing", "tools", "tui")


def build(kind: str, source: Path, target: Path) -> Path:
    """Build with the build backend that pyproject.toml names, without fetching anything."""
    target.mkdir()
    code = f"import setuptools.build_meta as backend; backend.build_{kind}({str(target)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = target.iterdir()
    return built


def content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.mark.timeout(120)
def test_the_wheel_holds_exactly_the_tracked_files(
    tmp_path: Path, house: Path, house_files: list[str], copy_house: Callable[[Path], Path]
) -> None:
    expected = {f"qianda/{name}" for name in house_files if name.split("/")[0] in PACKAGES}
    expected |= {
        name.removeprefix("src/")
        for name in house_files
        if name.startswith("src/qianda/") and not (house / name).is_symlink()
    }
    copy = copy_house(tmp_path / "copy")
    wheel = build("wheel", copy, tmp_path / "wheel")
    assert content(wheel) == expected

    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        assert "License-Expression: Apache-2.0" in archive.read(metadata).decode()
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
        links = [entry.filename for entry in archive.infolist() if entry.external_attr >> 28 == 0o12]
        assert links == []

    sdist = build("sdist", copy, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert content(build("wheel", unpacked, tmp_path / "again")) == expected
