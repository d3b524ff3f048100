#!/bin/bash
# berthd as a unit of a real systemd: runs in the machine that hack/vm-run makes, once for each
# cgroup driver. Prints "ok NAME" for each case; the first that fails ends it.
# Usage: unit_test.sh BIN_DIR DRIVER
set -euo pipefail
bin=$1 driver=$2
# shellcheck source=tests/vm/node.sh
. "$(dirname "$0")/node.sh"

for unit in berthd berth-stop-pods; do
  systemd-analyze verify --man=no "/etc/systemd/system/$unit.service" 2>&1 | grep -F "$unit" && fail "unit $unit"
done
systemctl enable berthd 2>/dev/null
[ -L /etc/systemd/system/multi-user.target.wants/berth-stop-pods.service ] || fail "not enabled along"
ok "the units are well formed"

# ---------------------------------------------------------------- start

systemctl start berthd berth-stop-pods
# Ready means that the socket is there: no waiting here.
berth version >/dev/null || fail "not served when ready"
[ "$(systemctl show -P StatusText berthd)" = "serves $socket" ] || fail "status text"
[ "$(systemctl show -P LimitNOFILE berthd)" = 1048576 ] || fail "LimitNOFILE"
[ "$(cat /proc/"$(main_pid)"/oom_score_adj)" = -999 ] || fail "oom_score_adj"
ok "ready when it serves"

berth pull "$image" >/dev/null
berth run -d --name main "$image" sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done'
# The container's first process, on the host.
pod_pid() { berth inspect main | grep -oE '\\?"pid\\?": ?[0-9]+' | grep -oE '[0-9]+' | head -n 1; }
pid=$(pod_pid)
shim=$(awk '{print $4}' "/proc/$pid/stat")
[ "$(cat "/proc/$shim/comm")" = berth-shim ] || fail "the parent is no shim"
[ "$(cat "/proc/$shim/oom_score_adj")" = -999 ] || fail "the shim's oom_score_adj"

alive() {
  [ "$(pod_pid)" = "$pid" ] && [ -d "/proc/$shim" ] && [ "$(cat "/proc/$shim/comm")" = berth-shim ] &&
    berth exec main true
}

# ---------------------------------------------------------------- the daemon comes and goes

before=$(main_pid)
systemctl restart berthd
[ "$(main_pid)" != "$before" ] || fail "no restart"
alive || fail "a restart has touched the container"
ok "a restart leaves containers alone"

before=$(main_pid)
kill -9 "$before"
restarted() { [ "$(main_pid)" != "$before" ] && [ "$(systemctl is-active berthd)" = active ]; }
await 20 restarted || fail "not restarted after kill -9"
alive || fail "kill -9 has touched the container"
ok "kill -9 leaves containers alone"

# The package's files are replaced under the running daemon and shims.
old=$(stat -c %i /usr/libexec/berth/berth-shim)
for program in /usr/bin/berthd /usr/libexec/berth/berth-shim; do
  cp "$program" "$program.new"
  mv "$program.new" "$program"
done
[ "$(stat -c %i /usr/libexec/berth/berth-shim)" != "$old" ] || fail "not replaced"
berth run -d --name between "$image" sleep 1000 || fail "no start between replacement and restart"
systemctl restart berthd
alive || fail "the upgrade has touched the container"
berth run -d --name after "$image" sleep 1000 || fail "no start after the upgrade"
berth rm -f between after
ok "an upgrade in place"

# ---------------------------------------------------------------- reload

echo 'image.pinned = ["'$image'"]' >/etc/berth/conf.d/10-pin.toml
before=$(main_pid)
systemctl reload berthd || fail "reload"
logged() { journalctl -b -u berthd --no-pager -o cat | grep -qF -- "$1"; }
await 10 logged 'reload: image.pinned: [] -> ["'$image'"]' || fail "the change is not logged"
echo 'listen = "/run/other.sock"' >/etc/berth/conf.d/20-listen.toml
systemctl reload berthd
await 10 logged 'needs a restart of berthd' || fail "what needs a restart is not told"
echo 'no_such_key = 1' >/etc/berth/conf.d/20-listen.toml
systemctl reload berthd 2>/dev/null && fail "a wrong file reloads"
rm /etc/berth/conf.d/20-listen.toml
[ "$(main_pid)" = "$before" ] || fail "a reload has restarted the daemon"
systemctl reload berthd && alive || fail "reload"
ok "reload"

# ---------------------------------------------------------------- the watchdog

mkdir -p /etc/systemd/system/berthd.service.d
printf '[Service]\nWatchdogSec=3\n' >/etc/systemd/system/berthd.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart berthd
sleep 7
[ "$(systemctl show -P NRestarts berthd)" = 0 ] || fail "a daemon that works was killed"
before=$(main_pid)
kill -STOP "$before"
await 30 restarted || fail "a daemon that hangs was not replaced"
systemctl status berthd --no-pager | head -n 3
alive || fail "the watchdog has touched the container"
rm /etc/systemd/system/berthd.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart berthd
ok "the watchdog replaces a daemon that hangs"

# ---------------------------------------------------------------- memory

# The kernel kills in the daemon's cgroup; a shim must not be there.
cgroup_of() { sed -n 's/^0:://p' "/proc/$1/cgroup"; }
case $(cgroup_of "$shim") in
  *berthd.service*) fail "the shim is in the daemon's cgroup: $(cgroup_of "$shim")" ;;
esac
printf '[Service]\nMemoryMax=4M\nMemorySwapMax=0\n' >/etc/systemd/system/berthd.service.d/memory.conf
before=$(main_pid)
systemctl daemon-reload
killed() { logged 'oom-kill' || logged 'killed by the OOM killer' || [ "$(main_pid)" != "$before" ]; }
await 20 killed || echo "the daemon lives within 4 MiB"
[ -d "/proc/$shim" ] && [ -d "/proc/$pid" ] || fail "the daemon's limit has hit the container"
rm -r /etc/systemd/system/berthd.service.d
systemctl daemon-reload
systemctl reset-failed berthd || true
systemctl restart berthd
alive || fail "the daemon's limit has hit the container"
ok "the daemon's memory limit does not reach containers"

berth rm -f main
