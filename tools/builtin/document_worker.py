"""Turns one document into text, in a process of its own with bounds on memory and time: documents may be bombs.

``python -m qianda.tools.builtin.document_worker KIND FILE FIRST LAST URL`` writes a JSON object to standard output.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import resource
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from qianda.models.errors import ToolError
from qianda.tools.builtin.paging import Pages, cut_pages, take

_MEMORY = 3 << 30  # bytes of address space
_UNPACKED = 300_000_000  # bytes that an archive may hold unpacked
_ENTRIES = 20_000  # files that it may hold
_ARCHIVES = ("docx", "pptx", "xlsx", "epub")
_SLIDE = re.compile(r"\s*<!-- Slide number: \d+ -->\s*")


def read(kind: str, path: Path, first: int, last: int, url: str) -> Pages:
    """The wanted pages of a document.

    Args:
        kind: a file name's ending without the dot, or ``page`` for a web page.
        path: the file.
        first: number of the first page.
        last: number of the last one.
        url: where a web page comes from.

    Raises:
        ToolError: it cannot be read, in a sentence without its name.
        ImportError: a package is missing.
    """
    if kind == "page":
        return cut_pages(_web_page(path.read_bytes(), url), first, last)
    if kind == "pdf":
        return _pdf(path, first, last)
    if kind in _ARCHIVES:
        _check_archive(path)
    text = _markdown(path.read_bytes(), kind)
    if kind == "pptx":
        slides = _SLIDE.split(text)[1:]
        return take(lambda number: slides[number - 1], len(slides), first, last, "slide")
    return cut_pages(text, first, last)


def _check_archive(path: Path) -> None:
    """Refuse archives that unpack to more than any document needs; Python unpacks no more than they declare."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if size > _UNPACKED or len(entries) > _ENTRIES:
        raise ToolError(f"it would unpack to {size / 1e6:,.0f} MB in {len(entries):,} files, which is refused")


def _markdown(content: bytes, kind: str) -> str:
    if kind != "xlsx":
        # Imported for workbooks only, and slowly: what stands here cannot be imported, and markitdown does without.
        sys.modules["pandas"] = cast("ModuleType", None)
    from markitdown import MarkItDown, StreamInfo

    info = StreamInfo(extension=f".{kind}", charset=_charset(content) if kind in ("csv", "html", "htm") else None)
    return MarkItDown(enable_plugins=False).convert_stream(io.BytesIO(content), stream_info=info).markdown


def _charset(content: bytes) -> str | None:
    """UTF-8 where it is that; else the converter looks for itself."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return None
    return "utf-8"


def _pdf(path: Path, first: int, last: int) -> Pages:
    """By PDFium, page by page, so that of a long document only what is wanted is read."""
    pdfium: Any = import_module("pypdfium2")  # it has no types
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        raise ToolError("it is protected by a password" if "assword" in str(error) else "it is damaged") from None

    def page(number: int) -> str:
        return str(document[number - 1].get_textpage().get_text_range()).replace("\r\n", "\n")

    return take(page, len(document), first, last, "page")


def _web_page(content: bytes, url: str) -> str:
    """The readable text of a web page as Markdown; everything on it where no article is found."""
    import trafilatura

    def whole(html: bytes) -> bytes:
        return html if re.search(rb"(?i)<body", html) else b"<html><body>" + html + b"</body></html>"

    found = re.search(rb"(?is)<title[^>]*>(.*?)</title", content[:100_000])
    title = trafilatura.html2txt(whole(found[1])).strip() if found else ""
    article = trafilatura.extract(
        whole(content), url=url, output_format="markdown", include_links=True, include_comments=False, favor_recall=True
    )
    everything = trafilatura.html2txt(whole(content))
    text = article if article and len(article) * 4 > len(everything) else everything
    return text if not title or title in text[:500] else f"# {title}\n\n{text}"


def main() -> None:
    """Read as the command line says, and write what came of it."""
    kind, path, first, last, url = sys.argv[1:]
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what the packages say is not for the model
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS refuses
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        value = dataclasses.asdict(read(kind, Path(path), int(first), int(last), url))
    except ToolError as error:
        value = {"problem": str(error)}
    except ImportError as error:
        value = {"missing": error.name or str(error)}
    except MemoryError:
        value = {"problem": "it needs more memory than is allowed"}
    except RecursionError:
        value = {"problem": "it is nested too deeply"}
    except zipfile.BadZipFile:
        value = {"problem": f"it is damaged, or no {kind.upper()} file at all"}
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [""])[0][:200]
        value = {"problem": f"it is damaged ({type(error).__name__}: {first_line})"}
    json.dump(value, answer)
    answer.flush()
    os._exit(0)  # threads of the packages would hold it up


if __name__ == "__main__":
    main()
