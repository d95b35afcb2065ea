"""What a tool call gives back to the model."""

from __future__ import annotations

from dataclasses import dataclass

from qianda.models.messages import Content


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The outcome of one tool call.

    Args:
        content: what the model reads: text, or text and media parts.
        failed: the content is an error sentence.
    """

    content: Content
    failed: bool = False
