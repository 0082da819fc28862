#!/usr/bin/env bash
# up.sh [NODES]: starts a dual-stack Kubernetes: etcd, the control plane, and
# kwok, which plays the kubelet of the nodes kwok-0 … kwok-(NODES-1), two unless
# told otherwise. Their pods get an address of each family and turn ready at
# once. Nothing looks after the pods of one more node, "manual": their status is
# what is written to it.
#
# The admin's kubeconfig is admin.kubeconfig in CLUSTER_DIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./env.sh
nodes=${1:-2}

if [[ -d $CLUSTER_DIR/pids ]]; then
	echo "up.sh: $CLUSTER_DIR has a cluster already" >&2
	exit 1
fi
mkdir -p "$CLUSTER_DIR"/{log,pids}
./pki.sh

etcd=http://127.0.0.1:$ETCD_PORT peer=http://127.0.0.1:$ETCD_PEER_PORT
start etcd etcd --data-dir="$CLUSTER_DIR/etcd" --unsafe-no-fsync \
	--listen-client-urls="$etcd" --advertise-client-urls="$etcd" \
	--listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="default=$peer" \
	--quota-backend-bytes=4000000000

./apiserver.sh start

# Nobody renews the heartbeat of the node "manual", so it has a day to live.
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

# node NAME SPEC ANNOTATION CONDITION
node() {
	cat <<-END
		---
		apiVersion: v1
		kind: Node
		metadata:
		  name: $1
		  annotations: {$3}
		  labels: {kubernetes.io/hostname: $1, kubernetes.io/os: linux, kubernetes.io/arch: amd64}
		spec: {$2}
		status:
		  allocatable: {cpu: "1000", memory: 1000Gi, pods: "1000"}
		  capacity: {cpu: "1000", memory: 1000Gi, pods: "1000"}
		  conditions: [$4]
	END
}

# kwok starts after its nodes have their pod CIDRs: before that it would take
# addresses from --cidr, the same for every node.
{
	for ((i = 0; i < nodes; i++)); do
		node "kwok-$i" "" "kwok.x-k8s.io/node: fake" ""
	done
	node manual "unschedulable: true" "" '{type: Ready, status: "True", reason: Manual}'
} | kubectl apply -f - >/dev/null
await kube-controller-manager kubectl wait --for=jsonpath='{.spec.podCIDRs[1]}' node --all --timeout=5s

start kwok kwok --kubeconfig="$KUBECONFIG" --config="$CLUSTER_BIN/kwok-stages.yaml" \
	--manage-all-nodes=false --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake \
	--node-ip=10.77.1.1 --server-address="127.0.0.1:$KWOK_PORT"
await kwok kubectl wait --for=condition=Ready node --all --timeout=5s
await kube-controller-manager kubectl get serviceaccount default

kubectl apply -f rbac.yaml >/dev/null
