"""What a server's refusal means: error bodies and statuses → our error tree, and whether another try is worth it."""

from __future__ import annotations

import math
import re
import time
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
from qianda.models.servers import not_a_model_server

# Codes and texts are those of vLLM, SGLang, llama.cpp, Ollama and Model Studio (DashScope's error-code page).
_TOO_LONG = re.compile(
    r"context (length|size|window)|maximum context|exceed_context_size|input_tokens|too many tokens"
    r"|range of input length|prompt is too long",
    re.IGNORECASE,
)
_BILLING = re.compile(
    r"CommodityNotPurchased|PrepaidBillOverdue|PostpaidBillOverdue|BudgetLimitExceeded|Arrearage"
    r"|free allocated quota exceeded|overdue[- ]payment|insufficient balance",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"Throttling|limit_requests|limit_burst_rate|insufficient_quota|InternalError|ModelServiceFailed|RequestTimeOut"
    r"|rate limit|too many requests|overloaded|server busy",
    re.IGNORECASE,
)


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
        return str(inner.get("message") or inner), codes
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
        return ContextTooLong(said, cure="Shorten the prompt, or serve the model with a larger window", status=status)
    if status in (401, 403):
        return ServerRefused(said, cure="Check the key (QIANDA_API_KEY or DASHSCOPE_API_KEY)", status=status)
    if status == 404:
        return ServerRefused(
            said, cure=f"Is {model!r} the model's name there? qianda doctor lists what the server has", status=status
        )
    if status in (408, 429) or status >= 500 or _BUSY.search(text):
        return ServerOverloaded(said, cure="Try again later", status=status, retry_after=retry_after)
    return ServerRefused(said, cure="qianda doctor shows what the server can do", status=status)


def worth_another_try(error: ServerError) -> bool:
    """Whether the same request may succeed a little later."""
    return isinstance(error, (ServerOverloaded, ServerUnreachable))
