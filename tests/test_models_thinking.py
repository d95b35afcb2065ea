"""Thinking: the fields that each server and family gets, what is refused, and what goes back to the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from qianda import AssistantMessage, ConfigurationError, Thinking, ToolCall, UserMessage
from qianda.models.budget import BudgetWatch, bound, continuations, count_tokens
from qianda.models.family import Sampling, find_family
from qianda.models.messages import MediaPart, Message, TextPart, ToolMessage, Usage
from qianda.models.mode import mode_of
from qianda.models.reply import Piece, ReasoningPiece, Reset, TextPiece, UsagePiece, merge
from qianda.models.servers import ServerKind, server_kinds
from qianda.models.thinking import OFF, check_thinking, less_thinking, soft_switch, thinking_fields
from qianda.models.wire import MessageEncoder

TEMPLATE = (Path(__file__).parent / "fixtures/qwen3/chat_template.jinja").read_text(encoding="utf-8")
ON = Thinking()


def kind(name: str) -> ServerKind:
    return server_kinds()[name]


def kwargs(**fields: Any) -> dict[str, Any]:
    return {"chat_template_kwargs": fields}


@pytest.mark.parametrize(
    ("wanted", "model", "server", "fields"),
    [
        (None, "qwen3-8b", "vllm", {}),
        (ON, "qwen3-8b", "vllm", kwargs(enable_thinking=True)),
        (OFF, "qwen3-8b", "sglang", kwargs(enable_thinking=False)),
        (Thinking(budget=500), "qwen3-8b", "vllm", {**kwargs(enable_thinking=True), "thinking_token_budget": 500}),
        (Thinking(budget=500), "qwen3-8b", "sglang", kwargs(enable_thinking=True)),
        (Thinking(budget=500), "qwen3-4b-thinking-2507", "vllm", {"thinking_token_budget": 500}),
        (ON, "qwq-32b", "vllm", {}),
        (OFF, "qwen2.5-7b-instruct", "vllm", {}),
        # Model Studio: an effort excludes the other two fields.
        (ON, "qwen-plus", "modelstudio", {"enable_thinking": True}),
        (OFF, "qwen-plus", "modelstudio", {"enable_thinking": False}),
        (Thinking(budget=9), "qwen-plus", "modelstudio", {"enable_thinking": True, "thinking_budget": 9}),
        (Thinking(effort="max"), "qwen3.8-max", "modelstudio", {"reasoning_effort": "xhigh"}),
        (Thinking(effort="low", budget=9), "qwen3.8-max", "modelstudio", {"reasoning_effort": "low"}),
        (OFF, "qwen3.8-max", "modelstudio", {"reasoning_effort": "none"}),
        (ON, "qwen3.8-max", "modelstudio", {"enable_thinking": True}),
        # Levels of Qwen3.8's template: only xhigh, medium, low.
        (Thinking(effort="minimal"), "qwen3.8-27b", "vllm", kwargs(enable_thinking=True, reasoning_effort="low")),
        (Thinking(effort="medium"), "qwen3.8-27b", "vllm", kwargs(enable_thinking=True, reasoning_effort="medium")),
        (Thinking(effort="high"), "qwen3.8-27b", "llamacpp", kwargs(enable_thinking=True, reasoning_effort="xhigh")),
        (Thinking(effort="none"), "qwen3.8-27b", "vllm", kwargs(enable_thinking=False)),
        # Ollama and LM Studio have levels of their own.
        (Thinking(effort="xhigh"), "qwen3.8:27b", "ollama", {"reasoning_effort": "max"}),
        (Thinking(effort="xhigh"), "qwen3.8-27b", "lmstudio", {"reasoning_effort": "high"}),
        (OFF, "qwen3-8b", "lmstudio", {"reasoning_effort": "none"}),
        (ON, "qwen3-8b", "lmstudio", {}),
        # Kept across turns where the template must be asked to.
        (None, "qwen3.6-27b", "vllm", kwargs(preserve_thinking=True)),
        (ON, "qwen3.6-27b", "vllm", kwargs(enable_thinking=True, preserve_thinking=True)),
        (OFF, "qwen3.6-27b", "vllm", kwargs(enable_thinking=False)),
        (None, "qwen3.7-max", "modelstudio", {"preserve_thinking": True}),
        (None, "qwen3.6-flash", "modelstudio", {}),
        # No switch known: the standard field, where soft switches do not do; nothing to a stranger.
        (OFF, "qwen3.5-27b", "openai", {"reasoning_effort": "none"}),
        (OFF, "qwen3-8b", "openai", {}),
        (OFF, "llama3", "openai", {}),
        (OFF, "llama3", "vllm", kwargs(enable_thinking=False)),
    ],
)
def test_fields_per_model_and_server(wanted: Thinking | None, model: str, server: str, fields: dict[str, Any]) -> None:
    assert thinking_fields(wanted, find_family(model), kind(server)) == fields


@pytest.mark.parametrize(
    ("wanted", "model", "server", "why"),
    [
        (ON, "qwen2.5-7b-instruct", "vllm", "cannot think"),
        (Thinking(budget=5), "qwen3-coder-30b-a3b", "vllm", "cannot think"),
        (OFF, "qwq-32b", "vllm", "always thinks"),
        (Thinking(effort="none"), "qwen3-4b-thinking-2507", "vllm", "always thinks"),
        (Thinking(effort="low"), "qwen3-8b", "vllm", r"no levels.*Thinking\(budget"),
        (Thinking(budget=5), "qwq-32b", "openai", "cannot be held to a thinking budget"),
    ],
)
def test_what_a_model_cannot_do_is_refused_kindly(wanted: Thinking, model: str, server: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        check_thinking(wanted, find_family(model), kind(server))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"budget": 0}, "budget of 0"),
        ({"effort": "lots"}, "one of: none, minimal"),
        ({"enabled": False, "budget": 5}, "switched off"),
        ({"enabled": False, "effort": "low"}, "switched off"),
        ({"effort": "none", "budget": 5}, "switched off"),
    ],
)
def test_values_that_make_no_sense_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Thinking(**options)


def test_soft_switches_where_the_server_has_none() -> None:
    qwen3, later = find_family("qwen3-8b"), find_family("qwen3.5-27b")
    assert [soft_switch(wanted, qwen3, kind("openai")) for wanted in (None, ON, OFF)] == ["", "/think", "/no_think"]
    assert soft_switch(OFF, qwen3, kind("vllm")) == soft_switch(OFF, later, kind("openai")) == ""


def test_less_thinking_goes_down_level_by_level_and_then_off() -> None:
    newest = find_family("qwen3.8-27b")
    steps: list[Thinking | None] = [Thinking(effort="max", budget=7)]
    while steps[-1] is not None:
        steps.append(less_thinking(steps[-1], newest))
    assert steps[1:] == [Thinking(effort="medium", budget=7), Thinking(effort="low", budget=7), OFF, None]
    assert less_thinking(None, newest) == Thinking(effort="medium")
    assert less_thinking(None, find_family("qwen3-8b")) == OFF
    assert less_thinking(None, find_family("qwq")) is None
    assert less_thinking(None, find_family("qwen2.5-7b")) is None


def test_the_way_of_thinking_chooses_the_sampling() -> None:
    family = find_family("qwen3-8b")
    on, off = (mode_of(wanted, family, kind("vllm"), Sampling(top_p=0.5)) for wanted in (ON, OFF))
    assert (on.fields["temperature"], off.fields["temperature"], off.fields["top_p"]) == (0.6, 0.7, 0.5)
    assert mode_of(Thinking(budget=9), family, kind("vllm"), Sampling()).stream is False
    assert mode_of(Thinking(budget=9), family, kind("sglang"), Sampling()).stream is True


def body_of(encoder: MessageEncoder, messages: list[Message], **options: Any) -> list[dict[str, Any]]:
    return orjson.loads(encoder.request(messages, b'{"model":"m"}', **options))["messages"]


CALL = ToolCall("c1", "look", '{"at": [1]}')
TALK: list[Message] = [
    UserMessage("one"),
    AssistantMessage("", "because", (CALL,)),
    ToolMessage("c1", "look", "seen"),
]


@pytest.mark.parametrize(
    ("server", "resend", "fields"),
    [
        (kind("vllm"), (), {"reasoning_content": "because"}),
        (kind("ollama"), (), {"reasoning": "because"}),
        (kind("vllm"), find_family("qwen3.8-27b").resend, {"reasoning_content": "because", "reasoning": "because"}),
        (replace(kind("vllm"), reasoning=""), find_family("qwen3.8-27b").resend, {}),
    ],
)
def test_reasoning_is_resent_inside_a_tool_loop(server: ServerKind, resend: tuple[str, ...], fields: Any) -> None:
    reply = body_of(MessageEncoder(server, preserve=False, resend=resend), TALK)[1]
    assert {name: value for name, value in reply.items() if "reasoning" in name} == fields


@pytest.mark.parametrize(("model", "kept"), [("qwen3-8b", False), ("qwen3.6-27b", True), ("qwen3.8-27b", True)])
def test_reasoning_across_turns_is_kept_or_dropped_per_family(model: str, kept: bool) -> None:
    encoder = MessageEncoder(kind("vllm"), preserve=find_family(model).preserve)
    assert "reasoning_content" in body_of(encoder, TALK)[1]
    later = [*TALK, AssistantMessage("done", "so"), UserMessage("two")]
    assert ["reasoning_content" in message for message in body_of(encoder, later)][1::2] == [kept, kept]


def test_arguments_are_an_object_where_the_server_does_not_parse_them() -> None:
    def arguments(server: str) -> Any:
        return body_of(MessageEncoder(kind(server), preserve=False), TALK)[1]["tool_calls"][0]["function"]["arguments"]

    assert arguments("transformers") == {"at": [1]}
    assert arguments("vllm") == CALL.arguments


def test_the_switch_stands_at_the_end_of_prompts_and_may_change() -> None:
    encoder = MessageEncoder(kind("openai"), preserve=False)
    messages: list[Message] = [UserMessage("one"), AssistantMessage("1")]
    assert body_of(encoder, messages, switch="/think")[0]["content"] == "one /think"
    picture = MediaPart("image", "https://example.com/a.png")
    messages.append(UserMessage((TextPart("two"), picture)))
    first, _, last = body_of(encoder, messages, switch="/no_think")
    assert first["content"] == "one /no_think"
    assert last["content"][-1] == {"type": "text", "text": "/no_think"}
    assert body_of(encoder, messages)[0]["content"] == "one"


@pytest.mark.parametrize(("text", "tokens"), [("a", 1), (" understand", 1), ("x" * 40, 10), ("思" * 20, 20)])
def test_tokens_are_counted_roughly(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_the_watch_cuts_at_the_bound_and_not_where_the_answer_is_there() -> None:
    watch = BudgetWatch(3)
    assert watch.take([ReasoningPiece("a"), ReasoningPiece("b")]) == [ReasoningPiece("a"), ReasoningPiece("b")]
    kept = watch.take([ReasoningPiece("c"), ReasoningPiece("d")])
    assert (kept[0], len(kept), watch.spent) == (ReasoningPiece("c"), 2, True)
    assert watch.thought.startswith("abc\n\nConsidering the limited time")

    watch = BudgetWatch(1)
    pieces: list[Piece] = [ReasoningPiece("a"), ReasoningPiece("b"), TextPiece("answer")]
    assert watch.take(pieces) == pieces
    assert watch.take([ReasoningPiece("c")]) == [ReasoningPiece("c")]
    assert not watch.spent


def test_both_halves_are_one_reply_with_both_usages() -> None:
    watch = BudgetWatch(2)
    first = watch.take([ReasoningPiece("a"), ReasoningPiece("b"), ReasoningPiece("c")])
    usage = UsagePiece(Usage(input_tokens=12, output_tokens=5, requests=1))
    rest = watch.resume([ReasoningPiece("ab"), Reset(), ReasoningPiece("ab"), TextPiece("x"), usage], prefilled=True)
    reply = merge(first + rest)
    assert (reply.text, reply.reasoning) == ("x", watch.thought)
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.reasoning_tokens) == (12 + 10, 7, 2)


def test_a_server_that_takes_the_budget_is_not_trusted_for_ever() -> None:
    family = find_family("qwen3-8b")
    assert bound(Thinking(budget=100), family, kind("vllm")) == 200
    assert bound(Thinking(budget=100), family, kind("sglang")) == 100
    assert bound(ON, family, kind("sglang")) is None


@pytest.mark.parametrize("thought", ["two and two", "\n  two\n\nand two \n\n"])
def test_the_official_template_ends_with_the_thought_that_goes_on(thought: str) -> None:
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE)
    way = continuations(thought, Thinking(budget=9), find_family("qwen3-8b"), kind("vllm"))[0]
    assert way.prefill
    messages = [{"role": "user", "content": "2+2?"}, way.prefill]
    prompt = template.render(messages=messages, add_generation_prompt=False, enable_thinking=False)
    # As transformers and vLLM do it: the prompt ends where the last message's text ends.
    before, found, _ = prompt.rpartition(way.prefill["content"])
    assert found
    assert before == "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"


def test_how_a_reply_goes_on_depends_on_the_server() -> None:
    wanted = Thinking(budget=9)
    family = find_family("qwen3-8b")
    flags, plain = continuations("thought ", wanted, family, kind("vllm"))
    assert flags.prefill == {"role": "assistant", "content": "<think>\nthought\n</think>\n\n"}
    assert flags.fields == {
        "thinking_token_budget": None,
        "chat_template_kwargs": {"enable_thinking": False},
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    assert plain.prefill is None
    assert "continue_final_message" not in plain.fields
    (prefilled, _) = continuations("t", wanted, family, kind("llamacpp"))
    assert prefilled.prefill == {"role": "assistant", "content": "", "reasoning_content": "t\n</think>\n\n"}
    assert "continue_final_message" not in prefilled.fields
    (only,) = continuations("t", wanted, find_family("qwq"), kind("sglang"))
    assert only.fields["chat_template_kwargs"] == {"enable_thinking": False}
    (again,) = continuations("t", Thinking(budget=9, effort="low"), find_family("qwen3.8-max"), kind("modelstudio"))
    assert (again.fields, again.prefill) == ({"reasoning_effort": "none"}, None)
    (soft,) = continuations("t", wanted, family, kind("openai"))
    assert soft.switch == "/no_think"
