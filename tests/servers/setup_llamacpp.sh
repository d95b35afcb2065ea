#!/bin/sh
# Fetch what the tests marked "llamacpp" need: the demo weights, into the data folder (QIANDA_DATA_DIR overrides it).
# Usage: tests/servers/setup_llamacpp.sh [PYTHON]   (default: the project's .venv)
set -eu
python="${1:-$(dirname "$0")/../../.venv/bin/python}"
"$python" -c 'import xllamacpp' || {
    echo "xllamacpp is not installed: pip install 'qianda[local]'" >&2
    exit 1
}
exec "$python" -c '
from qianda.models.embedded import ensure_weights
print(ensure_weights(print))
'
