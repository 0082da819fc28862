#!/usr/bin/env bash
# controller-manager.sh start|stop: starts or stops kube-controller-manager alone. One
# that loses its lease while the API server is down exits, and is restarted. Here it needs
# no lease, so a test restarts it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")"/env.sh

case ${1:-} in
start)
	# Nothing renews the heartbeat of the node "manual" of up.sh, nor any heartbeat while
	# the API server is down. So the controller waits a day before it evicts pods.
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
	;;
stop)
	stop kube-controller-manager
	;;
*)
	echo "usage: controller-manager.sh start|stop" >&2
	exit 2
	;;
esac
