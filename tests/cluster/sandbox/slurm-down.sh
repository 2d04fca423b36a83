#!/usr/bin/env bash
# End what slurm-up.sh started in FOLDER, and nothing else: its jobs, then its daemons by their pid files.
#   slurm-down.sh FOLDER
set -uo pipefail
folder=$1
export SLURM_CONF=$folder/slurm.conf

cancel_jobs() {
    local jobs
    jobs=$(timeout 10 squeue -h -o %A | sort -u)
    [ -z "$jobs" ] && return
    # shellcheck disable=SC2086  # one word a job
    scancel --signal=KILL --full $jobs 2>/dev/null
    # shellcheck disable=SC2086
    scancel $jobs
    for _ in $(seq 300); do
        [ -z "$(squeue -h -o %A)" ] && return
        sleep 0.1
    done
}
# Print the process of a pid file, if it is still the one that was started here.
ours() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$folder/" && echo "$pid"
}
# Send TERM, and KILL to what is still there after ten seconds.
stop() {
    local pid
    for file in "$@"; do
        pid=$(ours "$file") && kill -TERM "$pid"
    done
    for file in "$@"; do
        for _ in $(seq 100); do
            ours "$file" >/dev/null || break
            sleep 0.1
        done
        pid=$(ours "$file") && kill -KILL "$pid"
    done
}
cancel_jobs
stop "$folder"/run/slurmd.*.pid "$folder/run/slurmctld.pid"
stop "$folder/munge/munged.pid" # which they need to the end
exit 0
