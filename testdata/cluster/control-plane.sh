#!/usr/bin/env bash
# Starts etcd and the control plane of a dual-stack Kubernetes, without nodes.
#
# The admin's kubeconfig is admin.kubeconfig in CLUSTER_DIR.
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

# Nobody renews the heartbeat of up.sh's node "manual", nor any while the API
# server is down: a node has a day to live.
start kube-controller-manager kube-controller-manager \
	--kubeconfig="$CLUSTER_DIR/controller-manager.kubeconfig" \
	--authentication-kubeconfig="$CLUSTER_DIR/controller-manager.kubeconfig" \
	--authorization-kubeconfig="$CLUSTER_DIR/controller-manager.kubeconfig" \
	--bind-address=127.0.0.1 --secure-port="$CONTROLLER_MANAGER_PORT" --cert-dir="$CLUSTER_DIR/controller-manager" \
	--leader-elect=false --use-service-account-credentials \
	--service-account-private-key-file="$CLUSTER_DIR/pki/sa.key" --root-ca-file="$CLUSTER_DIR/pki/ca.crt" \
	--service-cluster-ip-range="$SERVICE_CIDR" --allocate-node-cidrs --cluster-cidr="$POD_CIDR" \
	--node-cidr-mask-size-ipv4=20 --node-cidr-mask-size-ipv6=64 \
	--node-monitor-grace-period=24h \
	--flex-volume-plugin-dir="$CLUSTER_DIR/controller-manager/volume" \
	--kube-api-qps=1000 --kube-api-burst=2000 --concurrent-statefulset-syncs=20

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
