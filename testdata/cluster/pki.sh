#!/usr/bin/env bash
# pki.sh: creates the certificate authority, the API server's certificate, the key of
# ServiceAccount tokens, and a kubeconfig for each client with a certificate.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")"/env.sh
mkdir -p "$CLUSTER_DIR/pki"
cd "$CLUSTER_DIR/pki"

key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

# certificate NAME SUBJECT EXTENSIONS: creates NAME.key, and NAME.crt signed by the authority.
certificate() {
	openssl req "${key[@]}" -keyout "$1.key" -out "$1.csr" -subj "$2"
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" -extfile <(echo "$3")
}

# client NAME SUBJECT: creates NAME.kubeconfig in CLUSTER_DIR, with a new certificate.
client() {
	certificate "$1" "$2" extendedKeyUsage=clientAuth
	cat >"$CLUSTER_DIR/$1.kubeconfig" <<-END
		apiVersion: v1
		kind: Config
		clusters: [{name: cluster, cluster: {server: "https://$APISERVER_ADDRESS:$APISERVER_PORT", certificate-authority: "$PWD/ca.crt"}}]
		users: [{name: user, user: {client-certificate: "$PWD/$1.crt", client-key: "$PWD/$1.key"}}]
		contexts: [{name: context, context: {cluster: cluster, user: user}}]
		current-context: context
	END
}

{
	openssl req -x509 "${key[@]}" -keyout ca.key -out ca.crt -subj /CN=headless-cluster -days 30
	openssl genrsa -out sa.key 2048
	openssl rsa -in sa.key -pubout -out sa.pub
	certificate apiserver /CN=kube-apiserver "extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$APISERVER_ADDRESS,IP:$KUBERNETES_SERVICE"
	certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client extendedKeyUsage=clientAuth
	client admin /O=system:masters/CN=admin
	client controller-manager /CN=system:kube-controller-manager
	client scheduler /CN=system:kube-scheduler
	client kubelet /O=system:nodes/CN=system:node:node
	client kube-proxy /CN=system:kube-proxy
} 2>openssl.log || {
	cat openssl.log >&2
	exit 1
}
