#!/usr/bin/env bash
# Several hosts on one Linux machine: a network namespace each, all plugged into a bridge that has a namespace of its
# own, so that the machine's own network stays as it is and no packet can leave. As root; hosts-down.sh removes them.
#   hosts-up.sh PREFIX HOST...          namespaces PREFIX-HOST, at 10.231.7.10, .11, ..., and PREFIX-switch
#   ip netns exec PREFIX-HOST command   a command on a host
#   ip netns exec PREFIX-switch bridge link set dev HOST state 0   cut its cable: packets vanish; state 3 mends it
set -euo pipefail
prefix=$1
shift
network=10.231.7
switch=$prefix-switch

ip netns add "$switch"
ip -n "$switch" link add switch type bridge forward_delay 0 stp_state 0
ip -n "$switch" link set lo up
ip -n "$switch" link set switch up

names="127.0.0.1 localhost"
number=10
for host in "$@"; do
    names+=$'\n'"$network.$number $host"
    number=$((number + 1))
done

number=10
for host in "$@"; do
    name=$prefix-$host
    ip netns add "$name"
    ip -n "$switch" link add "$host" type veth peer name eth0 netns "$name"
    ip -n "$switch" link set "$host" master switch
    ip -n "$switch" link set "$host" up
    ip -n "$name" addr add "$network.$number/24" dev eth0
    ip -n "$name" link set eth0 up
    ip -n "$name" link set lo up
    # What `ip netns exec` puts over the files in /etc: the machine's own name is this host, and no DNS to wait for.
    mkdir -p "/etc/netns/$name"
    printf '%s\n%s.%d %s\n' "$names" "$network" "$number" "$(hostname)" >"/etc/netns/$name/hosts"
    : >"/etc/netns/$name/resolv.conf"
    number=$((number + 1))
done
