# shellcheck shell=bash
# What the scripts share: where things are, how to speak to a person, how to fail with advice.
# Sourced, never run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
data_dir=${NEXUS_DATA_DIR:-${XDG_DATA_HOME:-${HOME:?}/.local/share}/nexus}
log_dir=$root/build/log
# shellcheck disable=SC2034 # read by the scripts that source this file
header_dir=$data_dir/include/onnxruntime

export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
export npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false
mkdir -p "$log_dir"

say() { printf '%s\n' "$*"; }

# die MESSAGE [ADVICE LINE...]: ends the script; advice says what to do next.
die() {
    printf '\nnexus: %s\n' "$1" >&2
    shift
    if [ $# -gt 0 ]; then
        printf '  %s\n' "$@" >&2
    fi
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# begin TEXT starts a progress line and end WORD closes it: "[3/7] ONNX Runtime 1.30.0 ... cached".
# The caller of several scripts numbers them through NEXUS_STEP.
begin() {
    progress_line="${NEXUS_STEP:+[$NEXUS_STEP] }$1 ... "
    printf '%s' "$progress_line"
}

end() {
    if [ -t 1 ]; then
        printf '\r\033[K%s' "$progress_line"
    fi
    printf '%s\n' "$1"
}

# Ctrl-C ends what runs behind a progress line too, and lets the trap on EXIT tidy up.
job=
interrupted() {
    if [ -n "$job" ]; then
        kill -TERM -- "-$job" 2>/dev/null || true
        wait "$job" 2>/dev/null || true
    fi
    exit 130
}
trap interrupted INT TERM

# logged NAME COMMAND...: runs COMMAND with its output in build/log/NAME.log. On a terminal the
# seconds run on. A failure shows the end of the log and what to do.
logged() {
    local log=$log_dir/$1.log status=0
    shift
    set -m # a process group of its own, so that it can be ended whole
    "$@" >"$log" 2>&1 </dev/null &
    job=$!
    set +m
    if [ -t 1 ]; then
        local started=$SECONDS
        while kill -0 "$job" 2>/dev/null; do
            printf '\r\033[K%s%d s' "$progress_line" $((SECONDS - started))
            sleep 1
        done
    fi
    wait "$job" || status=$?
    job=
    if [ "$status" -ne 0 ]; then
        end failed
        explain "$log" >&2
        exit 1
    fi
}

# explain LOG: the end of a log and, where the reason is a known one, the way out.
explain() {
    say
    tail -n 15 "$1" | sed 's/^/    | /'
    say "  The whole log: $1"
    if grep -qE 'No space left on device|ENOSPC' "$1"; then
        say "  The disk is full: free some space (df -h shows where) and run the same command again."
    elif grep -qE 'Could not get lock|is another process using it' "$1"; then
        say "  Another apt is running: wait until it is done and run the same command again."
    elif grep -qE 'CERT_|certificate' "$1"; then
        say "  A certificate is not trusted. Behind a proxy that signs its own, tell npm with" \
            "NODE_EXTRA_CA_CERTS=/path/ca.pem" \
            "and apt with its Acquire::https::CAInfo setting."
    elif grep -qE 'Temporary failure|EAI_AGAIN|ENOTFOUND|ECONN|ETIMEDOUT|ENETUNREACH|Could not resolve|Could not connect|Network is unreachable|Failed to fetch' "$1"; then
        say "  The network can't be reached: check the connection (and the proxy settings of apt" \
            "and npm), then run the same command again; what is there already is kept."
    elif grep -qE 'Unable to locate package|has no installation candidate' "$1"; then
        say "  apt does not know a package: check that Debian's main component is in apt's sources."
    elif grep -qE 'EACCES|Permission denied' "$1"; then
        say "  Permission was refused: check who owns $root and $data_dir."
    fi
}

# need_space MEGABYTES DIRECTORY: ends the script when the file system has less free.
need_space() {
    local dir=$2 free
    while [ ! -d "$dir" ]; do
        dir=$(dirname "$dir")
    done
    free=$(($(df -Pk "$dir" | awk 'NR == 2 { print $4 }') / 1024))
    if [ "$free" -lt "$1" ]; then
        end failed
        die "not enough disk space: $1 MB are needed under $2 and $free MB are free" \
            "Free some space and run the same command again."
    fi
}

# as_root COMMAND...: directly for root, else through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo --preserve-env=DEBIAN_FRONTEND "$@"
    fi
}

# need_root ADVICE...: makes sure that as_root will work, and asks for the password once if need be.
need_root() {
    if [ "$(id -u)" -eq 0 ]; then
        return
    fi
    if ! have sudo; then
        end failed
        die "installing packages needs root, and there is no sudo" "$@"
    fi
    if ! sudo -n true 2>/dev/null; then
        end "asks for your password (sudo)"
        sudo -v || die "sudo refused" "$@"
        begin "  installing"
    fi
}

# apt_knows PACKAGE: whether apt's lists have a version that could be installed.
apt_knows() {
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'
}

# Debian 13 and later have ONNX Runtime with its header; then no header is fetched.
system_has_ort_header() {
    have pkg-config && pkg-config --exists libonnxruntime
}

# One hash over the names and contents of the given files and folders, made things left out.
hash_of() {
    find "$@" \( -name node_modules -o -name dist \) -prune -o -type f -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
}

# npm_packages FOLDER installs what its lock file names, when that has changed since. Sets npm_done
# to what was done.
npm_packages() {
    local stamp wanted
    if ! have npm; then
        end failed
        die "npm is missing" "Run scripts/bootstrap."
    fi
    stamp=$root/build/packages-${1//\//-}.stamp
    wanted=$(cd "$root" && hash_of "$1/package.json" "$1/package-lock.json")
    npm_done=unchanged
    if [ ! -d "$root/$1/node_modules" ] || [ "$wanted" != "$(cat "$stamp" 2>/dev/null)" ]; then
        need_space 300 "$root"
        logged "packages-${1//\//-}" npm --prefix "$root/$1" ci
        printf '%s\n' "$wanted" >"$stamp"
        # shellcheck disable=SC2034 # read by scripts/packages
        npm_done=installed
    fi
}
