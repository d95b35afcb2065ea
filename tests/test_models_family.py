"""The names that Qwen models go by, and what each of them needs."""

from __future__ import annotations

import pytest

from qianda import ConfigurationError, Sampling
from qianda.models.family import find_family

# Name, thinking, how calls are written, temperature / top_p / top_k while thinking and without ("-": none).
# Source: the model cards of each generation on Hugging Face.
NAMES = """
qwen3-8b                                  on      hermes  .6/.95/20   .7/.8/20
Qwen/Qwen3-8B-AWQ                         on      hermes  .6/.95/20   .7/.8/20
qwen3:8b                                  on      hermes  .6/.95/20   .7/.8/20
qwen3                                     on      hermes  .6/.95/20   .7/.8/20
Qwen3-8B-Q4_K_M.gguf                      on      hermes  .6/.95/20   .7/.8/20
qwen3_8b                                  on      hermes  .6/.95/20   .7/.8/20
hf.co/unsloth/Qwen3-0.6B-GGUF:Q8_0        on      hermes  .6/.95/20   .7/.8/20
qwen3-235b-a22b                           on      hermes  .6/.95/20   .7/.8/20
Qwen3-4B-Thinking-2507                    only    hermes  .6/.95/20   -
Qwen3-30B-A3B-Instruct-2507               none    hermes  -           .7/.8/20
qwen3:30b-a3b-instruct-2507-q4_K_M        none    hermes  -           .7/.8/20
Qwen/Qwen3-Next-80B-A3B-Instruct          none    hermes  -           .7/.8/20
Qwen/Qwen3-Next-80B-A3B-Thinking          only    hermes  .6/.95/20   -
Qwen/Qwen3-Coder-30B-A3B-Instruct         none    xml     -           .7/.8/20
qwen3-coder:30b                           none    xml     -           .7/.8/20
qwen3-coder-plus                          none    xml     -           .7/.8/20
Qwen3-Coder-Next-FP8                      none    xml     -           1.0/.95/40
Qwen/Qwen3-VL-8B-Instruct                 none    hermes  -           .7/.8/20
Qwen/Qwen3-VL-8B-Thinking                 only    hermes  .6/.95/20   -
qwen3-vl-plus                             off     hermes  -           -
qwen3-omni-flash                          off     hermes  -           -
Qwen/Qwen3-Omni-30B-A3B-Instruct          none    hermes  -           -
Qwen/Qwen3-Omni-30B-A3B-Thinking          only    hermes  -           -
Qwen/Qwen3-Embedding-0.6B                 none    hermes  -           -
qwen:7b                                   none    react   -           .8/.8/0
deepseek-r1:7b                            only    hermes  .6/.95/20   -
qwen3-5-27b-instruct                      on      xml     1.0/.95/20  .7/.8/20
qwen2p5-72b-instruct                      none    hermes  -           .7/.8/20
qwen3-max                                 off     hermes  -           -
Qwen/Qwen3.5-35B-A3B                      on      xml     1.0/.95/20  .7/.8/20
Qwen3.5-0.8B                              off     xml     1.0/.95/20  .7/.8/20
qwen3.5:2b                                off     xml     1.0/.95/20  .7/.8/20
qwen3.5:27b                               on      xml     1.0/.95/20  .7/.8/20
qwen3.5-plus                              on      xml     1.0/.95/20  .7/.8/20
qwen3.6-flash                             on      xml     1.0/.95/20  .7/.8/20
Qwen/Qwen3.6-27B-FP8                      on      xml     1.0/.95/20  .7/.8/20
qwen3.7-max                               on      xml     -           -
qwen3.8-max-0902                          on      xml     1.0/.95/20  .7/.8/20
Qwen/Qwen3.8-27B                          on      xml     1.0/.95/20  .7/.8/20
QwQ-32B-Q4_K_M.gguf                       only    hermes  .6/.95/30   -
qwq-plus                                  only    hermes  .6/.95/30   -
DeepSeek-R1-Distill-Qwen-7B               only    hermes  .6/.95/20   -
DeepSeek-R1-0528-Qwen3-8B                 only    hermes  .6/.95/20   -
qwen2.5:7b                                none    hermes  -           .7/.8/20
qwen2.5-coder:7b                          none    hermes  -           .7/.8/20
Qwen/Qwen2.5-VL-7B-Instruct               none    hermes  -           .7/.8/20
Qwen2-7B-Instruct                         none    hermes  -           .7/.8/20
qwen-plus-latest                          off     hermes  -           -
qwen-turbo                                off     hermes  -           -
qwen-max                                  off     hermes  -           -
qwen-flash                                off     hermes  -           -
qwen-vl-max                               off     hermes  -           -
Qwen1.5-14B-Chat                          none    react   -           .8/.8/0
CodeQwen1.5-7B-Chat                       none    react   -           .8/.8/0
Qwen/Qwen-7B-Chat                         none    react   -           .8/.8/0
Qwen/Qwen-VL-Chat                         none    react   -           .8/.8/0
qwen-of-tomorrow                          unknown hermes  -           -
llama3                                    unknown hermes  -           -
meta-llama/Llama-3.1-8B-Instruct          unknown hermes  -           -
"""
ROWS = [line.split() for line in NAMES.strip().splitlines()]


def sampling(text: str) -> tuple[float | None, ...]:
    return (None, None, None) if text == "-" else tuple(float(number) for number in text.split("/"))


@pytest.mark.parametrize(("name", "thinking", "calls", "reasoning", "plain"), ROWS, ids=[row[0] for row in ROWS])
def test_what_a_name_means(name: str, thinking: str, calls: str, reasoning: str, plain: str) -> None:
    family = find_family(name)
    assert (family.thinking, family.calls) == (thinking, calls)
    for preset, wanted in ((family.reasoning, reasoning), (family.plain, plain)):
        assert (preset.temperature, preset.top_p, preset.top_k) == sampling(wanted)
    assert family.qwen is not ("llama" in name.lower())


@pytest.mark.parametrize(
    ("name", "presence", "repetition"),
    [
        ("Qwen3.5-27B", 1.5, None),
        ("Qwen3-VL-8B-Instruct", 1.5, None),
        ("qwen3-coder:30b", 0.0, 1.05),
        ("qwen2.5:7b", 0.0, 1.05),
        ("qwen3:8b", None, None),
    ],
)
def test_penalties_without_thinking(name: str, presence: float | None, repetition: float | None) -> None:
    plain = find_family(name).plain
    assert (plain.presence_penalty, plain.repetition_penalty) == (presence, repetition)


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/models/Qwen3-8B/", "Qwen3"),
        ("/root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/0a1b2c", "Qwen3"),
        ("./qwen3.5-27b/checkpoint-500", "Qwen3.5"),
        ("/qwen/llama3", "unknown Qwen"),
        ("qwen/llama3", "not a Qwen"),
        ("/models/mistral-7b", "not a Qwen"),
        ("", "not a Qwen"),
    ],
)
def test_a_path_is_as_good_as_a_name(path: str, family: str) -> None:
    assert find_family(path).name == family


def test_what_a_model_cannot_do_is_said_with_the_way_out() -> None:
    with pytest.raises(ConfigurationError, match=r"always thinks.*Instruct"):
        find_family("qwq").thinks(False)
    with pytest.raises(ConfigurationError, match="cannot think"):
        find_family("qwen3-coder").thinks(True)
    assert [find_family(name).thinks(None) for name in ("qwq", "qwen3", "qwen-plus", "qwen2", "llama3")] == [
        True,
        True,
        False,
        False,
        None,
    ]
    assert find_family("llama3").reasoning == Sampling()
