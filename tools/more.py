"""The built-in tool ``read_more``: pages of a result that was too long; it is there only after one was cut."""

from __future__ import annotations

from qianda.models.errors import ToolError
from qianda.tools.context import Context
from qianda.tools.function_tool import tool
from qianda.tools.kept import PAGE, READ_MORE, pages


@tool(name=READ_MORE, read_only=True, origin="built-in", max_output=PAGE + 200)
async def read_more(id: str, context: Context, page: int = 1) -> str:  # noqa: A002 - the model's name for it
    """Read the part of a long result that was left out.

    Args:
        id: as it stands in the result
        context: keeps the text
        page: from 1
    """
    text = context.kept.find(id.strip())
    if text is None:
        raise ToolError(f'nothing is kept under "{id}"; make the call again whose result you need')
    count = pages(len(text))
    if not 1 <= page <= count:
        raise ToolError(f"there is no page {page}: this text has {count} page{'s' if count > 1 else ''}")
    return f"{text[(page - 1) * PAGE : page * PAGE]}\n[page {page} of {count}]"
