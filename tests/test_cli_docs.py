"""The documents of the command line name what there is, and nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from qianda.cli.main import main
from qianda.models.config import SETTINGS, check_value

COMMANDS = ("run", "doctor", "config", "models", "sessions", "resume", "serve", "trust")


@pytest.fixture
def cli(house: Path) -> str:
    return (house / "docs/cli.md").read_text(encoding="utf-8")


@pytest.fixture
def configuration(house: Path) -> str:
    return (house / "docs/configuration.md").read_text(encoding="utf-8")


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert main([*command, "--help"]) == 0
    return capsys.readouterr().out


def test_every_option_of_run_is_described(cli: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", help_of(capsys, "run"), re.MULTILINE)
    assert len(options) > 12
    assert [option for option in options if f"`{option}" not in cli and option != "--help"] == []


def test_every_option_in_the_documents_exists(cli: str, configuration: str, capsys: pytest.CaptureFixture[str]) -> None:
    helps = help_of(capsys) + "".join(help_of(capsys, command) for command in COMMANDS)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", cli + configuration)) <= set(re.findall(r"--[a-z-]+", helps))


def test_every_command_is_described(cli: str) -> None:
    assert [command for command in COMMANDS if f"`qianda {command}`" not in cli] == []


def test_every_setting_is_described_and_the_example_is_valid(configuration: str) -> None:
    example = re.search(r"```toml\n(.*?)```", configuration, re.DOTALL)
    assert example is not None
    values = tomllib.loads(example.group(1).replace("…", "x"))
    assert set(values) == set(SETTINGS)
    for key, value in values.items():
        check_value(key, value, "docs/configuration.md")
    for setting in SETTINGS.values():
        assert f"| `{setting.key}` |" in configuration
        assert setting.environment in configuration
