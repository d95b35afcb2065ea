# Sourced by the scripts that fetch Python packages into the folder QIANDA_PARTS (default: ~/.cache/qianda-parts), without
# what those depend on. After "NAME PYTHON PACKAGES…" (PYTHON: needed where there is no uv; by default the project's).
parts="${QIANDA_PARTS:-$HOME/.cache/qianda-parts}/$1"
python="${2:-$(dirname "$0")/../../.venv/bin/python}"
shift 2
[ "$(cat "$parts/pypi.done" 2>/dev/null)" = "$*" ] && exit 0

rm -rf "$parts"
mkdir -p "$parts"
if command -v uv >/dev/null; then
    uv pip install -q --python "$python" --no-deps --only-binary :all: --target "$parts" "$@"
else
    "$python" -m pip install -q --no-deps --only-binary :all: --target "$parts" "$@"
fi && echo "$*" >"$parts/pypi.done" && exit 0
echo "not there: $* (PyPI)" >&2
exit 1
