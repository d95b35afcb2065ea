"""The built-in agents as a request holds them: small, so that a local model answers soon."""

from __future__ import annotations

import json

import pytest

from qianda import load_agent
from qianda.models.messages import ToolSchema


def wire(schema: ToolSchema) -> str:
    """A tool as a request holds it."""
    function = {"name": schema.name, "description": schema.description, "parameters": schema.parameters}
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("name", ["assistant", "coder"])
def test_the_default_tools_are_few_and_small(name: str) -> None:
    agent = load_agent(name)
    size = sum(len(wire(tool.schema)) for tool in agent.tools.values())
    assert len(agent.tools) <= 12
    assert size <= 4_000
    assert size + len(agent.instructions) < 6_000


def test_the_model_is_told_what_every_argument_means() -> None:
    for tool in load_agent("assistant").tools.values():
        assert tool.schema.description
        properties = tool.schema.parameters["properties"]
        assert all(argument.get("description") for argument in properties.values()), tool.name
