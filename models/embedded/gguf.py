"""The head of a GGUF file: what kind of model it holds and how much memory its context takes.

Format: the GGUF specification of ggml, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from qianda.models.errors import ConfigurationError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST_STRING = 1 << 20
_LONGEST_ARRAY = 1 << 16
_KV_BYTES = 2  # the cache holds 16-bit floats


@dataclass(frozen=True, slots=True)
class GGUFHead:
    """What the head of a GGUF file says.

    Args:
        architecture: such as ``qwen3``; "" when it does not say.
        kind: ``model``, ``adapter``, ``mmproj`` …
        size: bytes of the whole file.
        values: the metadata in front of the tokenizer's.
    """

    architecture: str
    kind: str
    size: int
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def number(self, key: str) -> int | None:
        """A number of this architecture, such as ``context_length``; the largest where there is one per layer."""
        value = self.values.get(f"{self.architecture}.{key}")
        numbers = cast("list[Any]", value) if isinstance(value, list) else [value]
        return max((number for number in numbers if isinstance(number, int)), default=None)

    @property
    def trained_context(self) -> int | None:
        """Tokens of context that the model was trained for."""
        return self.number("context_length")

    @property
    def context_bytes(self) -> int | None:
        """Bytes of memory per token of context, an upper bound; None when the file does not say enough."""
        layers, heads, width = (self.number(key) for key in ("block_count", "attention.head_count", "embedding_length"))
        if not (layers and heads and width):
            return None
        kv_heads = self.number("attention.head_count_kv") or heads
        head = width // heads
        keys = self.number("attention.key_length") or head
        values = self.number("attention.value_length") or head
        # Hybrid models (Qwen3.5, Qwen3-Next) keep keys and values in every n-th layer only.
        layers = -(-layers // (self.number("full_attention_interval") or 1))
        return layers * kv_heads * (keys + values) * _KV_BYTES


def read_head(path: Path) -> GGUFHead:
    """Read a GGUF file's metadata up to the tokenizer's, some kilobytes.

    Raises:
        ConfigurationError: it is missing, cannot be read, is no GGUF file, or is cut short.
    """
    try:
        with path.open("rb") as stream:
            values = _read_values(stream, path)
        size = path.stat().st_size
    except FileNotFoundError:
        raise ConfigurationError(f"The model file {path} does not exist", cure="Check its path") from None
    except IsADirectoryError:
        raise ConfigurationError(f"{path} is a folder", cure="Name the .gguf file in it") from None
    except OSError as error:
        raise ConfigurationError(f"The model file {path} cannot be read: {error.strerror}") from None
    except (struct.error, UnicodeDecodeError, ValueError):
        raise ConfigurationError(f"The model file {path} is damaged or cut short", cure="Fetch it again") from None
    return GGUFHead(
        architecture=str(values.get("general.architecture", "")),
        kind=str(values.get("general.type", "model")),
        size=size,
        values=values,
    )


def _read_values(stream: BinaryIO, path: Path) -> dict[str, Any]:
    magic = stream.read(4)
    if magic != b"GGUF":
        raise ConfigurationError(
            f"{path} is not a GGUF model file", cure="Qianda runs .gguf files; serve others with vLLM"
        )
    version, _, count = struct.unpack("<IQQ", stream.read(20))
    if version not in (2, 3):
        raise ConfigurationError(f"{path} is GGUF version {version}", cure="Convert it anew: versions 2 and 3 are read")
    values: dict[str, Any] = {}
    for _ in range(count):
        key = _read_string(stream)
        if key.startswith("tokenizer."):
            break  # its arrays are long, and nothing of interest comes after them
        (kind,) = struct.unpack("<I", stream.read(4))
        values[key] = _read_value(stream, kind)
    return values


def _read_string(stream: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > _LONGEST_STRING:
        raise ValueError("string too long")
    text = stream.read(length)
    if len(text) != length:
        raise ValueError("cut short")
    return text.decode()


def _read_value(stream: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _read_string(stream)
    if kind == _ARRAY:
        of, length = struct.unpack("<IQ", stream.read(12))
        if length > _LONGEST_ARRAY or of == _ARRAY:
            raise ValueError("array too long")
        return [_read_value(stream, of) for _ in range(length)]
    if kind not in _SCALARS:
        raise ValueError("unknown type")
    scalar = "<" + _SCALARS[kind]
    return struct.unpack(scalar, stream.read(struct.calcsize(scalar)))[0]
