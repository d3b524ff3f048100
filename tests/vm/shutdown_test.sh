#!/bin/bash
# The machine shuts down: the pods end in order, while berthd and the network are still there. In the
# machine of hack/vm-run, "run" starts pods and powers off; OUT is a directory that the host shares,
# where "check" judges what the pods have written.
# Usage: shutdown_test.sh run BIN_DIR DRIVER OUT; shutdown_test.sh check OUT
set -euo pipefail

run() {
  bin=$1 driver=$2 out=$3
  # shellcheck source=tests/vm/node.sh
  . "$(dirname "$0")/node.sh"
  # What stop-all says, and not that the machine ends as soon as this program does.
  mkdir -p /run/systemd/system/{vm-run,berth-stop-pods}.service.d
  printf '[Unit]\nSuccessAction=none\nFailureAction=none\n' >/run/systemd/system/vm-run.service.d/stay.conf
  printf '[Service]\nStandardOutput=append:%s/log\nStandardError=append:%s/log\n' "$out" "$out" \
    >/run/systemd/system/berth-stop-pods.service.d/log.conf
  systemctl daemon-reload
  systemctl start berthd berth-stop-pods
  berth pull "$image" >/dev/null
  start() { # NAME OPTIONS...: takes two seconds to end, then says so
    berth run -d --name "$1" "${@:2}" -v "$out:/out" "$image" \
      sh -c "trap 'sleep 2; echo $1 >>/out/order; exit 0' TERM; echo >/out/$1; sleep 1000 & wait"
    await 10 test -e "$out/$1" || fail "$1 does not run"
  }
  start agent --host-network
  start web
  systemctl poweroff --no-block
}

check() {
  local out=$1
  if [ "$(cat "$out/order")" != $'web\nagent' ]; then
    echo "FAILED: not in order:"
    cat "$out/order"
    exit 1
  fi
  grep -qx '2 of 2 pods stopped' "$out/log" || { cat "$out/log"; exit 1; }
  echo "ok: a shutdown stops the pods in order"
}

"$@"
