#!/usr/bin/env bash
# Installs tmux, in which the tests marked "tmux" run the real program. Without the rights to, it says what to do.
set -uo pipefail

command -v tmux >/dev/null && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq tmux >/dev/null && exit 0
fi
echo "not there: tmux (apt-get install tmux, brew install tmux)" >&2
exit 1
