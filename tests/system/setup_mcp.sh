#!/usr/bin/env bash
# Fetches what the system tests of MCP talk to: servers from PyPI and npm that others wrote, and the MCP Inspector.
# They go into the folder QIANDA_PARTS (default: ~/.cache/qianda-parts). A part that cannot be had is named; its tests
# are then skipped.
set -uo pipefail

parts="${QIANDA_PARTS:-$HOME/.cache/qianda-parts}/mcp"
mkdir -p "$parts"
missing=0

# Each in a folder of its own: mcp-server-sqlite wants another SDK than the rest.
install() { # folder packages…
    local folder="$parts/$1"; shift
    [ "$(cat "$folder.done" 2>/dev/null)" = "$*" ] && return
    if command -v uv >/dev/null; then
        uv venv -q --allow-existing "$folder" && VIRTUAL_ENV="$folder" uv pip install -q "$@"
    else
        python3 -m venv "$folder" && "$folder/bin/python" -m pip install -q "$@"
    fi && echo "$*" >"$folder.done" || { echo "not there: $* (PyPI)" >&2; missing=1; }
}
install venv mcp-server-time==2026.10.19 mcp-server-git==2026.10.19 mcp-server-fetch==2026.10.24
install sqlite mcp-server-sqlite==2025.4.25 mcp==1.30.0
install sqlite-fresh mcp-server-sqlite==2025.4.25

npm="@modelcontextprotocol/server-everything@2026.8.31 @modelcontextprotocol/server-filesystem@2026.8.31 @modelcontextprotocol/server-memory@2026.8.31 @modelcontextprotocol/server-sequential-thinking@2026.8.31 @modelcontextprotocol/inspector@0.15.0"
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
