#!/bin/sh
# Boots systemd in a container over this machine's own file system (what changes there is kept in memory and
# thrown away), installs rille's service there and tries it: ready, reloaded, killed, hanging, stopped.
# Opt-in: it needs root, Debian's package systemd-container, two minutes, and rille in /opt/rille as
# docs/guides/raspberry-pi.md installs it (or another interpreter that a service can see, in PYTHON).
#
#   sudo tests/deploy/prove_service.sh
set -eu
python=${PYTHON:-/opt/rille/bin/python}
for tool in systemd-nspawn nsenter; do
    command -v $tool >/dev/null || {
        echo "service: SKIPPED, no $tool: apt-get install systemd-container" >&2
        exit 77
    }
done
"$python" -c 'import rille.service' 2>/dev/null || {
    echo "service: SKIPPED, $python has no rille: see docs/guides/raspberry-pi.md" >&2
    exit 77
}

work=$(mktemp -d)
nspawn=
finish() {
    [ -z "$nspawn" ] || { kill "$nspawn" && wait "$nspawn" || true; }
    umount "$work/all/root" "$work/all" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
mkdir "$work/all"
mount -t tmpfs tmpfs "$work/all"
mkdir "$work/all/up" "$work/all/work" "$work/all/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/all/up,workdir=$work/all/work" "$work/all/root"
root=$work/all/root

cat >"$work/flight.toml" <<'TOML'
[source]
uri = "sim://moon?view=rover&fps=2&frames=100000&size=320x240"
[budget]
frame_ms = 400.0
[segment]
bundle = "/var/lib/rille/bundles/segment"
[output]
folder = "/var/lib/rille/run"
jsonl = false
video = false
report = false
sinks = ["jsonl:///var/lib/rille/results.jsonl?max_mb=1&keep=2", "prometheus://127.0.0.1:9464"]
TOML
"$python" -m rille service install --prefix "$root" --config "$work/flight.toml" --python "$python" 2>/dev/null
# A watchdog and a pause that a test can wait for.
mkdir -p "$root/etc/systemd/system/rille.service.d"
printf '[Service]\nWatchdogSec=20\nRestartSec=1\n' >"$root/etc/systemd/system/rille.service.d/test.conf"
systemd-nspawn --quiet --register=no --keep-unit --private-network --console=pipe --link-journal=no \
    --directory="$root" --boot systemd.unit=basic.target >"$work/boot.log" 2>&1 </dev/null &
nspawn=$!

inside() { nsenter --target "$first" --mount --pid --net --uts --ipc --cgroup -- "$@"; }
# Tries a command once a second, for so many seconds.
within() {
    left=$1
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 1
    done
}
step() {
    echo "$1"
    shift
    "$@" || {
        echo "service: FAILED at this step" >&2
        inside journalctl --unit rille --no-pager --lines 30 >&2
        exit 1
    }
}
said() { inside journalctl --unit rille --no-pager | grep -q "$1"; }
main_pid() { inside systemctl show --property MainPID --value rille; }
frames() { inside "$python" -c "
import urllib.request
text = urllib.request.urlopen('http://127.0.0.1:9464/metrics', timeout=5).read().decode()
assert 'rille_frames_captured_total' in text"; }
as_rille() { inside runuser --user rille -- env --chdir=/var/lib/rille XDG_CACHE_HOME=/var/cache/rille "$python" -m rille "$@"; }

within 60 pgrep -P "$nspawn"
first=$(pgrep -P "$nspawn" | head -n 1)
within 60 inside systemctl is-active basic.target
inside systemd --version | head -n 1
step "the user is made" inside systemd-sysusers
inside install --directory --owner=rille --group=rille /var/lib/rille /var/cache/rille
step "a bundle is installed as that user" as_rille bundle install moon-rocks --into /var/lib/rille/bundles/segment
step "systemd is told READY within its limit" inside systemctl start rille
step "metrics are served" within 60 frames
step "a second bundle is installed beside it" as_rille bundle install moon-rocks --into /var/lib/rille/bundles/segment
step "reload reaches the run" inside systemctl reload rille
step "the run looked at the new bundle" within 60 said 'flies already'
step "a killed run" inside pkill -KILL -P "$(main_pid)"
step "is started again by its supervisor" within 60 said CHILD_RESTARTED
step "and serves again" within 60 frames
before=$(main_pid)
step "a supervisor that hangs" inside kill -STOP "$before"
step "is killed by the watchdog" within 90 said "result 'watchdog'"
step "and the service serves again" within 90 frames
[ "$(main_pid)" != "$before" ]
start=$(date +%s%N)
step "it stops" inside systemctl stop rille
echo "stopped in $((($(date +%s%N) - start) / 1000000)) ms"
step "with success" sh -c "test '$(inside systemctl show --property Result --value rille)' = success"
echo "service: every step went through"
