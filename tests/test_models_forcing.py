"""How a call is forced on each kind of server and model."""

from __future__ import annotations

from typing import Any

import pytest

from qianda.models.family import find_family
from qianda.models.forcing import FORCED_TOKENS, Forced, force_call
from qianda.models.messages import ToolSchema
from qianda.models.servers import server_kinds
from qianda.models.thinking import OFF

WEATHER = ToolSchema("weather", "", {"type": "object", "properties": {"city": {"type": "string"}}})
CLOCK = ToolSchema("clock", "")
TREE = ToolSchema(
    "tree",
    "",
    {
        "type": "object",
        "properties": {"root": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    },
)
NAMED = {"type": "function", "function": {"name": "weather"}}


def force(kind: str, name: str | None = "weather", model: str = "qwen3-8b", *tools: ToolSchema) -> Forced | None:
    return force_call(server_kinds()[kind], find_family(model), tools or (WEATHER, CLOCK), name)


def fields(kind: str, name: str | None = "weather", model: str = "qwen3-8b", *tools: ToolSchema) -> dict[str, Any]:
    forced = force(kind, name, model, *tools)
    assert forced is not None
    return forced.fields


@pytest.mark.parametrize("kind", ["vllm", "sglang", "tgi", "openvino", "openai", "modelstudio", "modelstudio-cn"])
def test_a_named_choice_where_there_is_one(kind: str) -> None:
    forced = force(kind)
    assert forced is not None
    assert (forced.how, forced.fields["tool_choice"], forced.thinking) == ("named choice", NAMED, OFF)
    assert ("tools" in forced.fields) == (kind == "vllm")


def test_vllm_holds_arguments_to_the_schema_of_a_strict_tool_alone() -> None:
    for asked in (fields("vllm"), fields("vllm", None)):
        assert all(tool["function"]["strict"] for tool in asked["tools"])
    assert [tool["function"]["name"] for tool in fields("vllm")["tools"]] == ["weather"]
    assert "strict" not in fields("sglang", None)["tools"][0]["function"]


@pytest.mark.parametrize("kind", ["llamacpp", "embedded", "lmstudio"])
def test_required_with_that_tool_alone_where_no_choice_can_be_named(kind: str) -> None:
    assert fields(kind)["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in fields(kind)["tools"]] == ["weather"]
    assert [tool["function"]["name"] for tool in fields(kind, None)["tools"]] == ["weather", "clock"]


def test_ollama_gets_a_grammar_of_a_bare_call() -> None:
    asked = fields("ollama")["response_format"]["json_schema"]["schema"]
    assert asked["properties"] == {"name": {"type": "string", "enum": ["weather"]}, "arguments": WEATHER.parameters}
    assert asked["required"] == ["name", "arguments"]
    of_any = fields("ollama", None)["response_format"]["json_schema"]["schema"]
    assert [call["properties"]["name"]["enum"] for call in of_any["anyOf"]] == [["weather"], ["clock"]]


def test_references_in_a_grammar_still_lead_somewhere() -> None:
    schema = fields("ollama", "tree", "qwen3-8b", TREE)["response_format"]["json_schema"]["schema"]
    assert schema["$defs"] == TREE.parameters["$defs"]
    assert "$defs" not in schema["properties"]["arguments"]


def test_any_tool_is_required_when_none_is_meant() -> None:
    assert fields("vllm", None)["tool_choice"] == "required"
    assert fields("vllm", "unknown")["tool_choice"] == "required"
    assert fields("openai", None)["tool_choice"] == "required"
    assert fields("modelstudio", None, "qwen-plus", WEATHER)["tool_choice"] == NAMED


def test_model_studio_cannot_be_made_to_call_any_tool_or_by_a_model_that_always_thinks() -> None:
    assert force("modelstudio", None, "qwen-plus") is None
    assert force("modelstudio", "weather", "qwq-plus") is None


@pytest.mark.parametrize("kind", sorted(server_kinds()))
@pytest.mark.parametrize("model", ["qwen3-8b", "qwen2.5-7b", "qwq-32b", "qwen3.8-27b", "mistral-7b", "qwen-unheard-of"])
def test_a_forced_reply_is_one_capped_document_everywhere(kind: str, model: str) -> None:
    forced = force(kind, "weather", model)
    if forced is None:
        assert kind.startswith("modelstudio")
        assert model == "qwq-32b"
        return
    assert forced.fields["stream"] is False
    assert forced.fields["stream_options"] is None
    assert forced.fields["max_tokens"] >= FORCED_TOKENS
    assert forced.how in ("named choice", "required", "grammar")
