#!/bin/sh
# Installs, starts and purges a package of "make deb". It leaves nothing, so it is for a machine made
# for this, for example: scripts/fresh-machine /tmp/fresh tests/deb.sh /tmp/nexus.deb /tmp/yolov8n.onnx
# Usage: tests/deb.sh PACKAGE MODEL.onnx
set -eu

package=$1
model=$2
export DEBIAN_FRONTEND=noninteractive

fail() {
    echo "deb: $*" >&2
    exit 1
}

# The value of a line of the unit.
unit() {
    sed -n "s/^$1=//p" /lib/systemd/system/nexus.service
}

# As systemd would, but for its sandbox: the user, the environment and the command of the unit.
start() {
    # shellcheck disable=SC2046 # several words
    setpriv --reuid="$(unit User)" --regid="$(unit Group)" --init-groups env $(unit Environment) $(unit ExecStart) >/tmp/nexus.log 2>&1 &
    server=$!
    for _ in $(seq 100); do
        if curl -sf http://127.0.0.1:8000/health >/dev/null; then
            return
        fi
        kill -0 "$server" 2>/dev/null || fail "it ended: $(cat /tmp/nexus.log)"
        sleep 0.2
    done
    fail "no answer: $(cat /tmp/nexus.log)"
}

apt-get update -qq
apt-get install -y -qq --no-install-recommends curl "$package" >/tmp/install.log
grep -q 'nexus models pull' /tmp/install.log || fail "it does not say what to do next"
nexus --version
[ "$(stat -c '%U %a' /var/lib/nexus)" = 'nexus 750' ] || fail "the data folder is not that of nexus alone"
test -s /usr/share/man/man1/nexus.1.gz
NEXUS_CONFIG=/etc/nexus/nexus.yaml nexus check >/tmp/check.log || true
grep -q 'lib/nexus/libonnxruntime.so.1' /tmp/check.log || fail "the runtime is not found: $(cat /tmp/check.log)"

install -o nexus -g nexus -m 644 "$model" /var/lib/nexus/models/yolov8n.onnx
start
curl -s http://127.0.0.1:8000/health/ready
echo
curl -sf http://127.0.0.1:8000/ | grep -q '<title>' || fail "there is no page"
# the same version again, over a server that runs
echo '# kept' >>/etc/nexus/nexus.yaml
apt-get install -y -qq --reinstall "$package" >/dev/null
grep -q '# kept' /etc/nexus/nexus.yaml || fail "the configuration was overwritten"
kill -TERM "$server"
wait "$server" || fail "it ended with $?: $(cat /tmp/nexus.log)"

apt-get purge -y -qq nexus >/dev/null
for left in /usr/bin/nexus /usr/lib/nexus /etc/nexus /var/lib/nexus /lib/systemd/system/nexus.service; do
    [ ! -e "$left" ] || fail "$left is left"
done
! getent passwd nexus >/dev/null || fail "the user is left"
echo "installed, started, updated and purged"
