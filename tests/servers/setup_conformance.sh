#!/usr/bin/env bash
# Fetches the official conformance suite of MCP and the Node.js that it needs, from npm.
# They go into the folder QIANDA_PARTS (default: ~/.cache/qianda-parts).
set -euo pipefail

folder="${QIANDA_PARTS:-$HOME/.cache/qianda-parts}/conformance"
packages="node@24 @modelcontextprotocol/conformance@0.2.0-alpha.12"
mkdir -p "$folder"
if [ "$(cat "$folder/npm.done" 2>/dev/null)" != "$packages" ]; then
    if ! command -v npm >/dev/null; then
        echo "not there: Node.js (apt-get install nodejs npm)" >&2
        exit 1
    fi
    # shellcheck disable=SC2086  # several packages
    npm install --silent --no-fund --no-audit --prefix "$folder" $packages
    echo "$packages" >"$folder/npm.done"
fi
