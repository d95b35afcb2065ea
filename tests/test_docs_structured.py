"""The programs of docs/structured.md run, and its tables say what the data says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qianda.models.servers import server_kinds
from qianda.testing import ScriptedServer, serving

PAGE = Path(__file__).parent.parent.joinpath("docs/structured.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
REVIEW = '{"product": "kettle", "mood": "mixed", "stars": 2, "complaints": ["it leaks"]}'
SCRIPT = "<title>Counting</title>\n<code>\nfor n in range(1, 4):\n    print(n)\n</code>"


@pytest.mark.parametrize(
    ("program", "said", "shown"),
    [(PROGRAMS[0], REVIEW, "2 mixed it leaks\n"), (PROGRAMS[1], SCRIPT, "Counting\n1\n2\n3\n")],
    ids=["review", "script"],
)
def test_the_programs(program: str, said: str, shown: str) -> None:
    with serving(ScriptedServer(said)) as server:
        environment = {**os.environ, "QIANDA_SERVER": server.url}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.stderr == ""
    assert done.stdout == shown


def test_the_table_names_each_server_that_has_a_grammar() -> None:
    assert len(PROGRAMS) == 2
    for row in server_kinds().values():
        if row.structured:
            title = row.title.partition(" (")[0].replace("embedded llama.cpp", "embedded engine")
            title = title.replace(" Model Server", "")
            assert re.search(rf"^\|[^|]*{re.escape(title)}[^|]*\|", PAGE, re.MULTILINE), row.title
