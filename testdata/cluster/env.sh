# shellcheck shell=bash
# Sourced by the other scripts: the folder and the ports of a cluster, and functions that
# start and stop its programs. A cluster writes below CLUSTER_DIR only, and listens on
# 127.0.0.1 only. The cluster of isolated.sh has a file system and a network of its own.

: "${CLUSTER_DIR:?must name the folder of the cluster, which up.sh creates and down.sh removes}"
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

# start NAME COMMAND...: starts the command in a session of its own, with its output in
# log/NAME and its process id in pids/NAME.
start() {
	local name=$1
	shift
	setsid "$@" >>"$CLUSTER_DIR/log/$name" 2>&1 </dev/null &
	echo $! >"$CLUSTER_DIR/pids/$name"
}

# running NAME: succeeds if the process in pids/NAME is still one of this cluster. Another
# program may have its id by now.
running() {
	local pid
	pid=$(cat "$CLUSTER_DIR/pids/$1" 2>/dev/null) &&
		tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qxF "CLUSTER_DIR=$CLUSTER_DIR"
}

# ended PID: succeeds if the process has released everything, its ports included. In a
# container without init nobody may reap it, so a zombie without other threads has ended.
ended() {
	local tasks=(/proc/"$1"/task/*)
	[[ ! -e ${tasks[0]} ]] || { ((${#tasks[@]} == 1)) && grep -qs '^State:.Z' "${tasks[0]}/status"; }
}

# stop NAME [SIGNAL]: sends SIGTERM or the signal to the process in pids/NAME and waits
# for its end. It kills the process after ten seconds.
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

# await NAME COMMAND...: polls until the command succeeds. It gives up when the program
# NAME has ended, or after three minutes, as the machine may be busy. Then it prints the
# command's last output and the end of the program's log.
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
