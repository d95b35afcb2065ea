"""The pieces of a reply as events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qianda.models.events import ArgumentsDelta, Discarded, Event, TextDelta, ThinkingDelta
from qianda.models.reply import CallPiece, Piece, ReasoningPiece, Reset, TextPiece

_DELTAS: dict[type[Piece], type[ThinkingDelta | TextDelta]] = {ReasoningPiece: ThinkingDelta, TextPiece: TextDelta}


def reply_events(pieces: Sequence[Piece]) -> Iterator[tuple[type[Event], dict[str, Any]]]:
    """Kinds and fields of the events for the pieces of a reply; neighbours of one kind go as one event."""
    kind: type[ThinkingDelta | TextDelta] | None = None
    text = ""
    for piece in pieces:
        this = _DELTAS.get(type(piece))
        if text and kind and this is not kind:
            yield kind, {"text": text}
            text = ""
        if isinstance(piece, TextPiece | ReasoningPiece):
            kind = this
            text += piece.text
        elif isinstance(piece, Reset):
            yield Discarded, {"reason": "what looked like the answer was thinking"}
        elif isinstance(piece, CallPiece):
            yield ArgumentsDelta, {"index": piece.index, "name": piece.name, "text": piece.arguments}
    if text and kind:
        yield kind, {"text": text}
