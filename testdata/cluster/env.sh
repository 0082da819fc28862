# shellcheck shell=bash
# Sourced by the scripts beside it: where a cluster lives, on which ports it
# listens, and how its programs are started and ended. Everything that a cluster
# writes is below CLUSTER_DIR, and everything listens on 127.0.0.1 only; but that
# of isolated.sh has a file system and a network of its own.

: "${CLUSTER_DIR:?is the directory of the cluster, made by up.sh and removed by down.sh}"
CLUSTER_BIN=${CLUSTER_BIN:-$("$(dirname "${BASH_SOURCE[0]}")"/build.sh)}
export CLUSTER_DIR CLUSTER_BIN
export PATH=$CLUSTER_BIN:$PATH
export KUBECONFIG=$CLUSTER_DIR/admin.kubeconfig
export KUBECACHEDIR=$CLUSTER_DIR/kubectl

ETCD_PORT=${ETCD_PORT:-22379}
ETCD_PEER_PORT=${ETCD_PEER_PORT:-22380}
APISERVER_ADDRESS=${APISERVER_ADDRESS:-127.0.0.1}
APISERVER_PORT=${APISERVER_PORT:-26443}
CONTROLLER_MANAGER_PORT=${CONTROLLER_MANAGER_PORT:-20257}
SCHEDULER_PORT=${SCHEDULER_PORT:-20259}
KWOK_PORT=${KWOK_PORT:-20247}

SERVICE_CIDR=${SERVICE_CIDR:-10.96.0.0/16,fd00:96::/112}
KUBERNETES_SERVICE=${KUBERNETES_SERVICE:-10.96.0.1} # the first address of SERVICE_CIDR
POD_CIDR=${POD_CIDR:-10.200.0.0/14,fd00:200::/48}

# start NAME COMMAND...: runs the command apart from this shell, its output in
# log/NAME and its process in pids/NAME.
start() {
	local name=$1
	shift
	setsid "$@" >>"$CLUSTER_DIR/log/$name" 2>&1 </dev/null &
	echo $! >"$CLUSTER_DIR/pids/$name"
}

# running NAME: whether the process of pids/NAME still is one of this cluster.
# The number alone could belong to another program by now.
running() {
	local pid
	pid=$(cat "$CLUSTER_DIR/pids/$1" 2>/dev/null) &&
		tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qxF "CLUSTER_DIR=$CLUSTER_DIR"
}

# ended PID: whether the process holds nothing any more, its ports included. A
# container may have no init that would reap it, so a zombie will do, once its
# last thread is gone.
ended() {
	local tasks=(/proc/"$1"/task/*)
	[[ ! -e ${tasks[0]} ]] || { ((${#tasks[@]} == 1)) && grep -qs '^State:.Z' "${tasks[0]}/status"; }
}

# stop NAME [SIGNAL]: ends the process of pids/NAME and waits for its end, for
# ten seconds before it is killed.
stop() {
	local name=$1 signal=${2:-TERM} tries=100 pid
	if running "$name"; then
		pid=$(cat "$CLUSTER_DIR/pids/$name")
		kill -s "$signal" "$pid" 2>/dev/null || true
		until ended "$pid"; do
			if ((tries-- == 0)); then kill -s KILL "$pid" 2>/dev/null || true; fi
			sleep 0.1
		done
	fi
	rm -f "$CLUSTER_DIR/pids/$name"
}

# await NAME COMMAND...: polls until the command succeeds. It gives up after three
# minutes, as the machine may be busy, or when the program NAME has ended, and shows
# what the command printed last and the end of the log.
await() {
	local name=$1 deadline=$((SECONDS + 180)) output
	shift
	until output=$("$@" 2>&1); do
		if ((SECONDS > deadline)) || ! running "$name"; then
			echo "$name: gave up waiting for: $*: $output" >&2
			tail -n 20 "$CLUSTER_DIR/log/$name" >&2
			return 1
		fi
		sleep 0.1
	done
}
