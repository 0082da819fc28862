#!/usr/bin/env bash
# up.sh [NODES]: starts a dual-stack Kubernetes: etcd, the control plane, and kwok. Kwok
# simulates the kubelets of the nodes kwok-0 … kwok-(NODES-1), by default two. Their pods
# get an address of each family and become ready at once. On one more node, "manual",
# nothing simulates a kubelet: a test writes the status of its pods.
#
# CLUSTER_STAGES may name a file with stages for kwok, which replace others of the same names.
#
# The admin's kubeconfig is admin.kubeconfig in CLUSTER_DIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./env.sh
nodes=${1:-2}
./control-plane.sh

# node NAME SPEC ANNOTATION CONDITION: prints the manifest of a node.
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

# kwok starts after its nodes have their pod CIDRs. Earlier it would assign addresses from
# --cidr, the same on every node.
{
	for ((i = 0; i < nodes; i++)); do
		node "kwok-$i" "" "kwok.x-k8s.io/node: fake" ""
	done
	node manual "unschedulable: true" "" '{type: Ready, status: "True", reason: Manual}'
} | kubectl apply -f - >/dev/null
await kube-controller-manager kubectl wait --for=jsonpath='{.spec.podCIDRs[1]}' node --all --timeout=5s

start kwok kwok --kubeconfig="$KUBECONFIG" --config="$CLUSTER_BIN/kwok-stages.yaml" --config="$PWD/pod-delete.yaml" \
	${CLUSTER_STAGES:+--config="$CLUSTER_STAGES"} \
	--manage-all-nodes=false --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake \
	--node-ip=10.77.1.1 --server-address="127.0.0.1:$KWOK_PORT"
await kwok kubectl wait --for=condition=Ready node --all --timeout=5s

kubectl apply -f rbac.yaml >/dev/null
