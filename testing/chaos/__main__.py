"""Prints the fault table; ends with status 1 when a row is not as expected."""

from __future__ import annotations

import asyncio
import sys

from qianda.testing.chaos.rows import ROWS
from qianda.testing.chaos.table import table, try_rows

if __name__ == "__main__":
    outcomes = asyncio.run(try_rows(ROWS))
    wrong = sum(not outcome.ok for outcome in outcomes)
    sys.stdout.write(f"{table(outcomes)}\n\n{len(ROWS)} faults, {len(outcomes)} runs, {wrong} not as expected\n")
    sys.exit(1 if wrong else 0)
