"""Settings: what files and environment give, where each value came from, and what an untrusted folder may do."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda.models.config import SETTINGS, Config, data_dir, load_config, mask, project_config_path, user_config_path
from qianda.models.errors import ConfigurationError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_files_and_environment_everything_is_the_default(tmp_path: Path) -> None:
    config = load_config(tmp_path)
    assert config == Config()
    assert config.permissions == "ask"
    assert config.files == ()


def test_the_users_file_is_read_and_named_as_origin(tmp_path: Path) -> None:
    path = write(user_config_path(), 'server = "ollama"\nmodel = "qwen3:8b"\nthinking = false\npermissions = "auto"\n')
    config = load_config(tmp_path)
    assert (config.server, config.model, config.thinking, config.permissions) == ("ollama", "qwen3:8b", False, "auto")
    assert config.origins == dict.fromkeys(("server", "model", "thinking", "permissions"), str(path))
    assert config.files == (path,)


def test_a_trusted_project_wins_over_the_user(tmp_path: Path) -> None:
    write(user_config_path(), 'model = "qwen3:8b"\nserver = "ollama"\n')
    project = write(project_config_path(tmp_path), 'model = "qwen3:32b"\npermissions = "auto"\n')
    config = load_config(tmp_path, trusted=True)
    assert (config.server, config.model, config.permissions) == ("ollama", "qwen3:32b", "auto")
    assert config.origins["model"] == str(project)


@pytest.mark.parametrize(
    ("user", "project", "effective"),
    [
        ("auto", "ask", "ask"),
        ("auto", "read-only", "read-only"),
        ("ask", "read-only", "read-only"),
        ("ask", "auto", "ask"),
        ("read-only", "auto", "read-only"),
        ("read-only", "ask", "read-only"),
    ],
)
def test_an_untrusted_project_may_tighten_permissions_and_never_loosen_them(
    tmp_path: Path, user: str, project: str, effective: str
) -> None:
    write(user_config_path(), f'permissions = "{user}"\n')
    write(project_config_path(tmp_path), f'permissions = "{project}"\n')
    config = load_config(tmp_path, trusted=False)
    assert config.permissions == effective
    assert bool(config.ignored) == (effective != project)


def test_an_untrusted_project_sets_nothing_else_and_that_is_listed(tmp_path: Path) -> None:
    write(user_config_path(), 'server = "ollama"\napi_key = "mine"\n')
    write(
        project_config_path(tmp_path),
        'server = "https://evil.example/v1"\napi_key = "x"\nmodel = "m"\nthinking = true\n[api_keys]\nollama = "y"\n',
    )
    config = load_config(tmp_path, trusted=False)
    assert (config.server, config.model, config.api_key, config.thinking) == ("ollama", None, "mine", None)
    assert config.key_for("ollama") == "mine"
    assert len(config.ignored) == 5
    assert any("server" in line and ".qianda" in line for line in config.ignored)


@pytest.mark.parametrize(
    ("user", "project", "effective", "refused"),
    [
        ("", "turns = 20", {"turns": 20}, []),
        ("", "turns = 80", {}, ["limits.turns to 80"]),  # more than there are without it
        ("", "depth = 4", {}, ["limits.depth to 4"]),
        ("", "tokens = 9", {"tokens": 9}, []),
        ("turns = 80", "turns = 70", {"turns": 70}, []),
        ("turns = 10", "turns = 20\ncost = 0.5", {"turns": 10, "cost": 0.5}, ["limits.turns to 20"]),
        ("seconds = 1.5", "seconds = 2", {"seconds": 1.5}, ["limits.seconds to 2"]),
    ],
)
def test_an_untrusted_project_may_lower_limits_and_never_raise_them(
    tmp_path: Path, user: str, project: str, effective: dict[str, float], refused: list[str]
) -> None:
    write(user_config_path(), f"[limits]\n{user}\n")
    path = write(project_config_path(tmp_path), f"record = false\n[limits]\n{project}\n")
    config = load_config(tmp_path)
    assert (config.limits, config.record) == (effective, True)
    assert config.ignored == (f"{path} sets record", *(f"{path} sets {what}" for what in refused))
    trusted = load_config(tmp_path, trusted=True)
    assert not trusted.record
    assert trusted.limits == effective | {
        name: float(bound) for name, bound in (line.split(" = ") for line in project.split("\n"))
    }


@pytest.mark.parametrize(
    "bound", ["turns = 0", "turns = 1.5", "turns = true", "cost = -1", "seconds = inf", "seconds = nan", "steps = 3"]
)
def test_a_limit_that_is_none_is_said(tmp_path: Path, bound: str) -> None:
    write(user_config_path(), f"[limits]\n{bound}\n")
    with pytest.raises(ConfigurationError, match=r"limits has a value that is not allowed.*turns, tool_calls"):
        load_config(tmp_path)


def test_the_environment_wins_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(user_config_path(), 'server = "ollama"\nmodel = "a"\n')
    monkeypatch.setenv("QIANDA_SERVER", "http://gpu:8000/v1")
    monkeypatch.setenv("QIANDA_MODEL", "b")
    config = load_config(tmp_path)
    assert (config.server, config.model) == ("http://gpu:8000/v1", "b")
    assert config.origins["server"] == "environment QIANDA_SERVER"


def test_an_empty_variable_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QIANDA_SERVER", "")
    monkeypatch.setenv("DASHSCOPE_API_KEY", " ")
    assert load_config(tmp_path) == Config()


def test_a_key_goes_to_its_own_server_only(tmp_path: Path) -> None:
    write(
        user_config_path(),
        'server = "http://gpu:8000/v1"\napi_key = "gpu-key"\n[api_keys]\n"http://other:1/v1" = "other-key"\n',
    )
    config = load_config(tmp_path)
    assert config.key_for("http://gpu:8000/v1") == "gpu-key"
    assert config.key_for("http://GPU:8000/") == "gpu-key"
    assert config.key_for(None) == "gpu-key"
    assert config.key_for("http://other:1") == "other-key"
    assert config.key_for("http://evil.example/v1") is None
    assert config.key_for("modelstudio") is None


def test_naming_another_server_by_environment_does_not_send_it_the_files_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(user_config_path(), 'server = "http://gpu:8000/v1"\napi_key = "gpu-key"\n')
    monkeypatch.setenv("QIANDA_SERVER", "http://elsewhere:8000/v1")
    config = load_config(tmp_path)
    assert config.api_key is None
    assert config.key_for("http://elsewhere:8000/v1") is None
    assert config.key_for("http://gpu:8000/v1") == "gpu-key"


def test_a_project_that_names_another_server_does_not_get_the_users_key(tmp_path: Path) -> None:
    write(user_config_path(), 'server = "http://gpu:8000/v1"\napi_key = "gpu-key"\n')
    write(project_config_path(tmp_path), 'server = "http://project:8000/v1"\n')
    config = load_config(tmp_path, trusted=True)
    assert config.key_for("http://project:8000/v1") is None


def test_the_key_of_the_environment_goes_to_whichever_server_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QIANDA_API_KEY", "env-key")
    config = load_config(tmp_path)
    assert config.key_for(None) == config.key_for("http://any:1/v1") == "env-key"


def test_the_dashscope_key_wins_over_the_files_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(user_config_path(), 'server = "modelstudio"\napi_key = "old"\n[api_keys]\ndashscope = "older"\n')
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-new")
    assert load_config(tmp_path).key_for("modelstudio") == "sk-new"


@pytest.mark.parametrize(
    ("server", "sent"),
    [
        ("modelstudio", True),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", True),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1/", True),
        ("http://dashscope.aliyuncs.com/compatible-mode/v1", False),
        ("https://aliyuncs.com.evil.example/v1", False),
        ("https://evil.example/aliyuncs.com/v1", False),
        ("https://dashscope.aliyuncs.com@evil.example/v1", False),
        ("https://evilaliyuncs.com/v1", False),
        ("ollama", False),
    ],
)
def test_the_dashscope_key_goes_to_model_studio_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, sent: bool
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-dashscope")
    assert load_config(tmp_path).key_for(server) == ("sk-dashscope" if sent else None)


def test_a_key_by_server_name_is_sent_to_that_server(tmp_path: Path) -> None:
    write(user_config_path(), 'server = "modelstudio"\n[api_keys]\nmodelstudio = "sk-1"\n')
    config = load_config(tmp_path)
    assert config.key_for("modelstudio") == config.key_for(None) == "sk-1"


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ('modle = "x"', ["modle", "Did you mean model?", "Allowed: server, model"]),
        ("model = 7", ["model", "text in quotes"]),
        ('model = ""', ["model", "text in quotes"]),
        ('thinking = "yes"', ["thinking", "true or false"]),
        ('permissions = "yolo"', ["permissions", '"read-only", "ask", "edits", "auto"']),
        ('permissions = ["ask"]', ["permissions"]),
        ('api_keys = "x"', ["api_keys", "a table"]),
        ("[api_keys]\na = 1", ["api_keys"]),
        ('api_key = "with space"', ["api_key"]),
        ("model = \n", ["not valid TOML", "line 1"]),
    ],
)
@pytest.mark.parametrize("whose", ["user", "project"])
def test_a_wrong_file_is_one_sentence_that_names_file_key_and_cure(
    tmp_path: Path, text: str, fragments: list[str], whose: str
) -> None:
    path = write(user_config_path() if whose == "user" else project_config_path(tmp_path), text)
    with pytest.raises(ConfigurationError) as caught:
        load_config(tmp_path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


def test_a_file_that_is_not_utf8_or_not_a_file_is_said(tmp_path: Path) -> None:
    path = user_config_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(b'model = "\xff"')
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_config(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_config(tmp_path)


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_", min_size=1, max_size=60))
def test_a_wrong_or_masked_secret_is_never_in_a_message(secret: str) -> None:
    shown = mask(secret)
    assert len(shown) <= 8
    assert shown == "****" or len(secret) >= 16
    config = Config(server="s", api_key=f"<{secret}>", api_keys={"a": f"<{secret}>"})
    assert f"<{secret}>" not in repr(config)


def test_a_value_that_is_not_allowed_is_not_repeated(tmp_path: Path) -> None:
    write(user_config_path(), 'api_key = "sk-secret with-space"')
    with pytest.raises(ConfigurationError) as caught:
        load_config(tmp_path)
    assert "sk-secret" not in str(caught.value)


def test_a_bad_key_in_the_environment_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QIANDA_API_KEY", "schlüssel")
    with pytest.raises(ConfigurationError, match="QIANDA_API_KEY"):
        load_config(tmp_path)


def test_the_data_folder_follows_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QIANDA_DATA_DIR", str(tmp_path / "elsewhere"))
    assert data_dir() == tmp_path / "elsewhere"
    monkeypatch.delenv("QIANDA_DATA_DIR")
    assert data_dir().name == "qianda"


def test_every_setting_has_a_meaning_and_is_a_field() -> None:
    assert set(SETTINGS) <= set(Config.__dataclass_fields__)
    assert all(setting.meaning and setting.values for setting in SETTINGS.values())
