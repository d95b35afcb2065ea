"""What was cut from the results of a run, in its record."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import orjson

from qianda.agents.journal import Record
from qianda.agents.resources import Resources
from qianda.tools.kept import LONGEST, Kept
from qianda.tools.more import read_more

if TYPE_CHECKING:
    from qianda.agents.run import Run


class RecordedTexts(Kept):
    """The texts of one run and of the runs before it in its session; the first one brings the tool that reads them.

    Args:
        run: whose results they are.
        resources: its record and tools.
    """

    def __init__(self, run: Run[Any], resources: Resources) -> None:
        self._run = run
        self._resources = resources

    def keep(self, text: str) -> str:
        """Keep a text, under what it holds; its id."""
        text_id = hashlib.sha256(text.encode()).hexdigest()[:8]
        journal, key = self._resources.journal, f"output/{text_id}"
        if journal.find(self._run.id, key) is None:
            content = orjson.dumps(text[:LONGEST])
            journal.append(Record(self._run.id, key, "output", "finished", time.time(), content))
        self._resources.add_tools([read_more])
        return text_id

    def find(self, text_id: str) -> str | None:
        """The text of an id, or None."""
        journal, session = self._resources.journal, self._run.session
        runs = [self._run.id, *(reversed(journal.runs(session)) if session else ())]
        found = (journal.find(run_id, f"output/{text_id}") for run_id in runs)
        record = next((record for record in found if record is not None), None)
        return None if record is None else orjson.loads(record.data)
