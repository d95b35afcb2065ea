#!/usr/bin/env bash
# Fetches AgentDojo (prompt injection: tasks, tools and attacks) with the few packages that its task suites need; the rest
# of what it depends on is not. They go into the folder QIANDA_PARTS (default: ~/.cache/qianda-parts).
# Usage: tests/system/setup_agentdojo.sh [PYTHON]   (default: the project's .venv; needed where there is no uv)
set -uo pipefail

parts="${QIANDA_PARTS:-$HOME/.cache/qianda-parts}/agentdojo"
python="${1:-$(dirname "$0")/../../.venv/bin/python}"
packages="agentdojo==0.1.35 docstring-parser==0.18.0 email-validator==2.4.0 dnspython==2.9.2 deepdiff==8.6.1 orderly-set==5.5.0"
[ "$(cat "$parts/pypi.done" 2>/dev/null)" = "$packages" ] && exit 0

rm -rf "$parts"
mkdir -p "$parts"
if command -v uv >/dev/null; then
    # shellcheck disable=SC2086 - several packages
    uv pip install -q --python "$python" --no-deps --only-binary :all: --target "$parts" $packages
else
    # shellcheck disable=SC2086
    "$python" -m pip install -q --no-deps --only-binary :all: --target "$parts" $packages
fi && echo "$packages" >"$parts/pypi.done" && exit 0
echo "not there: $packages (PyPI)" >&2
exit 1
