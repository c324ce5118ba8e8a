#!/bin/bash
# A SLURM cluster of this one machine, without accounting, from Debian's packages; needs root.
#   tests/slurm_node.sh start FOLDER   installs what is missing, starts munged, slurmctld and slurmd, all files in FOLDER
#   tests/slurm_node.sh stop FOLDER    ends them
# Clients find it by SLURM_CONF=FOLDER/slurm.conf, and PATH=FOLDER/bin:$PATH for jobs that start further steps, which lose
# SLURM_CONF. Nothing of an installed cluster's configuration is read or changed.
set -euo pipefail
action=$1
folder=$2
export SLURM_CONF=$folder/slurm.conf

stop() {
    for daemon in slurmd slurmctld munged; do
        [ -s "$folder/$daemon.pid" ] && kill "$(cat "$folder/$daemon.pid")" 2>/dev/null || true
    done
}

if [ "$action" = stop ]; then
    scancel --state=RUNNING --state=PENDING 2>/dev/null || true
    stop
    exit
fi

if [ "$(id -u)" != 0 ]; then
    echo "A SLURM node runs jobs as other users, so it has to be started by root." >&2
    exit 1
fi
if ! command -v slurmctld slurmd munged >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurm-wlm munge >/dev/null
fi

mkdir -p "$folder"/{bin,state,spool}
printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$SLURM_CONF" "$(command -v srun)" >"$folder/bin/srun"
chmod +x "$folder/bin/srun"
chmod 755 "$folder"
dd if=/dev/urandom of="$folder/munge.key" bs=128 count=8 status=none
chmod 400 "$folder/munge.key"

# A free pair of ports, so that two of these, or a real one, can run side by side.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1] // 2 * 2)')
cat >"$SLURM_CONF" <<CONF
ClusterName=trainoff
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
# No control groups: a container seldom has them. Memory is watched and enforced by SLURM's own sampling instead.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
MpiDefault=none
MinJobAge=600
KillWait=5
ReturnToService=2
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(free -m | awk '/^Mem/ {print int($2 * 0.9)}') State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF

trap stop ERR
munged --force --socket "$folder/munge.socket" --key-file "$folder/munge.key" --pid-file "$folder/munged.pid" \
    --log-file "$folder/munged.log" --seed-file "$folder/munge.seed"
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF"
for _ in $(seq 60); do
    if [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; then
        exit
    fi
    sleep 0.5
done
echo "The node did not become idle; see the logs in $folder." >&2
tail -n 5 "$folder"/slurm*.log >&2
stop
exit 1
