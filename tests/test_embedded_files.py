"""What the embedded engine says of model files and machines, without llama.cpp."""

import contextlib
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda.models.embedded import EmbeddedServer, engine, machine, start_embedded
from qianda.models.embedded.gguf import GGUFHead, read_head
from qianda.models.errors import ConfigurationError

QWEN3_8B = {
    "general.architecture": "qwen3",
    "general.type": "model",
    "qwen3.block_count": 36,
    "qwen3.context_length": 40_960,
    "qwen3.embedding_length": 4096,
    "qwen3.attention.head_count": 32,
    "qwen3.attention.head_count_kv": 8,
    "qwen3.attention.key_length": 128,
    "qwen3.attention.value_length": 128,
}
GIB = 1 << 30


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(values: dict[str, Any], *, version: int = 3) -> bytes:
    """A GGUF file without tensors."""
    body = b""
    for key, value in values.items():
        match value:
            case str():
                body += text(key) + struct.pack("<I", 8) + text(value)
            case list():
                body += text(key) + struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)
            case _:
                body += text(key) + struct.pack("<II", 4, value)
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(values)) + body


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "available", lambda: True)


async def start(path: Path) -> EmbeddedServer:
    return await start_embedded(str(path), download=False, notify=print)


def test_the_head_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "qwen3-8b.gguf"
    file.write_bytes(gguf({**QWEN3_8B, "tokenizer.ggml.tokens": "not read any more", "later": 1}))
    head = read_head(file)
    assert (head.architecture, head.kind, head.trained_context) == ("qwen3", "model", 40_960)
    assert head.context_bytes == 36 * 8 * 256 * 2  # 144 KiB, as the model's authors say
    assert head.size == file.stat().st_size
    assert "later" not in head.values


def test_hybrid_models_and_arrays_per_layer() -> None:
    values = {**QWEN3_8B, "qwen3.attention.head_count_kv": [0, 8, 8], "qwen3.full_attention_interval": 4}
    assert GGUFHead("qwen3", "model", 0, values).context_bytes == 9 * 8 * 256 * 2


@pytest.mark.parametrize(
    ("memory_gib", "window"),
    [(64, 32_768), (8, 9_984), (5, 4_096), (None, 32_768)],
)
def test_the_window_fits_the_memory(memory_gib: int | None, window: int) -> None:
    head = GGUFHead("qwen3", "model", 5 * GIB, QWEN3_8B)
    assert engine.choose_window(head, memory_gib * GIB if memory_gib else None) == window


def test_the_window_is_never_more_than_the_model_was_trained_for() -> None:
    values = {**QWEN3_8B, "qwen3.context_length": 2_048}
    assert engine.choose_window(GGUFHead("qwen3", "model", GIB, values), 64 * GIB) == 2_048
    assert engine.choose_window(GGUFHead("qwen3", "model", GIB, values), GIB) == 2_048


async def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.gguf does not exist"):
        await start(tmp_path / "gone.gguf")


async def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder"):
        await start(tmp_path)


async def test_something_else_than_gguf(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"PK\x03\x04 a zip file")
    with pytest.raises(ConfigurationError, match="is not a GGUF model file"):
        await start(file)


async def test_an_adapter_is_no_model() -> None:
    with pytest.raises(ConfigurationError, match=r"is no model.*adapter"):
        await start(Path(engine.__file__).parent / "pocket-lora-r16.gguf")


async def test_a_version_that_nobody_writes_any_more(tmp_path: Path) -> None:
    file = tmp_path / "old.gguf"
    file.write_bytes(gguf(QWEN3_8B, version=1))
    with pytest.raises(ConfigurationError, match="GGUF version 1"):
        await start(file)


@given(cut=st.integers(4, len(gguf(QWEN3_8B)) - 1))
def test_a_file_cut_short_anywhere(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    file = tmp_path_factory.mktemp("cut") / "cut.gguf"
    file.write_bytes(gguf(QWEN3_8B)[:cut])
    with pytest.raises(ConfigurationError, match="damaged or cut short"):
        read_head(file)


@given(junk=st.binary(max_size=200))
def test_junk_is_our_error_or_none(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    file = tmp_path_factory.mktemp("junk") / "junk.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 5) + junk)
    with contextlib.suppress(ConfigurationError):  # any other exception would reach the user as a traceback
        read_head(file)


async def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "available", lambda: False)
    with pytest.raises(ConfigurationError, match=r"pip install 'qianda\[local\]'"):
        await start_embedded(None, download=False, notify=print)


async def test_an_extra_that_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qwen3-8b.gguf").write_bytes(gguf(QWEN3_8B))
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigurationError, match="xllamacpp does not load here"):
        await start(tmp_path / "qwen3-8b.gguf")


def test_the_machine_has_cores_and_memory() -> None:
    assert machine.physical_cores() >= 1
    memory = machine.free_memory()
    assert memory is None or memory > 10_000_000


def test_two_hardware_threads_are_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cpu, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        folder = tmp_path / f"cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings)
    monkeypatch.setattr(machine, "_CPUS", tmp_path)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "none")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert machine.physical_cores() == 2


def test_a_container_s_limits_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("500000000\n")
    (tmp_path / "memory.current").write_text("100000000\n")
    assert machine.physical_cores() == 1
    assert machine.free_memory() == 400_000_000
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.physical_cores() >= 1
    assert machine.free_memory() != 400_000_000
