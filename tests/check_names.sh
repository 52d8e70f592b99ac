#!/usr/bin/env bash
# No tracked file names the host of a package archive: which mirror serves is the machine's business.
# The hosts are read from this machine's own npm and apt settings, so none stands here either.
# Usage: tests/check_names.sh
set -euo pipefail
cd "$(dirname "$0")/.."

settings() {
    npm config get registry 2>/dev/null || true
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources \
        2>/dev/null || true
}

# From any text, the host of each URL in it. A mirror on this machine itself has no name to give away.
hosts=$(settings | grep -oE '[a-z+]+://[^/[:space:]]+' | sed -E 's#^.*://([^@]*@)?##; s/:[0-9]+$//' |
    grep -vE '^(localhost|127\.[0-9.]+)$' | sort -u)
if [ -n "$hosts" ] && git grep -nIF -f <(printf '%s\n' "$hosts") -- .; then
    echo "these lines name the host of a package archive"
    exit 1
fi
if git grep -nIE '://[a-z0-9.-]*(registry|mirror)[a-z0-9-]*\.' -- .; then
    echo "these lines name the host of a package archive"
    exit 1
fi
