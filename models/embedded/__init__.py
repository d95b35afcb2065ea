"""The embedded default: llama.cpp in this process with the pocket model, a labelled demo model, or any GGUF file."""

from qianda.models.embedded.engine import DEMO_LABEL, DEMO_MODEL, EmbeddedServer, available, start_embedded
from qianda.models.embedded.weights import ensure_weights, weights_present

__all__ = [
    "DEMO_LABEL",
    "DEMO_MODEL",
    "EmbeddedServer",
    "available",
    "ensure_weights",
    "start_embedded",
    "weights_present",
]
