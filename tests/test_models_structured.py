"""Which request fields hold a reply to a schema, per server, model and thinking."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qianda.models.errors import ConfigurationError
from qianda.models.family import find_family
from qianda.models.servers import server_kinds
from qianda.models.structured import last_fields, last_try, output_fields
from qianda.models.thinking import OFF

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
GRAMMAR = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }
}


def fields(kind: str, model: str = "qwen3-8b", thinking: bool | None = False, has_tools: bool = False) -> Any:
    return output_fields(SCHEMA, server_kinds()[kind], find_family(model), thinking, has_tools)


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llamacpp", "embedded", "ollama", "lmstudio"])
def test_servers_with_a_grammar_get_the_schema(kind: str) -> None:
    assert fields(kind) == GRAMMAR


@pytest.mark.parametrize("kind", ["modelstudio", "modelstudio-cn"])
def test_model_studio_gets_json_without_a_bound(kind: str) -> None:
    assert fields(kind) == {"response_format": {"type": "json_object"}, "max_tokens": None}


def test_tgi_gets_the_schema_as_a_value() -> None:
    assert fields("tgi") == {"response_format": {"type": "json_object", "value": SCHEMA}}


@pytest.mark.parametrize("dialect", ["format", "guided_json"])
def test_dialects_of_one_field(dialect: Any) -> None:
    kind = replace(server_kinds()["openai"], structured=dialect)
    assert output_fields(SCHEMA, kind, find_family("qwen3-8b"), thinking=False, has_tools=False) == {dialect: SCHEMA}


def test_a_server_of_which_nothing_is_known_gets_nothing() -> None:
    assert fields("openai") is None


@pytest.mark.parametrize("kind", sorted(server_kinds()))
def test_beside_tools_there_is_no_grammar(kind: str) -> None:
    assert fields(kind, has_tools=True) is None


@pytest.mark.parametrize(
    ("kind", "model", "thinking", "there"),
    [
        ("vllm", "qwen3-8b", True, True),
        ("vllm", "qwen3-8b", None, True),
        ("sglang", "qwq-32b", None, True),
        ("llamacpp", "qwen3-8b", True, False),
        ("llamacpp", "qwen3-8b", None, False),
        ("llamacpp", "qwen2.5-7b-instruct", None, True),
        ("llamacpp", "smollm2-135m", None, True),
        ("modelstudio", "qwen3-8b", None, False),
        ("modelstudio", "qwen3-8b", False, True),
    ],
)
def test_while_thinking_only_where_the_server_can(kind: str, model: str, thinking: bool | None, there: bool) -> None:
    assert (fields(kind, model, thinking) is not None) is there


def test_what_the_model_cannot_do_is_said() -> None:
    with pytest.raises(ConfigurationError, match="always thinks"):
        fields("vllm", "qwq-32b", thinking=False)


@pytest.mark.parametrize(
    ("kind", "model", "off"),
    [
        ("llamacpp", "qwen3-8b", True),
        ("modelstudio", "qwen3-8b", True),
        ("ollama", "qwen3-8b", True),
        ("tgi", "qwen3-8b", True),
        ("vllm", "qwen3-8b", False),
        ("llamacpp", "qwen2.5-7b-instruct", False),
    ],
)
def test_the_last_try_switches_thinking_off_where_it_is_in_the_way(kind: str, model: str, off: bool) -> None:
    row = server_kinds()[kind]
    last = last_try(SCHEMA, row, find_family(model), None)
    assert last == (fields(kind, "qwen2.5-7b", None), OFF if off else None)


def test_a_model_that_always_thinks_has_no_last_grammar_there() -> None:
    assert last_try(SCHEMA, server_kinds()["llamacpp"], find_family("qwq-32b"), None) is None
    assert last_try(SCHEMA, server_kinds()["openai"], find_family("qwen3-8b"), None) is None


def test_without_our_client_the_switch_is_among_the_fields() -> None:
    row, family = server_kinds()["llamacpp"], find_family("qwen3-8b")
    there = last_fields(SCHEMA, row, family, None)
    assert there == GRAMMAR | {"chat_template_kwargs": {"enable_thinking": False}}
    assert last_fields(SCHEMA, server_kinds()["openai"], family, None) is None
