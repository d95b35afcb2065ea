"""``qianda config``: showing, reading and changing settings, through the program's main function."""

from __future__ import annotations

import io
import stat
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qianda.cli.main import main
from qianda.models.config import read_config_file, user_config_path
from qianda.models.config_file import change_setting
from qianda.models.errors import ConfigurationError


def write(text: str, path: Path | None = None) -> Path:
    path = path or user_config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_set_get_unset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "set", "server", "http://gpu:8000/v1"]) == 0
    assert main(["config", "set", "thinking", "off"]) == 0
    assert main(["config", "get", "server"]) == 0
    assert main(["config", "get", "thinking"]) == 0
    assert capsys.readouterr().out == "http://gpu:8000/v1\nfalse\n"
    assert main(["config", "unset", "server"]) == 0
    assert tomllib.loads(user_config_path().read_text()) == {"thinking": False}
    assert main(["config", "get", "server"]) == 1
    assert capsys.readouterr().err == "qianda: server is not set\n"


def test_everything_is_shown_with_its_origin_and_keys_masked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        'server = "ollama"\napi_key = "sk-secret-0123456789abcd"\n[api_keys]\nother = "another-secret-key-wxyz"\n'
    )
    monkeypatch.setenv("QIANDA_MODEL", "qwen3:8b")
    assert main(["config"]) == 0
    shown = capsys.readouterr().out
    assert "secret" not in shown
    assert [line.split(maxsplit=2) for line in shown.splitlines()[:4]] == [
        ["server", "ollama", str(path)],
        ["model", "qwen3:8b", "environment QIANDA_MODEL"],
        ["api_key", "****abcd", str(path)],
        ["api_keys.other", "****wxyz", str(path)],
    ]
    assert main(["config", "get", "api_key"]) == 0
    assert main(["config", "get", "api_keys.other"]) == 0
    assert capsys.readouterr().out == "****abcd\n****wxyz\n"


def test_what_an_untrusted_folder_wants_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    write('server = "https://evil.example/v1"\n', Path(".qianda/config.toml"))
    assert main(["config"]) == 0
    shown = capsys.readouterr().out
    assert "ignored until qianda trust" in shown
    assert "evil.example" not in shown


def test_a_key_makes_the_file_private_and_leaves_other_lines_alone() -> None:
    path = write('# mine\nmodel = "a"  \n\n# keys below\n[api_keys]\n# a friend\'s\nollama = "k"\n')
    assert main(["config", "set", "api_keys.http://gpu:8000/v1", "key-2"]) == 0
    assert main(["config", "set", "model", 'q"wen\\3']) == 0
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# mine", "# keys below", "# a friend's"]
    assert tomllib.loads(text) == {
        "model": 'q"wen\\3',
        "api_keys": {"ollama": "k", "http://gpu:8000/v1": "key-2"},
    }


def test_a_key_can_be_given_unseen_on_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-from-stdin\n"))
    assert main(["config", "set", "api_keys.modelstudio"]) == 0
    assert tomllib.loads(user_config_path().read_text()) == {"api_keys": {"modelstudio": "sk-from-stdin"}}


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["set", "modle", "x"], "Did you mean model?"),
        (["set", "permissions", "yolo"], '"read-only", "ask", "edits", "auto"'),
        (["set", "thinking", "maybe"], "true or false"),
        (["set", "api_keys", "x"], "api_keys.SERVER"),
        (["set", "model.name", "x"], "Write model"),
        (["set", "limits", "5"], "limits.turns"),
        (["set", "limits.turns", "many"], "turns, tool_calls"),
        (["set", "limits.steps", "5"], "turns, tool_calls"),
        (["set", "api_key", "two words"], "api_key"),
        (["set", "model", ""], "model"),
        (["get", "colour"], "Allowed: server"),
        (["get", "model.name"], "qianda config get model"),
        (["unset", "colour"], "Allowed: server"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    arguments: list[str], fragment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert fragment in captured.err
    assert not user_config_path().exists()


def test_limits_are_set_and_shown_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "set", "limits.turns", "20"]) == 0
    assert main(["config", "set", "limits.cost", "0.5"]) == 0
    assert main(["config", "unset", "limits.cost"]) == 0
    assert read_config_file(user_config_path()) == {"limits": {"turns": 20}}
    capsys.readouterr()
    assert main(["config", "get", "limits.turns"]) == 0
    assert main(["config", "get", "limits.cost"]) == 1
    assert main(["config"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("20\n")
    lines = [line.split(maxsplit=2) for line in out.splitlines() if line.startswith("limits.")]
    assert lines[:3] == [
        ["limits.turns", "20", str(user_config_path())],
        ["limits.tool_calls", "200", "the default"],
        ["limits.tokens", "(none)"],
    ]


def test_a_broken_file_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    path = write("model = \n")
    assert main(["config", "set", "server", "ollama"]) == 2
    assert "not valid TOML" in capsys.readouterr().err
    assert path.read_text() == "model = \n"


@pytest.mark.parametrize(
    "text",
    [
        'model = """\nserver = "x"\n"""\n',  # what looks like another key is inside a string
        "api_keys = {a = 'b'}\n",  # an inline table
        'api_keys.a = "b"\n',  # a dotted key
    ],
)
def test_a_file_that_cannot_be_changed_safely_is_left_as_it_is(text: str) -> None:
    path = write(text)
    wanted = "api_keys.c" if "api_keys" in text else "model"
    with pytest.raises(ConfigurationError, match="by hand"):
        change_setting(path, wanted, "new")
    assert path.read_text() == text


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    target = write('model = "a"\n', tmp_path / "dotfiles/qianda.toml")
    path = user_config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    assert main(["config", "set", "model", "b"]) == 0
    assert path.is_symlink()
    assert tomllib.loads(target.read_text()) == {"model": "b"}


def test_a_variable_that_hides_the_new_value_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QIANDA_MODEL", "other")
    assert main(["config", "set", "model", "mine"]) == 0
    assert "QIANDA_MODEL overrides it" in capsys.readouterr().err


def test_path_is_where_set_writes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "set", "model", "a"])
    main(["config", "path"])
    assert "model" in Path(capsys.readouterr().out.strip()).read_text()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        change_setting(tmp_path / "file" / "config.toml", "model", "a")


plain = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: text.strip() != ""
)
keys = st.text("abcXYZ019-_./:é\"'\\ ", min_size=1, max_size=12)


@given(
    changes=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["server", "model"]), st.one_of(st.none(), plain)),
            st.tuples(st.just("thinking"), st.one_of(st.none(), st.booleans())),
            st.tuples(keys.map("api_keys.{}".format), st.one_of(st.none(), st.just("key"))),
        ),
        max_size=6,
    )
)
@example(changes=[("server", "0\x85"), ("server", None)])
def test_any_changes_in_any_order_can_be_read_back(
    changes: list[tuple[str, str | bool | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("config") / "config.toml"
    expected: dict[str, object] = {}
    for key, value in changes:
        change_setting(path, key, value)
        if value is None:
            expected.pop(key, None)
        else:
            expected[key] = value
        read = dict(read_config_file(path) or {})
        found = {f"api_keys.{name}": item for name, item in read.pop("api_keys", {}).items()} | read
        assert found == expected
