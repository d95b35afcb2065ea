#!/usr/bin/env bash
# Fetches the protocol's own TypeScript client, with which the system tests of `qianda acp` drive it, from npm.
# It goes into the folder QIANDA_PARTS (default: ~/.cache/qianda-parts). Where it cannot be had the tests are skipped.
set -uo pipefail

parts="${QIANDA_PARTS:-$HOME/.cache/qianda-parts}/acp"
mkdir -p "$parts"
npm="@agentclientprotocol/sdk@2.4.0"
[ "$(cat "$parts/npm.done" 2>/dev/null)" = "$npm" ] && exit 0
if ! command -v npm >/dev/null; then
    echo "not there: Node.js (apt-get install nodejs npm)" >&2
    exit 1
fi
if npm install --silent --no-fund --no-audit --prefix "$parts/npm" "$npm"; then
    echo "$npm" >"$parts/npm.done"
else
    echo "not there: $npm (npm)" >&2
    exit 1
fi
