"""Where the chat works: the folder and its git branch, read from files, without a process."""

from __future__ import annotations

from pathlib import Path


def place_of(folder: Path) -> str:
    """``project (main)``, or the folder's name alone.

    Args:
        folder: the workspace.
    """
    name = "~" if folder == Path.home() else folder.name or str(folder)
    branch = _branch(folder)
    return f"{name} ({branch})" if branch else name


def _branch(folder: Path) -> str:
    """The branch that is checked out, a commit's beginning, or "" where there is no repository."""
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        try:
            if git.is_file():  # of a worktree or a submodule
                git = parent / git.read_text("utf-8").removeprefix("gitdir:").strip()
            head = (git / "HEAD").read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        return head.removeprefix("ref: refs/heads/") if head.startswith("ref:") else head[:8]
    return ""
