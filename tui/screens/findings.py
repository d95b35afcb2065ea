"""What small live questions find out about a server and a model: asking them, and their answers as rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qianda.models.probes import Finding
from qianda.tui.panes.shown import Rows
from qianda.tui.transcript.rows import Row, flow_text

if TYPE_CHECKING:
    from qianda.models.resolve import Endpoint

SECONDS = 7.0
"""For all the small questions to a server."""
_MARKS = {
    "ok": ("✓ ", "call-done"),
    "no": ("– ", "call-note"),
    "problem": ("✗ ", "call-failed"),
    "unknown": ("? ", "call-note"),
}


async def look_closely(endpoint: Endpoint) -> list[Finding]:
    """Ask a few small things, and remember what was found for the runs that follow."""
    from qianda.models.detection import FoundServer, server_version
    from qianda.models.http import open_http
    from qianda.models.probes import probe
    from qianda.models.profile_cache import remember_findings
    from qianda.models.resolve import bearer

    async with open_http(endpoint.url, transport=endpoint.transport) as http:
        found = FoundServer(endpoint.url, endpoint.kind, ())
        version, findings = await asyncio.gather(
            server_version(http, found, headers=bearer(endpoint.api_key)), probe(endpoint, http, seconds=SECONDS)
        )
    await asyncio.to_thread(remember_findings, endpoint, version, findings)
    return findings


def findings_block(findings: Sequence[Finding]) -> Rows:
    """The findings, with what cures the problems."""
    return Rows(lambda width: [row for one in findings for row in _finding_rows(one, width)])


def _finding_rows(one: Finding, width: int) -> list[Row]:
    mark, style = _MARKS[one.status]
    text = ". ".join(part for part in (f"{one.check}: {one.seen}", one.cure, one.meanwhile) if part)
    rows = flow_text(text, width, prefix="  ")
    return [rows[0]._replace(runs=((mark, style), *rows[0].runs[1:])), *rows[1:]]
