#!/usr/bin/env bash
# Containers on a Debian machine with no Docker engine, no systemd and no image registry: rootful podman and runc in a
# network namespace of their own (the machine's own network and iptables stay as they are), a base image made by
# debootstrap, and podman's Docker-compatible socket for a real `docker-compose`. Run as root; a second run only starts
# what is missing; podman-down.sh removes it all.
#   SANDBOX    folder of all state [a new one in the temporary folder; its path must be short: sockets lie in it]
#   BASE_TAR   where the base image's files are kept, and found the next time [in SANDBOX]
# The last line of output is the path of a file to source: DOCKER_HOST, and pod(), which is podman in the sandbox.
set -euo pipefail
SANDBOX=${SANDBOX:-$(mktemp -d /tmp/biasvar-XXXXXX)}
BASE_TAR=${BASE_TAR:-$SANDBOX/base.tar}
NAMESPACE=$(basename "$SANDBOX")
IMAGE=localhost/debian:bookworm

say() { echo "podman-up: $*" >&2; }
[ "$(id -u)" = 0 ] || { say "must run as root"; exit 1; }
for tool in podman runc debootstrap iptables ip nsenter \
    /usr/lib/podman/netavark /usr/lib/podman/aardvark-dns /usr/libexec/podman/catatonit; do
    command -v "$tool" >/dev/null || {
        say "$tool is missing: apt-get install podman runc debootstrap iptables iproute2 netavark aardvark-dns catatonit"
        exit 1
    }
done

mkdir -p "$SANDBOX"
cat >"$SANDBOX/storage.conf" <<CONF
[storage]
driver = "overlay"
runroot = "$SANDBOX/run"
graphroot = "$SANDBOX/graph"
CONF
# The limits: without CAP_SYS_RESOURCE the runtime may not raise them to podman's defaults.
cat >"$SANDBOX/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[network]
network_backend = "netavark"
network_config_dir = "$SANDBOX/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "$SANDBOX/tmp"
CONF
# nsenter, not "ip netns exec": that one hides /sys/fs/cgroup, which the runtime needs.
cat >"$SANDBOX/env.sh" <<ENV
export SANDBOX=$SANDBOX CONTAINERS_STORAGE_CONF=$SANDBOX/storage.conf CONTAINERS_CONF=$SANDBOX/containers.conf
export DOCKER_HOST=unix://$SANDBOX/podman.sock
pod() { nsenter --net=/run/netns/$NAMESPACE podman "\$@"; }
ENV
. "$SANDBOX/env.sh"

ip netns list | awk '{print $1}' | grep -qx "$NAMESPACE" || ip netns add "$NAMESPACE"
ip -n "$NAMESPACE" link set lo up

if ! pod image exists "$IMAGE"; then
    if [ ! -s "$BASE_TAR" ]; then
        mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -n 1)}
        debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$SANDBOX/root" "$mirror" \
            >"$SANDBOX/debootstrap.log" 2>&1 || { tail "$SANDBOX/debootstrap.log" >&2; exit 1; }
        tar -C "$SANDBOX/root" -cf "$BASE_TAR.$$" . && mv "$BASE_TAR.$$" "$BASE_TAR"
        rm -rf "$SANDBOX/root"
    fi
    pod import "$BASE_TAR" "$IMAGE" >"$SANDBOX/import.log" 2>&1 || { cat "$SANDBOX/import.log" >&2; exit 1; }
fi

runs() { [ -s "$1" ] && tr '\0' ' ' <"/proc/$(cat "$1")/cmdline" 2>/dev/null | grep -qF -- "$SANDBOX/"; }
if ! runs "$SANDBOX/service.pid"; then
    nsenter --net="/run/netns/$NAMESPACE" setsid podman system service --time=0 "$DOCKER_HOST" >"$SANDBOX/service.log" 2>&1 </dev/null &
    echo $! >"$SANDBOX/service.pid"
fi
# Without systemd podman has no timers: this loop runs the health checks.
if ! runs "$SANDBOX/health.pid"; then
    setsid bash -c ". $SANDBOX/env.sh; while kill -0 \$(cat $SANDBOX/service.pid); do
        for id in \$(pod ps --quiet --filter health=starting --filter health=unhealthy); do pod healthcheck run \$id; done; sleep 2; done" \
        >/dev/null 2>&1 </dev/null &
    echo $! >"$SANDBOX/health.pid"
fi
for _ in $(seq 100); do [ -S "$SANDBOX/podman.sock" ] && break; sleep 0.1; done
[ -S "$SANDBOX/podman.sock" ] || { say "the service does not come up:"; cat "$SANDBOX/service.log" >&2; exit 1; }
echo "$SANDBOX/env.sh"
