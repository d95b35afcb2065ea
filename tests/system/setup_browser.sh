#!/usr/bin/env bash
# Installs Chromium, in which the tests marked "browser" use the chat. Without the rights to, it says what to do.
set -uo pipefail

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null && exit 0
fi
echo "not there: Chromium (apt-get install chromium)" >&2
exit 1
