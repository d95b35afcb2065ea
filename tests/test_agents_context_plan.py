"""Planning a compaction: what stays, what goes, whatever the conversation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qianda.agents.compaction import (
    PUT_AWAY,
    SUMMARY,
    Measure,
    cut,
    digest,
    last_user,
    lightened,
    plan,
    transcript,
    user_words,
)
from qianda.models.events import Compacted, from_json, to_json
from qianda.models.failures import classify
from qianda.models.family import find_family
from qianda.models.messages import AssistantMessage, MediaPart, Message, TextPart, ToolCall, ToolMessage, UserMessage
from qianda.tools.kept import Kept

MEASURE = Measure(0.25, find_family("qwen3-8b"), resent=True)


class Shelf(Kept):
    """Keeps texts in a dictionary."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def keep(self, text: str) -> str:
        self.texts[f"id{len(self.texts)}"] = text
        return f"id{len(self.texts) - 1}"

    def find(self, text_id: str) -> str | None:
        return self.texts.get(text_id)


def turn(number: int, *lengths: int, thought: int = 0) -> list[Message]:
    """A reply with calls, and their results of so many characters."""
    calls = tuple(ToolCall(f"c{number}_{at}", "look", "{}") for at in range(len(lengths)))
    results = [ToolMessage(call.id, "look", "x" * length) for call, length in zip(calls, lengths, strict=True)]
    return [AssistantMessage("", "y" * thought, calls), *results]


turns = st.one_of(
    st.integers(0, 3_000).map(lambda length: [UserMessage("u" * length)]),
    st.integers(1, 3_000).map(lambda length: [AssistantMessage("a" * length)]),
    st.tuples(st.lists(st.integers(0, 20_000), min_size=1, max_size=3), st.integers(0, 5_000)).map(
        lambda made: turn(0, *made[0], thought=made[1])
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(turns, max_size=40), st.integers(500, 20_000))
def test_whatever_the_conversation_the_newest_stays_and_it_gets_shorter(parts: list[list[Message]], limit: int) -> None:
    messages: list[Message] = [UserMessage("The task."), *(message for part in parts for message in part)]
    before = MEASURE.total(messages)
    planned = plan(messages, MEASURE, before=before, limit=limit)
    if planned is None:
        return
    shelf = Shelf()
    assert planned.tail < len(messages)
    assert not isinstance(messages[planned.tail], ToolMessage)
    light = [*lightened(messages[: planned.tail], planned, shelf), *messages[planned.tail :]]
    assert [type(one) for one in light] == [type(one) for one in messages]
    assert light[planned.tail :] == messages[planned.tail :]
    assert [one for one in light if isinstance(one, UserMessage)] == [
        one for one in messages if isinstance(one, UserMessage)
    ]
    if planned.stage in ("results", "reasoning"):
        assert MEASURE.total(light) <= limit
    for old, new in zip(messages, light, strict=True):
        if isinstance(new, ToolMessage) and new != old:
            assert str(new.content).startswith(PUT_AWAY)
            assert old.content in shelf.texts.values()
    shorter, _ = cut(light, MEASURE, over=before - limit, kept=shelf)
    newest = last_user(messages)
    assert shorter[newest] == light[newest]
    assert MEASURE.total(shorter) <= MEASURE.total(light)


def test_no_plan_where_all_is_new() -> None:
    messages: list[Message] = [UserMessage("word " * 10_000)]
    assert plan(messages, MEASURE, before=12_000, limit=6_000) is None


def test_of_many_prompts_the_first_and_the_latest_stay_and_the_others_are_kept() -> None:
    shelf = Shelf()
    messages: list[Message] = [UserMessage(f"Prompt {number} " + "z" * 400) for number in range(50)]
    said, note = user_words(messages, messages[-1], MEASURE, 1_000, shelf)
    assert said[0] == messages[0]
    assert said[1:] == messages[-len(said) + 1 :]
    assert MEASURE.total(said) <= 1_000
    assert f"{50 - len(said)} earlier messages" in note
    assert all(f"Prompt {number} " in shelf.texts["id0"] for number in range(1, 51 - len(said)))


def test_images_of_old_prompts_go_with_their_words_kept_and_the_newest_stays_whole() -> None:
    image = MediaPart("image", "data:image/png;base64,AAAA")
    old, new = UserMessage((TextPart("Look."), image)), UserMessage((TextPart("And this?"), image))
    said, _ = user_words([old, AssistantMessage("A cat."), new], new, MEASURE, 10_000, Shelf())
    assert said == [UserMessage("Look.\n[image]"), new]


def test_a_transcript_fits_and_keeps_the_summary_before_it_whole() -> None:
    earlier = AssistantMessage(f"{SUMMARY}\n\n" + "fact " * 500 + "end")
    messages: list[Message] = [earlier, *(one for number in range(20) for one in turn(number, 5_000))]
    text = transcript(messages, 12_000)
    assert len(text) <= 12_300
    assert earlier.content in text
    assert "→ look {}" in text


def test_a_digest_lists_calls_with_what_they_gave() -> None:
    assert digest(turn(1, 5)) == "Calls that were made, the latest last:\n- look {} → xxxxx"


def refusal(message: str) -> Any:
    return classify(message, "400", status=400, url="http://x/v1", model="qwen3")


@pytest.mark.parametrize(
    ("message", "window", "prompt"),
    [
        (
            (
                "This model's maximum context length is 32768 tokens. However, you requested 0 output tokens and your "
                "prompt contains at least 32769 input tokens, for a total of at least 32769 tokens."
            ),
            32768,
            None,
        ),
        (
            (
                "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the "
                "messages, 1000 in the completion)."
            ),
            8192,
            8000,
        ),
        (
            (
                "Requested token count exceeds the model's maximum context length of 40960 tokens. You requested a "
                "total of 41960 tokens: 40000 tokens from the input messages and 1960 tokens for the completion."
            ),
            40960,
            40000,
        ),
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096, 5000),
        ("request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it", 4096, 5000),
        ("the request exceeds the available context size n_prompt_tokens=5000 n_ctx=4096", 4096, 5000),
        ("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]", 129024, None),
        ("prompt is too long; exceeded max context length by 12 tokens", None, None),
    ],
)
def test_what_a_refusal_says_of_the_window(message: str, window: int | None, prompt: int | None) -> None:
    error = refusal(message)
    assert type(error).__name__ == "ContextTooLong"
    assert (error.window, error.prompt) == (window, prompt)


def test_the_event_goes_through_json_and_says_it_in_one_line() -> None:
    event = Compacted(run_id="r", seq=1, time=0.0, stage="summary", before=6_012, after=2_100, results=2, dropped=31)
    assert from_json(to_json(event)) == event
    assert event.text == "Context compacted: 6,012 to 2,100 tokens (31 messages summarised, 2 results shortened)"
