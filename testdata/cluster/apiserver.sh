#!/usr/bin/env bash
# apiserver.sh start|stop: starts or stops kube-apiserver alone, so that a test can break
# every watch of a running cluster.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")"/env.sh

case ${1:-} in
start)
	pki=$CLUSTER_DIR/pki
	# The API server refuses 127.0.0.1 in the Endpoints of the Service kubernetes. Without
	# another address to publish, it runs without endpoint reconciler.
	reconciler=lease
	[[ $APISERVER_ADDRESS != 127.* ]] || reconciler=none
	# Without the request header CA the controller manager logs errors.
	start kube-apiserver kube-apiserver \
		--bind-address="$APISERVER_ADDRESS" --advertise-address="$APISERVER_ADDRESS" --secure-port="$APISERVER_PORT" \
		--endpoint-reconciler-type="$reconciler" \
		--etcd-servers="http://127.0.0.1:$ETCD_PORT" \
		--cert-dir="$CLUSTER_DIR/apiserver" \
		--tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
		--client-ca-file="$pki/ca.crt" \
		--requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local \
		--service-account-signing-key-file="$pki/sa.key" --service-account-key-file="$pki/sa.pub" \
		--authorization-mode=Node,RBAC \
		--kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
		--kubelet-preferred-address-types=InternalIP \
		--service-cluster-ip-range="$SERVICE_CIDR" \
		--max-requests-inflight=2000 --max-mutating-requests-inflight=1000
	await kube-apiserver kubectl get --raw /readyz
	;;
stop)
	stop kube-apiserver
	;;
*)
	echo "usage: apiserver.sh start|stop" >&2
	exit 2
	;;
esac
