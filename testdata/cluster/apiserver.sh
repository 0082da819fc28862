#!/usr/bin/env bash
# apiserver.sh start|stop: kube-apiserver alone, so that a test can restart it
# under a running cluster and cut every watch.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")"/env.sh

case ${1:-} in
start)
	pki=$CLUSTER_DIR/pki
	# There is no address but 127.0.0.1 to publish in the Endpoints of the
	# Service kubernetes, and that one is refused: hence no endpoint reconciler.
	# Without the request header CA the controller manager logs errors.
	start kube-apiserver kube-apiserver \
		--bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$APISERVER_PORT" \
		--endpoint-reconciler-type=none \
		--etcd-servers="http://127.0.0.1:$ETCD_PORT" \
		--cert-dir="$CLUSTER_DIR/apiserver" \
		--tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
		--client-ca-file="$pki/ca.crt" \
		--requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local \
		--service-account-signing-key-file="$pki/sa.key" --service-account-key-file="$pki/sa.pub" \
		--authorization-mode=Node,RBAC \
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
