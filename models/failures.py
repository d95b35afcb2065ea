"""What a server's refusal means: error bodies and statuses → our error tree, and whether another try is worth it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from typing import Any, cast

import orjson

from qianda.models.errors import (
    ContextTooLong,
    QuotaExceeded,
    ServerError,
    ServerOverloaded,
    ServerRefused,
    ServerUnreachable,
)
from qianda.models.servers import key_cure, not_a_model_server

# Codes and texts are those of vLLM, SGLang, llama.cpp, Ollama and Model Studio (DashScope's error-code page).
_TOO_LONG = re.compile(
    r"context (length|size|window)|maximum context|exceed_context_size|input_tokens|too many tokens"
    r"|range of input length|prompt is too long",
    re.IGNORECASE,
)
# The window, and the prompt, in what vLLM, SGLang, llama.cpp, Model Studio, TGI and OpenAI say.
_WINDOW = re.compile(
    r"(?:maximum context length (?:is|of)|context (?:size|length) \(|input length should be \[\d+,|n_ctx=|must be <=)"
    r" ?(\d+)",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    r"(?:prompt contains|(?:request|input) \(|n_prompt_tokens=|Given:) ?(\d+)"
    r"|(\d+) (?:in|tokens from) the (?:input )?messages",
    re.IGNORECASE,
)
_BILLING = re.compile(
    r"CommodityNotPurchased|PrepaidBillOverdue|PostpaidBillOverdue|BudgetLimitExceeded|Arrearage"
    r"|AllocationQuota\.FreeTierOnly|free (allocated|tier).{0,40}(exceeded|exhausted)|overdue[- ]payment"
    r"|insufficient balance",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"Throttling|limit_requests|limit_burst_rate|insufficient_quota|InternalError|ModelServiceFailed|RequestTimeOut"
    r"|ServiceUnavailable|rate limit|too many requests|requests rate|overloaded|server busy",
    re.IGNORECASE,
)
# Model Studio wraps what is wrong with a request as InternalError.Algo.InvalidParameter: that fails again.
_WRONG = re.compile(r"InvalidParameter|invalid_parameter|invalid_request", re.IGNORECASE)
_INSPECTED = re.compile(r"DataInspectionFailed|data_inspection_failed|inappropriate content", re.IGNORECASE)
_REPEATED = re.compile(r"repetitive tool calls", re.IGNORECASE)
_NO_TOOLS = re.compile(r"does not support tools|enable-auto-tool-choice|tools param requires --jinja", re.IGNORECASE)


def error_of(body: Any) -> tuple[str, str] | None:
    """The message and the code of an error body, or None when it is not one.

    Args:
        body: decoded JSON: ``{"error": {"message", "type", "code", "param"}}``, ``{"error": "…"}``,
            ``{"object": "error", "message"}``, ``{"detail": …}`` or ``{"code", "message"}``.
    """
    if not isinstance(body, dict):
        return None
    fields = cast("dict[str, Any]", body)
    error = fields.get("error")
    if isinstance(error, dict):
        inner = cast("dict[str, Any]", error)
        codes = " ".join(str(inner[name]) for name in ("code", "type", "param") if inner.get(name))
        counts = "".join(f" {name}={inner[name]}" for name in ("n_prompt_tokens", "n_ctx") if inner.get(name))
        return str(inner.get("message") or inner) + counts, codes
    if error:
        return str(error), ""
    if fields.get("object") == "error" or ("message" in fields and "code" in fields and "choices" not in fields):
        return str(fields.get("message")), str(fields.get("code") or "")
    if "detail" in fields:
        return str(fields["detail"]), ""
    return None


def explain_refusal(status: int, body: bytes, *, url: str, model: str, retry_after: str | None = None) -> ServerError:
    """Our error for an answer that is not 200.

    Args:
        status: the HTTP status.
        body: the raw body.
        url: the server's base URL, for the message.
        model: the model asked for.
        retry_after: the header of that name: seconds, or a date.
    """
    try:
        decoded: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        decoded = None
    found = error_of(decoded)
    if status == 404 and (decoded is None or found == ("Not Found", "")):
        return not_a_model_server(url)
    text = body.decode("utf-8", "replace").strip()[:300]
    # A page for browsers, as proxies send it, says less than its status.
    message, code = found or (text if text and not text.startswith("<") else f"HTTP {status}", "")
    return classify(message, code, status=status, url=url, model=model, retry_after=_seconds(retry_after))


def _seconds(retry_after: str | None) -> float | None:
    """The wait that a ``Retry-After`` header means (RFC 9110, section 10.2.3); None when it says nothing usable."""
    if not retry_after:
        return None
    try:
        wait = float(retry_after)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            date = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        wait = date.timestamp() - time.time()
    return max(wait, 0.0) if math.isfinite(wait) else None


def status_of(code: str) -> int:
    """The status that an error inside a 200 carries in its code, 500 when it carries none."""
    found = re.search(r"\b[45]\d\d\b", code)
    return int(found[0]) if found else 500


def classify(
    message: str, code: str, *, status: int, url: str, model: str, retry_after: float | None = None
) -> ServerError:
    """Our error for a server's message and code."""
    text = f"{code} {message}"
    said = f"{url} says: {' '.join(message.split())[:400]}"
    if _BILLING.search(text):
        return QuotaExceeded(said, cure="Look at the account's bill or allowance; waiting does not help", status=status)
    if status in (400, 413, 422, 500) and _TOO_LONG.search(text):
        window, prompt = _WINDOW.search(message), _PROMPT.search(message)
        return ContextTooLong(
            said,
            cure="Shorten the prompt, or serve the model with a larger window",
            status=status,
            window=int(window[1]) if window else None,
            prompt=int(prompt[1] or prompt[2]) if prompt else None,
        )
    if status in (401, 403) or re.search(r"invalid_api_key|InvalidApiKey", text):
        return ServerRefused(said, cure=key_cure(url), status=status)
    if cure := _cure(text):
        return ServerRefused(said, cure=cure, status=status)
    if status == 404:
        return ServerRefused(
            said, cure=f"Is {model!r} the model's name there? qianda doctor lists what the server has", status=status
        )
    wrong = status in (200, 400, 422, 500) and _WRONG.search(text)
    if not wrong and (status in (408, 429) or status >= 500 or _BUSY.search(text)):
        return ServerOverloaded(said, cure="Try again later", status=status, retry_after=retry_after)
    return ServerRefused(said, cure="qianda doctor shows what the server can do", status=status)


