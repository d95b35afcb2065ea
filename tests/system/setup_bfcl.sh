#!/usr/bin/env bash
# Fetches the data of the Berkeley Function Calling Leaderboard, of which only the data is used: the package is never
# imported and brings none of what it depends on.
# Usage: tests/system/setup_bfcl.sh [PYTHON]
set -uo pipefail
. "$(dirname "$0")/fetch_packages.sh" bfcl "${1:-}" bfcl-eval==2026.3.23
