"""Keeps what was cut from a long result, so that the model can read the rest page by page."""

from __future__ import annotations

PAGE = 8_000
"""Characters of a page: fits beside a conversation in the small windows of local servers."""
LONGEST = 2_000_000
"""Characters that are kept of one text."""
READ_MORE = "read_more"
"""The tool that reads them."""


class Kept:
    """Where the texts are kept; this one forgets them, as outside of a run."""

    def keep(self, text: str) -> str:  # noqa: ARG002 - forgotten
        """Keep a text; the id that finds it again, or "" where nothing is kept."""
        return ""

    def find(self, text_id: str) -> str | None:  # noqa: ARG002 - nothing is there
        """The text of an id, or None."""
        return None


NOTHING_KEPT = Kept()


def pages(length: int) -> int:
    """How many pages a text of this many characters has."""
    return -(-length // PAGE)
