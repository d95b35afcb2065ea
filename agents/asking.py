"""One model request of a run: its pieces shown as they come, and merged into the reply."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from qianda.models.attempts import Retry
from qianda.models.events import Retrying
from qianda.models.reply import Piece, Reply, merge

if TYPE_CHECKING:
    from qianda.agents.run import Run


async def hear(run: Run[Any], batches: AsyncGenerator[list[Piece] | Retry], *, shown: bool = True) -> Reply:
    """Hear a reply out.

    Args:
        run: where events go.
        batches: what ``Client.ask`` yields.
        shown: it is for the user.

    Raises:
        ServerError: the model server failed.
    """
    pieces: list[Piece] = []
    async with aclosing(batches):
        async for batch in batches:
            if isinstance(batch, Retry):
                pieces.clear()
                cause = batch.error.message
                run.emit(Retrying, cause=cause, attempt=batch.attempt, wait=batch.wait, discard=batch.discard)
            else:
                pieces += batch
                if shown:
                    run.show(batch)
    return merge(pieces)
