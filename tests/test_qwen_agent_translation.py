"""Messages for Qwen-Agent's backends, and what is new in each of the growing replies that they yield."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from qianda.models.qwen_agent.translation import Changes, to_messages, to_settings

TEXT = st.text(alphabet="a<tol_c>字\n", max_size=30)


def streamed(replies: list[list[dict[str, Any]]]) -> tuple[str, str, list[dict[str, Any]]]:
    changes = Changes()
    chunks = [chunk for reply in replies if (chunk := changes.read(reply))] + changes.finish()
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    return (
        "".join(delta.get("content", "") for delta in deltas),
        "".join(delta.get("reasoning_content", "") for delta in deltas),
        calls,
    )


@given(reasoning=TEXT, text=TEXT, cuts=st.lists(st.integers(0, 60), max_size=8))
def test_growing_replies_add_up_to_the_last_one(reasoning: str, text: str, cuts: list[int]) -> None:
    replies = [
        [
            {"role": "assistant", "content": "", "reasoning_content": reasoning[:cut]},
            {"role": "assistant", "content": text[: max(0, cut - len(reasoning))]},
        ]
        for cut in [*sorted(cuts), 60]
    ]
    assert streamed(replies)[:2] == (text, reasoning)


def test_the_beginning_of_a_call_is_not_shown_as_text() -> None:
    call = {"role": "assistant", "content": "", "function_call": {"name": "add", "arguments": '{"a": 1}'}}
    replies = [
        [{"role": "assistant", "content": "I look.\n<tool"}],
        [{"role": "assistant", "content": "I look.\n"}, {**call, "function_call": {"name": "add", "arguments": "{"}}],
        [{"role": "assistant", "content": "I look.\n"}, call, {**call, "extra": {"function_id": "call_9"}}],
    ]
    text, _, calls = streamed(replies)
    assert text == "I look.\n"
    assert [found["function"] for found in calls] == [call["function_call"], call["function_call"]]
    assert calls[0]["id"].startswith("call_")
    assert calls[1]["id"] == "call_9"


def test_a_reply_that_became_another_is_not_repeated() -> None:
    replies = [[{"role": "assistant", "content": "12345"}], [{"role": "assistant", "content": "123"}]]
    assert streamed(replies)[0] == "12345"
    assert streamed([replies[1], [{"role": "assistant", "content": "12xyz"}]])[0] == "123xyz"


def test_finish_and_usage_are_those_of_the_service() -> None:
    info = {"output": {"choices": [{"finish_reason": "length"}]}, "usage": {"input_tokens": 7, "output_tokens": 3}}
    changes = Changes()
    changes.read([{"role": "assistant", "content": "Hi", "extra": {"model_service_info": info}}])
    last, usage = changes.finish()
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["usage"] == {"prompt_tokens": 7, "completion_tokens": 3}


def test_messages_calls_results_and_media() -> None:
    messages = to_messages(
        [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "video", "video": ["a.png", "b.png"], "fps": 2},
                ],
            },
            {
                "role": "assistant",
                "content": "",
                "reasoning_content": "hm",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "done"},
        ]
    )
    assert messages == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"text": "What is this?"},
                {"image": "https://x/y.png"},
                {"audio": "data:audio/wav;base64,AAAA"},
                {"video": ["a.png", "b.png"]},
            ],
        },
        {"role": "assistant", "content": "", "reasoning_content": "hm"},
        {
            "role": "assistant",
            "content": "",
            "function_call": {"name": "f", "arguments": "{}"},
            "extra": {"function_id": "c1"},
        },
        {"role": "function", "name": "f", "content": "done", "extra": {"function_id": "c1"}},
    ]


def test_settings_of_the_backend_win_and_foreign_fields_go_where_they_may() -> None:
    body = {"model": "m", "messages": [], "stream": True, "temperature": 0.6, "top_k": 20, "parallel_tool_calls": True}
    body |= {"chat_template_kwargs": {"enable_thinking": False}}
    assert to_settings(body, {"temperature": 0.1, "max_input_tokens": 9}, raw=True, openai=False) == {
        "top_k": 20,
        "parallel_tool_calls": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert to_settings(body, {}, raw=False, openai=True) == {
        "temperature": 0.6,
        "top_k": 20,
        "parallel_function_calls": True,
        "extra_body": {"chat_template_kwargs": {"enable_thinking": False}},
        "max_input_tokens": -1,
    }
