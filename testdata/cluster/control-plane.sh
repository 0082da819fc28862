#!/usr/bin/env bash
# control-plane.sh: starts etcd and the control plane of a dual-stack Kubernetes, without
# nodes. The admin's kubeconfig is admin.kubeconfig in CLUSTER_DIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./env.sh

if [[ -d $CLUSTER_DIR/pids ]]; then
	echo "control-plane.sh: $CLUSTER_DIR has a cluster already" >&2
	exit 1
fi
mkdir -p "$CLUSTER_DIR"/{log,pids}
./pki.sh

./etcd.sh
./apiserver.sh start

./controller-manager.sh start
cat >"$CLUSTER_DIR/scheduler.yaml" <<END
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: false}
clientConnection: {kubeconfig: "$CLUSTER_DIR/scheduler.kubeconfig", qps: 1000, burst: 2000}
END
start kube-scheduler kube-scheduler --config="$CLUSTER_DIR/scheduler.yaml" \
	--authentication-kubeconfig="$CLUSTER_DIR/scheduler.kubeconfig" \
	--authorization-kubeconfig="$CLUSTER_DIR/scheduler.kubeconfig" \
	--bind-address=127.0.0.1 --secure-port="$SCHEDULER_PORT" --cert-dir="$CLUSTER_DIR/scheduler"
await kube-controller-manager kubectl get serviceaccount default
