#!/usr/bin/env bash
# Fetches what the system tests of MCP talk to: servers from PyPI and npm that others wrote, and the MCP Inspector.
# They go into the folder QIANDA_PARTS (default: ~/.cache/qianda-parts). A part that cannot be had is named; its tests
# are then skipped.
set -uo pipefail

parts="${QIANDA_PARTS:-$HOME/.cache/qianda-parts}/mcp"
mkdir -p "$parts"
missing=0

pypi="mcp-server-time==2026.10.19"
if [ "$(cat "$parts/pypi.done" 2>/dev/null)" != "$pypi" ]; then
    if command -v uv >/dev/null; then
        uv venv -q --allow-existing "$parts/venv" && VIRTUAL_ENV="$parts/venv" uv pip install -q "$pypi"
    else
        python3 -m venv "$parts/venv" && "$parts/venv/bin/python" -m pip install -q "$pypi"
    fi && echo "$pypi" >"$parts/pypi.done" || { echo "not there: $pypi (PyPI)" >&2; missing=1; }
fi

npm="@modelcontextprotocol/server-everything@2026.8.31 @modelcontextprotocol/server-filesystem@2026.8.31 @modelcontextprotocol/inspector@0.15.0"
if [ "$(cat "$parts/npm.done" 2>/dev/null)" != "$npm" ]; then
    if ! command -v npm >/dev/null; then
        echo "not there: Node.js (apt-get install nodejs npm)" >&2
        missing=1
    # shellcheck disable=SC2086  # several packages
    elif npm install --silent --no-fund --no-audit --prefix "$parts/npm" $npm; then
        echo "$npm" >"$parts/npm.done"
    else
        echo "not there: $npm (npm)" >&2
        missing=1
    fi
fi

exit "$missing"
