#!/usr/bin/env bash
# A real SLURM on one machine: munged, slurmctld and several slurmd ("nodes" n1, n2, ...), on loopback, as root,
# without systemd, cgroups or a database. All that it writes is in the folder given; slurm-down.sh ends it.
#   slurm-up.sh FOLDER PORT     slurmctld listens on PORT, node i on PORT + i; then: export SLURM_CONF=FOLDER/slurm.conf
# Partition `urgent` preempts partition `normal`, whose jobs are requeued.
set -euo pipefail
folder=$1 port=$2
nodes=${SLURM_NODES:-2}
host=$(hostname -s) # slurmctld refuses a name that is not this machine's

# The daemons listen on what the host's name resolves to; where that is not loopback, they have to listen everywhere.
case $(getent ahostsv4 "$host" | awk 'NR == 1 {print $1}') in
127.0.0.1) listen=CommunicationParameters=NoCtldInAddrAny,NoInAddrAny ;;
*) listen= ;;
esac

umask 022
mkdir -p "$folder"/{state,log,run,munge}
for i in $(seq "$nodes"); do mkdir -p "$folder/spool/n$i"; done
(umask 077 && head -c 128 /dev/urandom >"$folder/munge/munge.key")

# CPUs and memory of the nodes are on paper. Without cgroup.conf slurmd looks for cgroups, which nothing here uses.
cat >"$folder/slurm.conf" <<CONF
ClusterName=sandbox
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/munge.sock
CredType=cred/munge
$listen
SlurmctldPort=$port
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/jobcomp.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
KillWait=120
SlurmdTimeout=120
MinJobAge=600
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=2,sched_min_interval=100000
$(for i in $(seq "$nodes"); do
    echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=2 RealMemory=4096 State=UNKNOWN"
done)
PartitionName=normal Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 DefMemPerCPU=256 PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL MaxTime=INFINITE DefaultTime=60 DefMemPerCPU=256 PriorityTier=10 PreemptMode=OFF State=UP
CONF
echo CgroupPlugin=cgroup/v1 >"$folder/cgroup.conf"
export SLURM_CONF=$folder/slurm.conf

fail() {
    echo "slurm-up: $1" >&2
    tail -n 5 "$folder"/log/*.log "$folder"/munge/*.log >&2
    exit 1
}
# Try a command ten times a second, for so many seconds.
try() {
    local seconds=$1
    shift
    for _ in $(seq $((10 * seconds))); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    return 1
}
munge_answers() { munge -S "$folder/munge/munge.sock" -n; }
controller_answers() { scontrol ping | grep -q 'is UP'; }
nodes_are_up() { [ "$(sinfo -h -p normal -N -o %t | grep -cE '^(idle|mix|alloc)$')" = "$nodes" ]; }

munged --socket="$folder/munge/munge.sock" --key-file="$folder/munge/munge.key" --log-file="$folder/munge/munged.log" \
    --pid-file="$folder/munge/munged.pid" --seed-file="$folder/munge/munged.seed"
try 60 munge_answers || fail "munge does not answer"
slurmctld -f "$SLURM_CONF"
try 60 controller_answers || fail "slurmctld does not answer"
for i in $(seq "$nodes"); do slurmd -f "$SLURM_CONF" -N "n$i"; done
try 60 nodes_are_up || fail "not all of $nodes nodes came up"
