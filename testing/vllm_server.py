"""What every vLLM answers, whatever its model says: routes, keys, model list and refusals."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, cast

from qianda.testing.completions import count_prompt, error_body
from qianda.testing.http_server import LoopbackServer, Request, Response

VERSION = "0.32.0"
_CREATED = 1_795_321_339
_REPORTED_WINDOW = 262_144


class VLLMServer(LoopbackServer):
    """The HTTP face of a vLLM; the completions come from ``complete``.

    Args:
        model: the model that it serves.
        any_model: take requests for any model.
        api_key: the key that requests must bring; None for no key.
        window: the context window in tokens; requests that do not fit are refused. None for no limit.
        port: the port, or 0 for any free one.
    """

    def __init__(
        self,
        *,
        model: str = "qwen3-8b",
        any_model: bool = False,
        api_key: str | None = None,
        window: int | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.model = model
        self.api_key = api_key
        self._any_model = any_model
        self.window = window
        self.requests: list[dict[str, Any]] = []
        """The decoded bodies of the requests for completions, refused ones included."""

    @abstractmethod
    async def complete(self, body: dict[str, Any], response: Response, /) -> None:
        """Answer a request for a completion that was not refused; a text completion has a ``prompt``."""

    @property
    def url(self) -> str:
        """The address for clients, ending in ``/v1``.

        Raises:
            RuntimeError: the server is not open.
        """
        return f"{self.origin}/v1"

    async def answer(self, request: Request, response: Response) -> None:
        """Answer one request as vLLM does."""
        if request.path.startswith("/v1") and not self._has_key(request):
            await response.send_json(401, {"error": "Unauthorized"})
            return
        match request.method, request.path:
            case "POST", "/v1/chat/completions" | "/v1/completions":
                await self._chat(request, response)
            case "GET", "/v1/models":
                await response.send_json(200, self._models())
            case "GET", "/version":
                await response.send_json(200, {"version": VERSION})
            case "GET", "/health":
                await response.send(200, b"", {})
            case _, "/v1/chat/completions" | "/v1/completions" | "/v1/models" | "/version" | "/health":
                await response.send_json(405, {"detail": "Method Not Allowed"})
            case _:
                await response.send_json(404, {"detail": "Not Found"})

    def _has_key(self, request: Request) -> bool:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return self.api_key is None or (scheme.lower() == "bearer" and key == self.api_key)

    async def _chat(self, request: Request, response: Response) -> None:
        try:
            body = request.json()
        except ValueError as error:
            await response.send_json(400, error_body(400, f"JSON decode error: {error}", kind="Bad Request"))
            return
        if not isinstance(body, dict):
            await response.send_json(400, error_body(400, "Input should be a valid dictionary", kind="Bad Request"))
            return
        body = cast("dict[str, Any]", body)
        self.requests.append(body)
        refusal = self._refusal(body)
        if refusal is not None:
            await response.send_json(refusal["error"]["code"], refusal)
            return
        await self.complete(body, response)

    def _refusal(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The error that vLLM answers such a request with, or None."""
        model = body.get("model")
        if not self._any_model and model not in (None, "", self.model):
            return error_body(404, f"The model `{model}` does not exist.", param="model")
        if not (body.get("messages") or body.get("prompt")):
            return error_body(400, "messages: Field required", kind="Bad Request", param="messages")
        if body.get("tools") == []:
            return error_body(400, "`tools` must not be an empty array. Omit it or give at least one tool.")
        return self._too_long(body) if self.window is not None else None

    def _too_long(self, body: dict[str, Any]) -> dict[str, Any] | None:
        window = self.window or 0
        wanted = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        if wanted > window:
            message = (
                f"max_tokens={wanted} cannot be greater than max_model_len={window}. Please request fewer output "
                f"tokens. (parameter=max_tokens, value={wanted})"
            )
            return error_body(400, message, param="max_tokens")
        prompt = count_prompt(body)
        if prompt < window:
            return None
        message = (
            f"This model's maximum context length is {window} tokens. However, you requested {wanted} output tokens "
            f"and your prompt contains at least {prompt} input tokens, for a total of at least {prompt + wanted} "
            "tokens. Please reduce the length of the input prompt or the number of requested output tokens. "
            f"(parameter=input_tokens, value={prompt})"
        )
        return error_body(400, message, param="input_tokens")

    def _models(self) -> dict[str, Any]:
        name = self.model
        entry: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": _CREATED,
            "owned_by": "vllm",
            "root": name,
            "parent": None,
            "max_model_len": self.window or _REPORTED_WINDOW,
            "permission": [],
        }
        return {"object": "list", "data": [entry]}
