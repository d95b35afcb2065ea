"""Files of instructions that folders bring to agents: AGENTS.md and QWEN.md, from home down to the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAMES = ("AGENTS.md", "QWEN.md")
MOST = 8_000  # characters of all files together: a local model has to read them in each conversation
_LARGEST = 1_000_000  # bytes of a file that is looked at


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """A file of instructions.

    Args:
        path: the file.
        text: what stands in it.
        trusted: it is used; else the folder that it lies in has to be trusted first.
    """

    path: Path
    text: str
    trusted: bool


def memory_files(workspace: Path) -> list[MemoryFile]:
    """The files from the home folder down to the workspace, the nearest last; outside of it those of the workspace."""
    from qianda.tools.trust import is_trusted

    home, workspace = Path.home().resolve(), workspace.resolve()
    folders = [workspace]
    if home in workspace.parents:
        folders = [folder for folder in (*reversed(workspace.parents), workspace) if home in (folder, *folder.parents)]
    found: dict[Path, MemoryFile] = {}
    for folder in folders:
        for name in NAMES:
            path = folder / name
            try:
                if not path.is_file() or path.stat().st_size > _LARGEST:
                    continue
                text = path.read_text(encoding="utf-8-sig", errors="replace").strip()
            except OSError:
                continue
            if text:
                trusted = folder == home or is_trusted(folder)
                found.setdefault(path.resolve(), MemoryFile(path, text, trusted))
    return list(found.values())


def memory_text(files: list[MemoryFile]) -> str:
    """What goes into the instructions: the nearest files whole as far as they fit, the others cut."""
    left, parts = MOST, list[str]()
    for file in reversed([file for file in files if file.trusted]):
        text = file.text[:left]
        if len(text) < len(file.text):
            text += f"\n[cut: {len(file.text) - len(text)} more characters in {file.path}]"
        if left > 0:
            parts.append(f"From {file.path}:\n{text}")
        left -= len(file.text)
    if not parts:
        return ""
    return "Instructions of the user and the project; what stands further down wins:\n\n" + "\n\n".join(reversed(parts))


def memory_notices(files: list[MemoryFile]) -> list[str]:
    """A sentence about what is used, and one about each file that is not."""
    used = [f"{file.path.name} in {file.path.parent} ({len(file.text)} characters)" for file in files if file.trusted]
    return [f"In the instructions: {', '.join(used)}"] * bool(used) + [
        f"{file.path} is not used until you say: qianda trust --cwd {file.path.parent}"
        for file in files
        if not file.trusted
    ]
