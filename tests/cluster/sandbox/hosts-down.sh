#!/usr/bin/env bash
# Remove the hosts that hosts-up.sh made; the processes on them are to be ended before.
#   hosts-down.sh PREFIX HOST...
set -uo pipefail
prefix=$1
shift
for host in "$@" switch; do
    ip netns del "$prefix-$host" 2>/dev/null
    rm -rf "/etc/netns/${prefix:?}-$host"
done
rmdir /etc/netns 2>/dev/null
true
