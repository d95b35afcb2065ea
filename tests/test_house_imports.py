"""What an import costs: nothing heavy is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "textual", "rich", "mcp", "qwen_agent", "starlette", "typer", "numpy", "pydantic", "httpx", "httpx2",
    "sqlite3", "xllamacpp", "openai", "dashscope", "jinja2", "uvicorn",
}  # fmt: skip


def loaded_by(statement: str, cwd: Path) -> set[str]:
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import qianda", "from qianda import Agent, tool"])
def test_the_import_face_loads_nothing_heavy(statement: str, tmp_path: Path) -> None:
    assert loaded_by(statement, tmp_path) & HEAVY == set()


def test_every_public_name_can_be_imported_and_is_listed(tmp_path: Path) -> None:
    code = (
        "import qianda\nfor name in qianda.__all__: getattr(qianda, name)\n"
        "assert qianda.__all__ and set(qianda.__all__) <= set(dir(qianda))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True)


def test_help_loads_neither_screen_nor_mcp(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom qianda.cli.main import main\nsys.argv = ['qianda', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('LOADED', *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    shown, _, names = done.stdout.rpartition("LOADED")
    assert "run" in shown
    assert set(names.split()) & {"textual", "mcp", "qwen_agent", "numpy", "xllamacpp", "starlette", "openai"} == set()
