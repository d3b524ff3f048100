# shellcheck shell=bash
# Sourced by the tests that run in the machine of hack/vm-run: functions, and a node with berthd's
# units installed and not started, a network, a registry and an image in it. Needs $bin and $driver.
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
socket=/run/berth/berth.sock
export BERTH_ADDRESS=unix://$socket

fail() {
  echo "FAILED: $*"
  journalctl -b -u berthd --no-pager -o cat | tail -n 30
  exit 1
}
ok() { echo "ok $driver: $*"; }
await() { # SECONDS COMMAND...: until it succeeds
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.1
  done
}
main_pid() { systemctl show -P MainPID berthd; }

# ---------------------------------------------------------------- a node

install -m 755 "$bin"/berthd "$bin"/berth /usr/bin/
install -D -m 755 -t /usr/libexec/berth "$bin"/berth-shim "$bin"/berth-unpack
install -m 644 "$repository"/config/berthd.service "$repository"/config/berth-stop-pods.service \
  /etc/systemd/system/
for slice in berth berth- kubepods kubepods-; do
  install -D -m 644 "$repository/config/pods-slice.conf" "/etc/systemd/system/$slice.slice.d/10-berth.conf"
done
mkdir -p /etc/berth/conf.d /scratch/berth /scratch/registry
cat >/etc/berth/config.toml <<EOT
root = "/scratch/berth"
[cni]
conf_dir = "/scratch/cni"
[cgroup]
driver = "$driver"
EOT
mkdir -p /scratch/cni
cat >/scratch/cni/10-test.conflist <<'EOT'
{"cniVersion": "1.0.0", "name": "test", "plugins": [{"type": "bridge", "bridge": "vmtest0",
 "isGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/16"}]]}}]}
EOT
cat >/scratch/registry.yml <<'EOT'
version: 0.1
storage: {filesystem: {rootdirectory: /scratch/registry}}
http: {addr: "127.0.0.1:5000"}
EOT
ip link set lo up
docker-registry serve /scratch/registry.yml >/scratch/registry.log 2>&1 &
await 30 curl -fs http://127.0.0.1:5000/v2/ -o /dev/null || fail "no registry"
"$repository"/hack/make-image 127.0.0.1:5000/busybox:1 || fail "no image"
image=127.0.0.1:5000/busybox:1
systemctl daemon-reload
