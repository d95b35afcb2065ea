"""Between the chat-completions API and Qwen-Agent: messages one way, what its backends yield the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import uuid4

_CALL = "<tool_call>"  # calls that Qwen-Agent reads out of the text begin with it
_SENT_OTHERWISE = frozenset(("messages", "model", "stream", "stream_options", "tools", "tool_choice"))
# What the SDK of OpenAI takes as arguments; Qwen-Agent sees to top_k and repetition_penalty.
_OPENAI = frozenset(
    (
        *(
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "max_completion_tokens",
            "max_tokens",
            "n",
            "presence_penalty",
        ),
        *("parallel_function_calls", "parallel_tool_calls", "reasoning_effort", "repetition_penalty", "seed", "stop"),
        *("response_format", "temperature", "top_k", "top_logprobs", "top_p", "user", "extra_body", "extra_headers"),
    )
)
_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}

Message = dict[str, Any]


def to_messages(messages: Sequence[Message]) -> list[Message]:
    """Messages of a request as Qwen-Agent has them: each call in one of its own, results as ``function``."""
    said: list[Message] = []
    for message in messages:
        role, content = message["role"], _items(message.get("content") or "")
        if role == "tool":
            extra = {"function_id": message.get("tool_call_id", "")}
            said.append({"role": "function", "name": message.get("name", ""), "content": content, "extra": extra})
            continue
        calls: list[Any] = message.get("tool_calls") or []
        reasoning = message.get("reasoning_content")
        if content or reasoning or not calls:
            said.append({"role": role, "content": content} | ({"reasoning_content": reasoning} if reasoning else {}))
        said += [
            {
                "role": role,
                "content": "",
                "function_call": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]},
                "extra": {"function_id": call["id"]},
            }
            for call in calls
        ]
    return said


def _items(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [_item(part) for part in content]


def _item(part: dict[str, Any]) -> dict[str, Any]:
    kind: str = part["type"]
    if kind == "input_audio":
        data, form = part["input_audio"]["data"], part["input_audio"]["format"]
        return {"audio": f"data:audio/{form};base64,{data}"}
    return {kind.removesuffix("_url"): part[kind]["url"] if kind.endswith("_url") else part[kind]}


def through_openai(model_type: str) -> bool:
    """Whether a kind of backend goes through the SDK of OpenAI."""
    return model_type.endswith(("oai", "azure"))


def to_settings(body: Mapping[str, Any], own: Mapping[str, Any], *, raw: bool, openai: bool) -> dict[str, Any]:
    """The settings of one request.

    Args:
        body: the request.
        own: the backend's own ``generate_cfg``, which wins.
        raw: the backend passes calls on, rather than writing them into the prompt and reading them out of the text.
        openai: it goes through the SDK of OpenAI, which refuses fields that it does not know.
    """
    fields = {name: value for name, value in body.items() if name not in _SENT_OTHERWISE and name not in own}
    if not raw and fields.pop("parallel_tool_calls", False):
        fields["parallel_function_calls"] = True
    if openai and (more := {name: fields.pop(name) for name in list(fields) if name not in _OPENAI}):
        fields["extra_body"] = {**own.get("extra_body", {}), **more}
    # It would cut old messages out in silence; the window is our business.
    return {"max_input_tokens": -1} | fields if "max_input_tokens" not in own else fields


class Changes:
    """What is new in each of the growing replies that a backend yields, as chunks of a chat completion."""

    def __init__(self) -> None:
        self._last: list[Message] = []
        self._sent = {"content": "", "reasoning_content": ""}

    def read(self, reply: Iterable[Any]) -> dict[str, Any] | None:
        """The chunk for a reply as it is by now; None when there is nothing new."""
        self._last = [cast("Message", each if isinstance(each, dict) else each.model_dump()) for each in reply]
        return self._chunk(final=False)

    def finish(self) -> list[dict[str, Any]]:
        """The chunks of the end: the calls, which may change until then, why it ended, and the usage."""
        rest = self._chunk(final=True)
        calls = [
            {
                "index": index,
                "id": _call_id(_extra(message).get("function_id") or ""),
                "type": "function",
                "function": {
                    "name": message["function_call"]["name"],
                    "arguments": message["function_call"]["arguments"],
                },
            }
            for index, message in enumerate(message for message in self._last if message.get("function_call"))
        ]
        info = self._info()
        output: dict[str, Any] = info.get("output") or {}
        cut = any(choice.get("finish_reason") == "length" for choice in output.get("choices") or ())
        reason = "length" if cut else "tool_calls" if calls else "stop"
        chunks = [rest] if rest else []
        chunks.append(_choice({"tool_calls": calls} if calls else {}, reason))
        if usage := info.get("usage"):
            chunks.append({"choices": [], "usage": {ours: usage.get(theirs, 0) for ours, theirs in _USAGE.items()}})
        return chunks

    def _chunk(self, *, final: bool) -> dict[str, Any] | None:
        delta: dict[str, str] = {}
        for field in self._sent:
            whole = "".join(_text(message.get(field)) for message in self._last)
            if not final and field == "content":
                whole = _without_beginning_call(whole)
            new = _new(self._sent[field], whole)
            if new:
                delta[field] = new
                self._sent[field] = whole
        return _choice(delta) if delta else None

    def _info(self) -> dict[str, Any]:
        """What the service itself answered last, where the backend passes it on; older ones stay with the calls."""
        infos = [_extra(message).get("model_service_info") for message in self._last]
        whole = [cast("Message", info) for info in infos if isinstance(info, dict)]
        return max(whole, key=_tokens) if whole else {}


def _tokens(info: Message) -> int:
    usage: dict[str, int] = info.get("usage") or {}
    return usage.get("output_tokens", 0)


def _call_id(theirs: str) -> str:
    """A service's id of a call; where Qwen-Agent counts from 1 in every reply, one that is unique."""
    return f"call_{uuid4().hex[:16]}" if not theirs or theirs.isdecimal() else theirs


def _extra(message: Message) -> dict[str, Any]:
    return message.get("extra") or cast("dict[str, Any]", {})


def _choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(item["text"] if "text" in item else f"[{next(iter(item))}]" for item in content)


def _without_beginning_call(text: str) -> str:
    """Text without what may be the beginning of a call, which will not be text then."""
    ends = (size for size in range(len(_CALL) - 1, 0, -1) if text.endswith(_CALL[:size]))
    return text[: -next(ends, 0) or None]


def _new(sent: str, whole: str) -> str:
    """What is to be appended to what was sent; a text that became shorter or another cannot be taken back."""
    if whole.startswith(sent):
        return whole[len(sent) :]
    same = next(at for at, (old, new) in enumerate(zip(sent, whole + "\0", strict=False)) if old != new)
    return whole[same:] if len(whole) > len(sent) else ""
