"""``qianda models``: the table, one model in full, what fits, names that the table does not have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qianda.cli.main import main


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["models", *arguments]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out


def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(shown(capsys, *arguments, "--json"))


def test_the_table_has_a_line_per_generation(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys).splitlines()
    firsts = [line.split("  ")[0] for line in lines if not line.startswith(" ")]
    assert firsts[0] == "Qwen"
    assert {"Qwen1.5", "Qwen2.5-Coder", "QwQ", "Qwen3", "Qwen3.5", "Qwen3.8", "Model Studio"} <= set(firsts)
    assert max(map(len, lines)) <= 120
    assert len(read(capsys)) > 100


@pytest.mark.parametrize("name", ["Qwen3-8B", "qwen3:8b", "Qwen/Qwen3-8B", "qwen3-8b.gguf"])
def test_one_model_in_full(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, name)
    assert text.startswith("Qwen3-8B\n")
    for fact in (
        "32,768 tokens, 131,072 with YaRN",
        "/no_think",
        "hermes",
        "Apache-2.0",
        "https://huggingface.co/Qwen/Qwen3-8B\n",
        "https://modelscope.cn/models/Qwen/Qwen3-8B\n",
    ):
        assert fact in text
    row = read(capsys, name)
    assert (row["name"], row["parameters"], row["family"]["soft_switch"]) == ("Qwen3-8B", 8, True)


def test_a_service_has_prices_and_no_weights(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "qwen3.7-plus")
    assert "0.5 in, 3 out · 2 in, 6 out from 256,000 tokens" in text
    assert "huggingface" not in text


def test_what_a_name_adds_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "says q4_k_m" in shown(capsys, "qwen3:8b-q4_K_M")
    assert "a model made from it" in shown(capsys, "NousResearch/Hermes-4-Qwen3-14B")


def test_a_generation_is_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "qwen3.5")
    assert "Qwen3.5-0.8B" in text
    assert "Qwen3.5-397B-A17B" in text
    assert "Qwen3.6" not in text
    assert [row["name"] for row in read(capsys, "qwq")] == ["QwQ-32B-Preview", "QwQ-32B"]


def test_a_generation_is_not_the_ones_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    groups = {row["group"] for row in read(capsys, "qwen3")}
    assert groups == {"Qwen3", "Qwen3-2507, Qwen3-Next", "Qwen3-Coder", "Qwen3-VL", "Qwen3-Omni"}


def test_options_may_stand_before_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json", "--fits", "12GB", "qwen3.6"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_what_fits(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row["precision"] for row in read(capsys, "--fits", "12GB")}
    assert rows["Qwen3-8B"] == "int8"
    assert rows["Qwen3-4B"] == "bf16"
    assert rows["Qwen3-14B"] == "int4"
    assert rows["Qwen-7B"] == "int8"
    assert not rows.keys() & {"Qwen3-32B", "Qwen-14B", "qwen-plus"}
    small = [row["name"] for row in read(capsys, "qwen3-vl", "--fits", "3 GB")]
    assert small == ["Qwen3-VL-4B-Instruct", "Qwen3-VL-4B-Thinking", "Qwen3-VL-2B-Instruct", "Qwen3-VL-2B-Thinking"]
    assert "the finest that fits" in shown(capsys, "--fits", "24")
    assert "None" in shown(capsys, "--fits", "100MB")


@pytest.mark.parametrize(
    ("name", "said"),
    [("llama3:8b", "not a Qwen"), ("qwen-of-tomorrow", "a Qwen that the table does not have")],
)
def test_an_unknown_name_is_answered_honestly(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, name)
    assert said in text
    assert "left to the server" in text
    assert read(capsys, name)["model"] is None


def test_memory_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--fits", "much"]) == 2
    assert "Write it like 12GB" in capsys.readouterr().err
