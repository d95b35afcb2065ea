"""The assistant: small in the prompt, so that a local model answers soon."""

from __future__ import annotations

import json
from pathlib import Path

from qianda.agents.assistant import assistant_instructions, assistant_tools

PLAN = 390  # characters of the tool that plans
MOST_TOOLS = 11  # and that one


def wire() -> list[str]:
    """The default tools as a request holds them."""
    return [
        json.dumps(
            {
                "type": "function",
                "function": {
                    "name": tool.schema.name,
                    "description": tool.schema.description,
                    "parameters": tool.schema.parameters,
                },
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for tool in assistant_tools()
    ]


def test_the_default_tools_are_few_and_small() -> None:
    assert len(wire()) <= MOST_TOOLS
    assert sum(map(len, wire())) + PLAN <= 4_000


def test_system_prompt_and_tools_are_small() -> None:
    assert len(assistant_instructions(Path("/home/somebody/projects/something"))) + sum(map(len, wire())) + PLAN < 6_000


def test_the_model_is_told_what_every_argument_means() -> None:
    for text in wire():
        function = json.loads(text)["function"]
        assert function["description"]
        assert all(argument.get("description") for argument in function["parameters"]["properties"].values()), function
