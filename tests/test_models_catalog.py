"""The table of models: every name finds its row, and the rows say what the sources say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qianda.models.catalog.entries import Model, table, understand
from qianda.models.catalog.prices import cost, has_price
from qianda.models.messages import Usage

# Name as people and servers write it, the row it means ("-": none), its quantisation, "own" for a fine-tune.
NAMES = """
qwen3:8b                                             Qwen3-8B                       -         -
qwen3:8b-q4_K_M                                      Qwen3-8B                       q4_k_m    -
qwen3_8b                                             Qwen3-8B                       -         -
Qwen/Qwen3-8B-AWQ                                    Qwen3-8B                       awq       -
Qwen/Qwen3-8B-FP8                                    Qwen3-8B                       fp8       -
Qwen/Qwen3-8B-Base                                   Qwen3-8B                       -         -
Qwen/Qwen3-14B-MLX-4bit                              Qwen3-14B                      4bit      -
RedHatAI/Qwen3-8B-quantized.w4a16                    Qwen3-8B                       w4a16     -
JunHowie/Qwen3-32B-GPTQ-Int4                         Qwen3-32B                      gptq-int4 -
hf.co/unsloth/Qwen3-0.6B-GGUF:Q8_0                   Qwen3-0.6B                     q8_0      -
Qwen3-8B-Q4_K_M.gguf                                 Qwen3-8B                       q4_k_m    -
Qwen3-8B.Q4_K_M.gguf                                 Qwen3-8B                       q4_k_m    -
Qwen3-8B.gguf                                        Qwen3-8B                       -         -
/models/Qwen3-8B/                                    Qwen3-8B                       -         -
~/.cache/models--Qwen--Qwen3-8B/snapshots/0a1b2c     Qwen3-8B                       -         -
qwen3:30b                                            Qwen3-30B-A3B                  -         -
qwen3:30b-a3b-instruct-2507-q4_K_M                   Qwen3-30B-A3B-Instruct-2507    q4_k_m    -
unsloth/Qwen3-30B-A3B-Instruct-2507-GGUF:UD-Q4_K_XL  Qwen3-30B-A3B-Instruct-2507    q4_k_xl   -
Qwen3-235B-A22B-Thinking-2507-FP8                    Qwen3-235B-A22B-Thinking-2507  fp8       -
qwen3-4b-2507                                        Qwen3-4B-Instruct-2507         -         -
qwen3:4b-thinking                                    Qwen3-4B-Thinking-2507         -         -
qwen3-next:80b-a3b-thinking                          Qwen3-Next-80B-A3B-Thinking    -         -
qwen3-coder:30b                                      Qwen3-Coder-30B-A3B-Instruct   -         -
qwen3-coder:480b-cloud                               Qwen3-Coder-480B-A35B-Instruct -         -
Qwen3-Coder-Next-FP8                                 Qwen3-Coder-Next               fp8       -
qwen3-coder-plus                                     qwen3-coder-plus               -         -
qwen3-vl:8b                                          Qwen3-VL-8B-Instruct           -         -
cyankiwi/Qwen3-VL-8B-Instruct-AWQ-4bit               Qwen3-VL-8B-Instruct           awq       -
Qwen/Qwen3-VL-30B-A3B-Thinking                       Qwen3-VL-30B-A3B-Thinking      -         -
Qwen/Qwen3-Omni-30B-A3B-Instruct                     Qwen3-Omni-30B-A3B-Instruct    -         -
mlx-community/Qwen3.5-27B-4bit                       Qwen3.5-27B                    4bit      -
qwen3.5:35b-a3b                                      Qwen3.5-35B-A3B                -         -
qwen3.5:0.8b                                         Qwen3.5-0.8B                   -         -
qwen3-5-27b-instruct                                 Qwen3.5-27B                    -         -
qwen3.6:35b                                          Qwen3.6-35B-A3B                -         -
Qwen/Qwen3.8-27B-GPTQ-Int4                           Qwen3.8-27B                    gptq-int4 -
Qwen/Qwen3.8-2.4T-A95B                               Qwen3.8-2.4T-A95B              -         -
qwen2.5:72b-instruct-q4_K_M                          Qwen2.5-72B                    q4_k_m    -
Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8                   Qwen2.5-7B                     gptq-int8 -
Qwen/Qwen2.5-7B-Instruct-1M                          Qwen2.5-7B-1M                  -         -
qwen/qwen-2.5-72b-instruct                           Qwen2.5-72B                    -         -
accounts/fireworks/models/qwen2p5-72b-instruct       Qwen2.5-72B                    -         -
qwen2.5-0.5b-instruct-q4_k_m-00001-of-00002.gguf     Qwen2.5-0.5B                   q4_k_m    -
qwen2.5-coder:14b                                    Qwen2.5-Coder-14B              -         -
Qwen/Qwen2.5-VL-7B-Instruct-AWQ                      Qwen2.5-VL-7B                  awq       -
Qwen/Qwen2.5-Math-72B-Instruct                       Qwen2.5-Math-72B               -         -
Qwen/Qwen2.5-Omni-7B                                 Qwen2.5-Omni-7B                -         -
Qwen2-57B-A14B-Instruct                              Qwen2-57B-A14B                 -         -
qwen2:7b                                             Qwen2-7B                       -         -
qwen:7b                                              Qwen1.5-7B                     -         -
qwen:110b                                            Qwen1.5-110B                   -         -
Qwen/Qwen1.5-MoE-A2.7B-Chat                          Qwen1.5-MoE-A2.7B              -         -
qwen1_5-7b-chat-q4_0.gguf                            Qwen1.5-7B                     q4_0      -
Qwen/Qwen-7B-Chat-Int4                               Qwen-7B                        int4      -
Qwen/Qwen-1_8B-Chat                                  Qwen-1.8B                      -         -
Qwen/Qwen-VL-Chat                                    Qwen-VL                        -         -
qwq:32b                                              QwQ-32B                        -         -
QwQ-32B-Preview                                      QwQ-32B-Preview                -         -
deepseek-r1:14b                                      DeepSeek-R1-Distill-Qwen-14B   -         -
deepseek-r1:8b                                       DeepSeek-R1-0528-Qwen3-8B      -         -
bartowski/DeepSeek-R1-Distill-Qwen-32B-GGUF:IQ4_XS   DeepSeek-R1-Distill-Qwen-32B   iq4_xs    -
NousResearch/Hermes-4-Qwen3-14B                      Qwen3-14B                      -         own
cognitivecomputations/dolphin-2.9.2-qwen2-72b        Qwen2-72B                      -         own
qwen-plus-latest                                     qwen-plus                      -         -
qwen-vl-max-2025-01-25                               qwen-vl-max                    -         -
qwen3.8-max-0902                                     qwen3.8-max-0902               -         -
qwq                                                  -                              -         -
qwen3-99b                                            -                              -         -
qwen1.5                                              -                              -         -
qwen-of-tomorrow                                     -                              -         -
llama3:8b-q4_0                                       -                              q4_0      -
"""
ROWS = [line.split() for line in NAMES.strip().splitlines()]


@pytest.mark.parametrize(("name", "row", "quantisation", "own"), ROWS, ids=[row[0] for row in ROWS])
def test_a_name_finds_its_row(name: str, row: str, quantisation: str, own: str) -> None:
    named = understand(name)
    assert (named.model.name if named.model else "-") == row
    assert (named.quantisation or "-", named.derived) == (quantisation, own == "own")


def test_every_row_is_found_by_its_name_and_by_what_is_published() -> None:
    for model in table():
        for name in (model.name, *model.variants.values()):
            assert understand(name).model is model, name
            assert not understand(name).derived, name


def row(name: str) -> Model:
    return next(model for model in table() if model.name == name)


def test_the_first_generation_as_its_model_cards_say() -> None:
    said = {m.name: (m.window, m.released, m.training_tokens, m.memory) for m in table() if m.group == "Qwen"}
    assert said == {
        "Qwen-1.8B": (32768, "2023-11-30", 2.2, {"int4": 2.9, "qlora": 5.8}),
        "Qwen-7B": (32768, "2023-08-03", 2.4, {"int4": 8.2, "qlora": 11.5}),
        "Qwen-14B": (8192, "2023-09-25", 3.0, {"int4": 13.0, "qlora": 18.7}),
        "Qwen-72B": (32768, "2023-11-30", 3.0, {"int4": 48.9, "qlora": 61.4}),
    }
    assert row("Qwen-72B").scores["base"]["MMLU"] == 77.4


def test_licences_differ_by_size() -> None:
    licences = {m.name: m.licence for m in table() if m.group == "Qwen2.5"}
    assert {name for name, licence in licences.items() if licence != "Apache-2.0"} == {"Qwen2.5-3B", "Qwen2.5-72B"}
    assert row("Qwen2-72B").licence != row("Qwen2-7B").licence == "Apache-2.0"


def test_every_row_has_what_choosing_needs() -> None:
    for model in table():
        assert model.licence or model.group in ("Qwen2-VL, Qwen2-Math", "DeepSeek-R1-Distill-Qwen"), model.name
        assert bool(model.variants) is not model.api, model.name
        assert model.family.qwen, model.name
        assert model.family.name != "unknown Qwen", model.name
        if model.extended:
            assert model.window is not None
            assert model.extended > model.window
        if model.active:
            assert model.parameters is not None
            assert model.active < model.parameters


def test_memory_is_the_cards_or_estimated() -> None:
    assert row("Qwen-7B").needs("int4") == 8.2
    assert row("Qwen3-8B").needs("bf16") == pytest.approx(19.2)
    assert row("Qwen3-8B").needs("int4") == pytest.approx(5.4)
    assert row("qwen-plus").needs("int4") is None


@pytest.mark.parametrize(
    ("model", "input_tokens", "output_tokens", "usd"),
    [
        ("qwen-plus", 1_000_000, 0, 0.4),
        ("qwen-plus-latest", 0, 1_000_000, 1.2),
        ("qwen3.6-flash", 2_000_000, 1_000_000, 1.5),
        ("qwen3.6-plus", 100_000, 10_000, 0.08),
        ("qwen3.7-plus", 300_000, 10_000, 0.66),
        ("qwen3.8-max", 1_000, 1_000, 0.008),
        ("qwen-plus-2025-07-28", 1_000, 1_000, None),
        ("qwen-turbo", 1_000, 1_000, None),
        ("Qwen/Qwen3-8B", 1_000, 1_000, None),
        ("llama3", 1_000, 1_000, None),
    ],
)
def test_cost(model: str, input_tokens: int, output_tokens: int, usd: float | None) -> None:
    found = cost(Usage(input_tokens, output_tokens), model)
    assert found == (usd if usd is None else pytest.approx(usd))
    assert has_price(model) is (usd is not None)


def test_the_table_is_not_read_for_a_run(tmp_path: Path) -> None:
    code = (
        "import sys, qianda\n"
        "assert not any(name.startswith('qianda.models') and 'family' in name for name in sys.modules)\n"
        "from qianda.models.family import find_family\nfind_family('qwen3:8b')\n"
        "assert 'qianda.models.catalog' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
