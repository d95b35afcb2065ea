#!/usr/bin/env bash
# Installs bubblewrap, the sandbox on Linux, and tries it. Without the rights to, it says what to do.
set -uo pipefail

works() { bwrap --unshare-user --unshare-pid --unshare-net --ro-bind / / --dev /dev --proc /proc true; }

[ "$(uname)" = Linux ] || exit 0
if ! command -v bwrap >/dev/null; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq bubblewrap >/dev/null
    fi
fi
if ! command -v bwrap >/dev/null; then
    echo "not there: bubblewrap (apt-get install bubblewrap, dnf install bubblewrap)" >&2
    exit 1
fi
if ! works; then
    echo "bubblewrap is there and does not work: this machine or container allows no user namespaces" >&2
    exit 1
fi
