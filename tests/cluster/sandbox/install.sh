#!/usr/bin/env bash
# Install from Debian what the tests marked "cluster" and "browser" need: SLURM, network namespaces, containers, a compiler,
# Chromium. As root.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # no daemon is started
missing=()
for package in slurmctld slurmd slurm-client munge iproute2 iptables podman runc debootstrap netavark aardvark-dns \
    catatonit golang-github-containers-common gcc libc6-dev chromium; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
apt=(apt-get -qq -o APT::Sandbox::User=root) # also where other users may not write to the folder for temporary files
"${apt[@]}" update
"${apt[@]}" install --yes --no-install-recommends "${missing[@]}" >/dev/null
