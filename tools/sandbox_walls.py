"""The sandbox's walls as command lines: what is hidden, what can be written, which limits hold."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Below the home folder: keys, tokens and what unlocks them. History files hold what was typed by mistake.
_SECRETS = (
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".oci", ".config/gcloud", ".config/gh", ".config/hub",
    ".config/op", ".config/rclone", ".config/containers", ".local/share/keyrings", ".local/share/containers",
    ".password-store", ".netrc", ".npmrc", ".pypirc", ".git-credentials", ".config/git/credentials", ".pgpass",
    ".my.cnf", ".vault-token", ".terraform.d", ".cargo/credentials.toml", ".cargo/credentials", ".gem/credentials",
    ".cache/huggingface/token", ".config/qwen", ".qwen", ".claude", ".codex", ".gemini", ".mozilla", ".thunderbird",
    ".config/google-chrome", ".config/chromium", "Library/Keychains", "Library/Application Support/Google/Chrome",
    ".bash_history", ".zsh_history", ".python_history", ".psql_history",
)  # fmt: skip
# Inside a workspace: what programs outside the sandbox would run for whoever changed it.
_PROTECTED = (".git/hooks", ".git/config", ".qianda", ".mcp.json")

# Set inside, where they hold for the sandbox alone. ulimit is -u in bash and -p in dash; sizes are in blocks of 512
# bytes and in kilobytes. Whoever runs out of memory first is the sandbox.
_LIMITS = (
    "(echo 1000 > /proc/self/oom_score_adj) 2>/dev/null; "
    "{ ulimit -u $1 || ulimit -p $1; } 2>/dev/null; ulimit -d $2 2>/dev/null; ulimit -f $3 2>/dev/null; "
    "ulimit -c 0 2>/dev/null; shift 3; "
)
_EXECUTE = 'exec "$@"'
# The command's processes end with it; those that it left are counted first, to say so.
_WATCHED = (
    '"$@"; code=$?; left=0; for stat in /proc/[0-9]*/stat; do read -r line < $stat || continue; '
    'case "$line" in "1 "*|"$$ "*|*") Z "*|*") X "*) ;; *) left=1 ;; esac; done 2>/dev/null; '
    '[ $left = 0 ] || echo "[what it left in the background was stopped]"; exit $code'
)


@dataclass(frozen=True, slots=True)
class Walls:
    """One sandbox's settings with real paths.

    Args:
        writable: folders that can be changed, the workspace first.
        network: whether there is one.
        temporary: the folder that takes the place of ``/tmp``.
        limits: processes, bytes of memory of each, bytes of a file.
    """

    writable: tuple[Path, ...]
    network: bool
    temporary: Path
    limits: tuple[int, int, int]

    def hidden(self) -> Iterator[Path]:
        """Real paths of what must not be seen and is there."""
        from qianda.models.config import data_dir, user_config_path

        home = Path.home()
        wanted = (*(home / name for name in _SECRETS), user_config_path().parent, data_dir())
        there = {path.resolve() for path in wanted if path.exists()}
        yield from sorted(path for path in there if there.isdisjoint(path.parents))

    def protected(self) -> Iterator[Path]:
        """Files and folders of the writable ones that stay as they are; links are not followed."""
        for folder in self.writable:
            for name in _PROTECTED:
                path = folder / name
                if path.exists() and os.path.realpath(path) == str(path):
                    yield path

    def prelude(self, rest: str) -> list[str]:
        """The shell that sets the limits and then runs its arguments."""
        processes, memory, file_size = self.limits
        counted = processes if _counts_inside() else "unlimited"
        return ["/bin/sh", "-c", _LIMITS + rest, "sh", str(counted), str(memory // 1024), str(file_size // 512)]


def bubblewrap(walls: Walls, arguments: Sequence[str], folder: Path) -> list[str]:
    """The command line for Linux.

    Later mounts lie over earlier ones: folders with secrets come last, so that no link made in the workspace uncovers
    them; only those that the workspace itself lies in come before it.
    """
    line = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    line += [] if walls.network else ["--unshare-net"]
    line += ["--die-with-parent", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    # In /run are the sockets of services that would do outside what cannot be done inside.
    line += ["--bind", str(walls.temporary), "/tmp", "--tmpfs", "/run"]  # noqa: S108 - it is not the machine's
    line += ["--ro-bind-try", "/run/current-system", "/run/current-system"]
    if walls.network:
        line += ["--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"]
    hidden = list(walls.hidden())
    around = [path for path in hidden if any(path in (inner, *inner.parents) for inner in walls.writable)]
    line += [word for path in around for word in ("--tmpfs", str(path))]
    line += [word for path in _programs() for word in ("--ro-bind", str(path), str(path))]
    line += [word for path in walls.writable for word in ("--bind-try", str(path), str(path))]
    line += [word for path in walls.protected() for word in ("--ro-bind", str(path), str(path))]
    for path in hidden:
        if path in around:
            continue
        covered = ("--tmpfs", str(path), "--remount-ro", str(path))
        line += covered if path.is_dir() else ("--ro-bind", "/dev/null", str(path))
    for name, value in _environment("/tmp").items():  # noqa: S108 - it is not the machine's
        line += ["--setenv", name, value]
    return [*line, "--chdir", str(folder), *walls.prelude(_WATCHED), *arguments]


def seatbelt(walls: Walls, arguments: Sequence[str]) -> list[str]:
    """The command line for macOS. The last rule that fits is the one that holds."""

    def paths(found: Iterator[Path] | Sequence[Path]) -> str:
        return " ".join(f"(subpath {json.dumps(str(path), ensure_ascii=False)})" for path in found)

    rules = ["(version 1)", "(allow default)", "(deny file-write*)"]
    rules.append(f'(allow file-write* (subpath "/dev") {paths((*walls.writable, walls.temporary))})')
    if protected := paths(walls.protected()):
        rules.append(f"(deny file-write* {protected})")
    around = tuple(path for path in walls.hidden() if any(path in (inner, *inner.parents) for inner in walls.writable))
    if hidden := paths([path for path in walls.hidden() if path not in around]):
        rules.append(f"(deny file-read* file-write* {hidden})")
    if not walls.network:
        rules.append('(deny network*) (allow network* (local ip "localhost:*") (remote ip "localhost:*"))')
    settings = [f"{name}={value}" for name, value in _environment(str(walls.temporary)).items()]
    return ["sandbox-exec", "-p", "\n".join(rules), "/usr/bin/env", *settings, *walls.prelude(_EXECUTE), *arguments]


def process_group(group: Path | None, line: list[str]) -> list[str]:
    """The command line, entering a control group first."""
    if group is None:
        return line
    return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"), *line]


def _programs() -> Iterator[Path]:
    """Where this Python and this package lie, if the sandbox's own ``/tmp`` and ``/run`` would hide them."""
    wanted = (sys.base_prefix, sys.prefix, Path(__file__).resolve().parents[1])
    for path in dict.fromkeys(Path(folder).resolve() for folder in wanted):
        if not {Path("/tmp"), Path("/run")}.isdisjoint(path.parents):  # noqa: S108 - the machine's
            yield path


def _environment(temporary: str) -> dict[str, str]:
    """Caches go where they can be written: a poisoned one must not be used outside."""
    return {"TMPDIR": temporary, "XDG_CACHE_HOME": f"{temporary}/.cache", "npm_config_cache": f"{temporary}/.npm"}


def _counts_inside() -> bool:
    """Whether the limit of processes counts those of the sandbox alone: from Linux 5.14 on."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return platform.system() == "Linux" and found is not None and tuple(map(int, found.groups())) >= (5, 14)
