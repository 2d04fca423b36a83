#!/usr/bin/env bash
# Removes what podman-up.sh made in SANDBOX, and nothing else: containers, networks, volumes, its two processes (by
# their ids, if they still are what was started), its namespace, and its folder with the images.
set -uo pipefail
SANDBOX=${SANDBOX:?the folder that podman-up.sh made}
[ -f "$SANDBOX/env.sh" ] || { echo "podman-down: nothing in $SANDBOX" >&2; exit 0; }
. "$SANDBOX/env.sh"
NAMESPACE=$(basename "$SANDBOX")

end() { # a process, if the pid file still names one of ours
    local pid; pid=$(cat "$1" 2>/dev/null) && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$SANDBOX/" && kill "$pid"
}
end "$SANDBOX/health.pid"
for _ in 1 2 3; do # what others depend on can only go after them
    ids=$(pod ps --all --quiet); [ -z "$ids" ] && break
    pod rm --force --time 1 $ids >/dev/null 2>&1
done
pod network prune --force >/dev/null 2>&1
pod volume prune --force >/dev/null 2>&1
end "$SANDBOX/service.pid"
for pid in $(ip netns pids "$NAMESPACE" 2>/dev/null); do kill "$pid" 2>/dev/null; done # the network's name server
ip netns del "$NAMESPACE" 2>/dev/null
umount "$SANDBOX/graph/overlay" 2>/dev/null
rm -rf "$SANDBOX"
