"""The model backends of Qwen-Agent as servers: ``Agent(server=qwen_agent_server({…}))``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from qianda.models.errors import ConfigurationError
from qianda.models.qwen_agent.translation import through_openai
from qianda.models.resolve import Endpoint
from qianda.models.servers import ServerKind, server_kinds


def qwen_agent_server(
    backend: Mapping[str, Any] | object, *, window: int | None = None, why: str = "you named the backend"
) -> Endpoint:
    """A backend of Qwen-Agent (DashScope's own interface, audio, OpenVINO, Transformers …) in the place of a server.

    What its ``generate_cfg`` sets wins over the sampling and thinking of ours. Where it does not set
    ``max_input_tokens``, nothing is cut out of conversations.

    Args:
        backend: the settings that Qwen-Agent takes as ``llm=``, like ``{"model": "qwen-audio-turbo-latest",
            "model_type": "qwenaudio_dashscope"}``, or a ``BaseChatModel``.
        window: the model's context window in tokens.
        why: what decided for it, for a person.

    Raises:
        ConfigurationError: it is neither.
    """
    from qianda.models.qwen_agent.transport import QwenAgentTransport

    api_key: str | None = None
    if isinstance(backend, Mapping):
        settings = dict(cast("Mapping[str, Any]", backend))
        model, kind = str(settings.get("model") or ""), str(settings.get("model_type") or "")
        address = settings.get("model_server") or settings.get("base_url") or ""
        backend, api_key = settings, settings.get("api_key")
        deduced = "oai" if str(address).startswith("http") else "qwen_dashscope"  # as Qwen-Agent does
        kind = kind or ("azure" if "azure_endpoint" in settings else deduced)
    elif callable(getattr(backend, "chat", None)):
        model, kind = str(getattr(backend, "model", "")), str(getattr(backend, "model_type", ""))
    else:
        raise ConfigurationError(
            f"{backend!r} is no backend of Qwen-Agent", cure='Give its settings: {"model": …, "model_type": …}'
        )
    return Endpoint(
        url=f"qwen-agent://{kind or type(backend).__name__}",
        kind=_kind(kind),
        model=model or kind,
        why=why,
        api_key=api_key,  # so that it is kept out of what is shown and recorded
        window=window,
        transport=QwenAgentTransport(backend),
    )


def _kind(model_type: str) -> ServerKind:
    """What a kind of backend takes, in the words of the table of servers."""
    studio = server_kinds()["modelstudio"] if "dashscope" in model_type else None
    openai = through_openai(model_type)
    return ServerKind(
        kind="qwen-agent",
        title=f"Qwen-Agent ({model_type})",
        thinking="top" if studio else "kwargs" if openai else "",
        budget=studio.budget if studio else "",
        top_k="top_k" if studio or openai else "",
        repetition_penalty="repetition_penalty" if studio or openai else "",
        parallel=True,
        frames=True,
        media_bytes=studio.media_bytes if studio else 0,
    )
