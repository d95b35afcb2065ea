"""Trust in folders: asked once, lost with any change of what they bring."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from qianda.cli.main import main
from qianda.models.config import data_dir
from qianda.models.errors import ConfigurationError
from qianda.testing import ScriptedServer, serving
from qianda.tools.trust import changed_since_trusted, fingerprint, is_trusted, trust, what_folder_brings

AGENT = ".qianda/agents/reviewer.toml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "项目"
    (place / AGENT).parent.mkdir(parents=True)
    (place / AGENT).write_text('tools = ["files"]\n')
    (place / ".qianda/config.toml").write_text('model = "qwen3-8b"\n')
    return place


def test_a_folder_that_brings_nothing_is_trusted(tmp_path: Path) -> None:
    assert is_trusted(tmp_path)
    assert what_folder_brings(tmp_path) == []
    assert trust(tmp_path) == []
    assert not (data_dir() / "trust.json").exists()


def test_a_folder_is_trusted_from_when_someone_says_so(folder: Path) -> None:
    assert not is_trusted(folder)
    assert trust(folder) == what_folder_brings(folder)
    assert is_trusted(folder)


def test_what_a_folder_brings_is_listed(folder: Path) -> None:
    assert what_folder_brings(folder) == [
        ".qianda/config.toml: settings",
        '.qianda/config.toml: sets model to "qwen3-8b"',
        f"{AGENT}: agent reviewer",
        f"{AGENT}: has the tools files",
    ]


def test_what_a_folder_allows_is_shown(folder: Path) -> None:
    (folder / ".qianda/config.toml").write_text('[rules]\nallow = ["run_command(make *)"]\ndeny = ["fetch"]\n')
    assert what_folder_brings(folder)[:2] == [
        ".qianda/config.toml: settings",
        ".qianda/config.toml: lets run unasked: run_command(make *)",
    ]


def test_a_command_cannot_hide_from_the_person_who_decides(folder: Path) -> None:
    (folder / AGENT).write_text("mcp_servers = [\"sh -c 'rm\u202e -rf\u200b ~\\nls'\"]")

    assert what_folder_brings(folder)[-1] == f"{AGENT}: starts sh -c 'rm -rf ~\\nls'"


@pytest.mark.parametrize("name", [AGENT, ".qianda/config.toml"])
def test_any_change_ends_the_trust_and_the_old_content_has_it_again(folder: Path, name: str) -> None:
    trust(folder)
    before = (folder / name).read_text()

    (folder / name).write_text(before + " ")
    assert not is_trusted(folder)
    assert changed_since_trusted(folder) == [f"{name} has changed"]
    (folder / name).unlink()
    assert not is_trusted(folder)
    assert changed_since_trusted(folder) == [f"{name} is gone"]
    (folder / name).write_text(before)
    assert is_trusted(folder)
    assert changed_since_trusted(folder) == []
    (folder / "AGENTS.md").write_text("Mind the gap.")
    assert changed_since_trusted(folder) == ["AGENTS.md is new"]


def test_the_person_is_told_which_file_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "AGENTS.md").write_text("Mind the gap.")
    assert changed_since_trusted(folder) == []  # it never was
    trust(folder)
    (folder / "AGENTS.md").write_text("Mind the gap!")
    with serving(ScriptedServer("Well.")) as server:
        assert main(["run", "Go", "--server", server.url, "--cwd", str(folder)]) == 0
    assert (
        "qianda: This folder is not trusted any more: AGENTS.md has changed. Look at it, then: qianda trust\n"
        in capsys.readouterr().err
    )
    assert main(["trust", "--list", "--cwd", str(folder)]) == 0
    assert capsys.readouterr().out.startswith(f"{folder} is not trusted any more: AGENTS.md has changed. It brings:\n")


def test_content_cannot_move_from_one_file_to_the_other(folder: Path) -> None:
    trust(folder)
    (folder / AGENT).rename(folder / AGENT.replace("reviewer", "coder"))

    assert not is_trusted(folder)


def test_trust_is_for_one_folder_by_any_path(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "copy"
    shutil.copytree(folder, other)
    (tmp_path / "link").symlink_to(folder)
    trust(folder)
    monkeypatch.chdir(folder)

    assert is_trusted(Path())
    assert is_trusted(tmp_path / "link")
    assert not is_trusted(other)


def test_several_folders_are_kept_and_the_store_is_private(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / ".qianda").mkdir(parents=True)
    (other / ".qianda/config.toml").write_text("thinking = true")
    trust(folder)
    trust(other)

    assert is_trusted(folder)
    assert is_trusted(other)
    assert stat.S_IMODE((data_dir() / "trust.json").stat().st_mode) == 0o600
    assert [path.name for path in data_dir().iterdir()] == ["trust.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"folders": 3}', '{"folders": {"x": 1}}'])
def test_a_broken_store_trusts_nothing_and_is_replaced(folder: Path, text: str) -> None:
    data_dir().mkdir(parents=True)
    (data_dir() / "trust.json").write_text(text)

    assert not is_trusted(folder)
    trust(folder)
    assert is_trusted(folder)


def test_a_decision_that_cannot_be_stored_is_said(folder: Path) -> None:
    data_dir().parent.mkdir(parents=True, exist_ok=True)
    data_dir().write_text("a file where the folder should be")

    with pytest.raises(ConfigurationError, match=r"cannot be stored in .*trust\.json"):
        trust(folder)
    assert not is_trusted(folder)


def test_what_cannot_be_read_is_not_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust(folder)

    def refuse(_path: Path) -> bytes:
        raise PermissionError("no")  # root reads everything, so the file's mode would not do

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert not is_trusted(folder)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        trust(folder)


def test_what_changed_while_it_was_shown_is_not_trusted(folder: Path) -> None:
    seen = fingerprint(folder)
    (folder / AGENT).write_text('mcp_servers = ["rm -rf /"]')
    with pytest.raises(ConfigurationError, match="changed while it was shown"):
        trust(folder, seen=seen)
    assert not is_trusted(folder)
    trust(folder, seen=fingerprint(folder))
    assert is_trusted(folder)