def _cure(text: str) -> str:
    """What to do about a refusal that only a person can help, "" for any other."""
    if _INSPECTED.search(text):
        return "The service's content inspection refuses the prompt or the answer: change what is asked"
    if _REPEATED.search(text):
        return "The model calls the same tool over and over: change the task, the tool's answer, or the model"
    if _NO_TOOLS.search(text):
        return (
            "Serve it with tools on (vLLM: --enable-auto-tool-choice --tool-call-parser …; llama.cpp: --jinja), "
            "or choose a model that has them"
        )
    return ""


def text_in_error(message: str, *, begun: bool) -> str | None:
    """What the model wrote, where llama.cpp gives it up as unreadable and puts it into the error; else None.

    Args:
        message: the error's message, word for word. It carries the text from a position on: what was before that is
            known only where it was streamed.
        begun: text was streamed before.
    """
    found = re.match(r"\s*Failed to parse input at pos (\d+): (.*)", message, re.DOTALL)
    if not found or not found[2].strip():
        return None
    has_call = re.search(r"<tool_call>\s*[{<]|<function=", found[2])
    return found[2] if has_call or begun or found[1] == "0" else None


def repaired_fields(error: ServerError, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The request fields with the one mended that a server refused, or None when it refused something else.

    Sources: Model Studio's list of error messages; vLLM's and Ollama's refusals.

    Args:
        error: the refusal.
        fields: of the refused request.
    """
    if error.status not in (200, 400, 422, 500):
        return None
    said, mended = error.message, dict(fields)
    if re.search(r"enable_thinking.*restricted to true", said, re.IGNORECASE):
        mended |= {"enable_thinking": True}
    elif re.search(r"non-streaming calls|only support.{0,4} stream|support http call", said, re.IGNORECASE):
        mended |= {"stream": True, "stream_options": {"include_usage": True}}
    elif "--enable-auto-tool-choice" in said and fields.get("tools"):
        # A vLLM without a tool parser: the tools are in the prompt all the same, and the calls come as text.
        mended |= {"tool_choice": "none"}
    elif "tool_choice" in said and fields.get("tool_choice") not in (None, "auto"):
        mended |= {"tool_choice": "auto"}
    elif "does not support thinking" in said:
        mended = {name: value for name, value in mended.items() if name not in ("think", "reasoning_effort")}
    else:
        return _clamped(said, fields)
    return mended if mended != fields else None


def _clamped(said: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields with the length or the budget that is out of range brought into it."""
    for name in ("max_tokens", "max_completion_tokens", "thinking_budget"):
        value = fields.get(name)
        if name not in said or not isinstance(value, int):
            continue
        window = re.search(r"\((\d+) > (\d+) - (\d+)\)|max_model_len=(\d+)", said)
        top = re.search(r"\[\d+, *(\d+)\]|(?:not greater than|less than or equal to|at most) (\d+)", said)
        most = int(top[1] or top[2]) if top else 0
        if window:
            most = int(window[2]) - int(window[3]) if window[1] else int(window[4]) // 2
        if 0 < most < value:
            return {**fields, name: most}
    wanted, window = re.search(r"requested (\d+) output tokens", said), _WINDOW.search(said)
    name = next((name for name in ("max_tokens", "max_completion_tokens") if name in fields), "")
    if wanted and window and name and int(wanted[1]) > (most := int(window[1]) // 4):
        return {**fields, name: most}
    return None


def wants_text(error: ServerError) -> bool:
    """Whether the server takes no content in parts."""
    return error.status in (400, 422, 500) and bool(
        re.search(r"content (must be|should be|is not|field).{0,20}string", error.message, re.IGNORECASE)
    )


def with_text(body: bytes) -> bytes:
    """A request's body with every message's content as one text; what is no text is left out."""
    request: dict[str, Any] = orjson.loads(body)
    for message in request["messages"]:
        if isinstance(message.get("content"), list):
            message["content"] = "\n".join(part["text"] for part in message["content"] if "text" in part)
    return orjson.dumps(request)


def worth_another_try(error: ServerError) -> bool:
    """Whether the same request may succeed a little later."""
    return isinstance(error, (ServerOverloaded, ServerUnreachable))
