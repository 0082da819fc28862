#!/usr/bin/env bash
# kubeconfig.sh ACCOUNT: prints a kubeconfig with a token of the ServiceAccount
# in kube-system, good for a day.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")"/env.sh

token=$(kubectl -n kube-system create token "$1" --duration=24h)
cat <<END
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "https://$APISERVER_ADDRESS:$APISERVER_PORT", certificate-authority: "$CLUSTER_DIR/pki/ca.crt"}}]
users: [{name: user, user: {token: "$token"}}]
contexts: [{name: context, context: {cluster: cluster, user: user}}]
current-context: context
END
