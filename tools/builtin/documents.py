"""The built-in tool ``read_document``: PDF, Word, PowerPoint, Excel, HTML, CSV and EPUB files as text."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

from qianda.models.errors import ToolError
from qianda.tools.builtin.paging import Pages, show, wanted
from qianda.tools.builtin.processes import run_child
from qianda.tools.builtin.text_files import human_size
from qianda.tools.context import Context
from qianda.tools.effects import reads_path
from qianda.tools.function_tool import tool
from qianda.tools.sandbox import Sandbox
from qianda.tools.workspace import explained, resolve, shown

_LARGEST = 100_000_000  # bytes
_SECONDS = 60
KINDS = ("pdf", "docx", "pptx", "xlsx", "html", "htm", "csv", "epub")


@tool(read_only=True, consent=False, origin="built-in", max_output=20_000, effects=reads_path)
async def read_document(path: str, context: Context, pages: str = "") -> str:
    """Read a PDF, DOCX, PPTX, XLSX, HTML, CSV or EPUB file as text.

    Args:
        path: File path
        context: says where the workspace is
        pages: e.g. 3 or 3-5; from the first by default
    """
    first, last = wanted(pages)
    file = resolve(context.workspace, path)
    name = shown(context.workspace, file)
    kind = file.suffix.lower().removeprefix(".")
    with explained(context.workspace, file, "read"):
        size = file.stat().st_size
        if not file.is_file():
            raise ToolError(f'"{name}" is no file')
    if kind not in KINDS:
        raise ToolError(f'"{name}" is none of {", ".join(KINDS)}; use read_file for text, view_image for images')
    if size > _LARGEST:
        raise ToolError(f'"{name}" has {human_size(size)}; documents of more than {human_size(_LARGEST)} are refused')
    return show(name, await read_pages(kind, file, first, last, name=name, sandbox=context.sandbox))


async def read_pages(
    kind: str, file: Path, first: int, last: int, *, name: str, sandbox: Sandbox | None, url: str = ""
) -> Pages:
    """Some pages of a document, read by a process with bounds on memory and time, without a network.

    Args:
        kind: its ending without the dot, or ``page`` for a web page.
        file: where it is.
        first: number of the first page.
        last: number of the last one.
        name: what the model knows it as.
        sandbox: what commands run in, or None for no sandbox.
        url: where a web page comes from.

    Raises:
        ToolError: it cannot be read.
    """
    worker = [sys.executable, "-P", "-m", "qianda.tools.builtin.document_worker"]
    arguments = [*worker, kind, str(file), str(first), str(last), url]
    box = replace(sandbox, network=False, writable=(file.parent,)) if sandbox else None
    try:
        async with asyncio.timeout(_SECONDS), run_child(arguments, folder=file.parent, sandbox=box) as child:
            answer = await child.output.read()
    except TimeoutError:
        raise ToolError(f'"{name}" cannot be read: it takes more than {_SECONDS} s') from None
    try:
        value = json.loads(answer)
    except ValueError:
        raise ToolError(
            f'"{name}" cannot be read: its reader crashed, for want of memory or because it is damaged'
        ) from None
    if "missing" in value:
        extra = "web" if kind == "page" else "documents"
        raise ToolError(
            f"{value['missing']} is not installed, which reads this; tell the user: pip install 'qianda[{extra}]'"
        )
    if "problem" in value:
        raise ToolError(f'"{name}" cannot be read: {value["problem"]}')
    return Pages(**value)
