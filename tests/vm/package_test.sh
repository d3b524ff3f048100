#!/bin/bash
# Installs, uses, upgrades and purges the Debian package, on a machine with systemd of its own:
#   hack/vm-run -- tests/vm/package_test.sh OLD.deb NEW.deb
# The two are of hack/package, the second with --version.
set -euo pipefail
cd "$(dirname "$0")/../.."
old=$1 new=$2

fail() {
  echo "FAILED: $*" >&2
  journalctl -u berthd --no-pager -n 30 >&2 || true
  exit 1
}
step() { printf '== %s\n' "$*"; }
eventually() {  # eventually COMMAND...: within 20 s
  local i
  for i in {1..200}; do
    ! "$@" >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  fail "never true: $*"
}
is() { [[ $1 == "$2" ]] || fail "$3: \"$1\" instead of \"$2\""; }
# Process id of the container's first process.
pid_of() { berth inspect "$1" | grep -o "pid[^0-9a-z_]*[0-9]\+" | head -1 | tr -dc 0-9; }
start_registry() {
  cat >/scratch/registry.yml <<YAML
version: 0.1
storage: {filesystem: {rootdirectory: /scratch/registry}}
http: {addr: "127.0.0.1:5000"}
YAML
  docker-registry serve /scratch/registry.yml >/scratch/registry.log 2>&1 &
  eventually curl -fs http://127.0.0.1:5000/v2/
  hack/make-image 127.0.0.1:5000/test:1
}

# The guest's root is an overlay, in which another overlay cannot be.
mkdir -p /scratch/berth /var/lib/berth
mount --bind /scratch/berth /var/lib/berth
ip link set lo up
rm -f /var/lib/man-db/auto-update  # it would read all manuals of the machine
rm -f /usr/sbin/policy-rc.d  # a machine to build on may have one, against services

step install
dpkg -i "$old"
systemctl is-active berthd.service || fail "the service does not run"
systemctl is-enabled berthd.service berth-stop-pods.service
is "$(stat -c %a /run/berth /run/berth/berth.sock | tr '\n' ' ')" '711 660 ' 'modes'
berth version
berthd config check /etc/berth/config.toml
man -w berth berthd berth.toml berth-run >/dev/null
is "$(bash -c '. /usr/share/bash-completion/completions/berth && complete -p berth' | wc -l)" 1 completion

step 'a pod'
start_registry
berth pull 127.0.0.1:5000/test:1
container=$(berth run -d --name web --host-network 127.0.0.1:5000/test:1 sleep 100000)
pid=$(pid_of web)
[[ -n $pid && -d /proc/$pid ]] || fail "no process of the container: \"$pid\""
# Its cgroups are systemd's.
systemctl is-active "berth-$container.scope"

step check
berth check || fail 'the machine that runs a pod cannot be a node'

step 'kill -9, restart and reload leave it alone'
systemctl kill -s KILL berthd.service
eventually berth version
is "$(pid_of web)" "$pid" 'pid after kill -9'
systemctl restart berthd.service
systemctl reload berthd.service
is "$(berth exec web echo lives)" lives 'exec after the restart'
is "$(pid_of web)" "$pid" 'pid after the restart'

step upgrade
echo 'log_level = 0' >>/etc/berth/conf.d/10-mine.toml
dpkg -i "$new"
eventually berth version
is "$(dpkg-query -W -f '${Version}' berth)" "$(dpkg-deb -f "$new" Version)" version
is "$(pid_of web)" "$pid" 'pid after the upgrade'
is "$(berth exec web echo lives)" lives 'exec after the upgrade'

step 'the stop of pods at a shutdown, in its sandbox'
mkdir -p /run/systemd/system/berth-stop-pods.service.d
printf '[Unit]\nRefuseManualStop=no\n' >/run/systemd/system/berth-stop-pods.service.d/manual.conf
systemctl daemon-reload
systemctl stop berth-stop-pods.service
is "$(systemctl show -P Result berth-stop-pods.service)" success 'result of the stop'
[[ ! -d /proc/$pid ]] || fail 'berth-stop-pods.service did not stop the pod'
systemctl start berth-stop-pods.service
# Of 100; whoever takes protection away from it has to say so here.
systemd-analyze security --no-pager --threshold=20 berth-stop-pods.service >/scratch/exposure ||
  fail "$(tail -n 1 /scratch/exposure)"
berth run -d --name again --host-network 127.0.0.1:5000/test:1 sleep 100000 >/dev/null
pid=$(pid_of again)
[[ -n $pid && -d /proc/$pid ]] || fail "no process of the second container: \"$pid\""

step 'remove, install again'
dpkg -r berth
[[ ! -d /proc/$pid ]] || fail 'the container runs without a daemon'
[[ -e /etc/berth/config.toml ]] || fail 'the configuration went with the package'
dpkg -i "$new"
eventually berth version
berth images | grep -q 127.0.0.1:5000/test || fail 'the images went with the package'

step purge
dpkg -P berth
umount /var/lib/berth 2>/dev/null || true
rmdir /var/lib/berth 2>/dev/null || true
for left in /etc/berth /var/lib/berth /run/berth /usr/libexec/berth /lib/systemd/system/berthd.service \
  /etc/systemd/system/multi-user.target.wants/berthd.service /etc/apparmor.d/berth-default; do
  [[ ! -e $left ]] || fail "purge left $left: $(find "$left" | head -5)"
done
[[ -z $(ls -A /scratch/berth) ]] || fail "purge left of the store: $(find /scratch/berth | head -5)"
! pgrep -f 'berth(d|-shim|-unpack)' >/dev/null || fail "purge left $(pgrep -af 'berth(d|-shim|-unpack)')"
! grep berth /proc/self/mountinfo || fail 'purge left mounts'
[[ -z $(find /sys/fs/cgroup -name '*berth*' ! -path '*vm-run*') ]] ||
  fail "purge left cgroups: $(find /sys/fs/cgroup -name '*berth*')"
echo 'all well'
