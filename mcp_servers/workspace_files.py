"""The files of the workspace as MCP resources: listed by page, read by ``workspace:///path``."""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import os
import stat
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import mcp_types as types

from qianda.mcp_servers.resources import LARGEST
from qianda.models.errors import ToolError
from qianda.tools.builtin.search import find_files
from qianda.tools.secrets import redact
from qianda.tools.workspace import explained, open_file, resolve, shown

SCHEME = "workspace"
TEMPLATE = types.ResourceTemplate(
    name="file", uri_template=f"{SCHEME}:///{{+path}}", description="A file of the workspace, by its path in it"
)
PAGE = 200  # files of one answer


class WorkspaceFiles:
    """The files of one folder; hidden and ignored ones are not listed, hidden ones not read.

    Args:
        workspace: the folder.
    """

    scheme = SCHEME
    templates = (TEMPLATE,)

    def __init__(self, workspace: Path) -> None:
        self._root = Path(os.path.realpath(workspace))

    async def page(self, cursor: str | None) -> types.ListResourcesResult:
        """The files behind a cursor, which is the last path before them.

        Args:
            cursor: from the page before.
        """
        paths = [path for path in await find_files(self._root, ".", "**/*") if cursor is None or path > cursor]
        found = [self._listed(path) for path in paths[:PAGE]]
        return types.ListResourcesResult(resources=found, next_cursor=paths[PAGE - 1] if len(paths) > PAGE else None)

    async def read(self, uri: str) -> types.ReadResourceResult:
        """A file's content: text, or bytes where it is none.

        Raises:
            ToolError: the address is not one of ours, or the file cannot be read.
        """
        content = await asyncio.to_thread(self._content, _path_of(uri))
        kind = _kind(urlsplit(uri).path)
        try:
            text = redact(content.decode())
        except UnicodeDecodeError:
            data = base64.b64encode(content).decode()
            return types.ReadResourceResult(
                contents=[types.BlobResourceContents(uri=uri, mime_type=kind or "application/octet-stream", blob=data)]
            )
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=uri, mime_type=kind or "text/plain", text=text)]
        )

    def _listed(self, path: str) -> types.Resource:
        try:
            size = (self._root / path).stat().st_size
        except OSError:
            size = None
        return types.Resource(name=path, uri=f"{SCHEME}:///{quote(path)}", mime_type=_kind(path), size=size)

    def _content(self, path: str) -> bytes:
        real = resolve(self._root, path)
        if any(part.startswith(".") for part in real.relative_to(self._root).parts):
            raise ToolError(f'"{path}" is hidden, and hidden files are no resources')
        with explained(self._root, real, "read"):
            descriptor = open_file(self._root, real)
            with os.fdopen(descriptor, "rb") as file:
                about = os.fstat(descriptor)
                if not stat.S_ISREG(about.st_mode):
                    raise ToolError(f'"{shown(self._root, real)}" is not a file')
                if about.st_size > LARGEST:
                    raise ToolError(
                        f'"{shown(self._root, real)}" has {about.st_size:,} bytes; resources have at most {LARGEST:,}; '
                        "read_file reads it in parts"
                    )
                return file.read(LARGEST)


def _path_of(uri: str) -> str:
    parts = urlsplit(uri)
    path = unquote(parts.path).lstrip("/")
    if parts.scheme != SCHEME or parts.netloc or not path:
        raise ToolError(f"There is no resource {uri}; there are {TEMPLATE.uri_template}")
    return path


def _kind(path: str) -> str | None:
    return mimetypes.guess_type(path)[0]
