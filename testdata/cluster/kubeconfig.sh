#!/usr/bin/env bash
# kubeconfig.sh ACCOUNT: prints a kubeconfig of a ServiceAccount in kube-system. It writes
# the token, which is valid for a day, to ACCOUNT.token in CLUSTER_DIR.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")"/env.sh

kubectl -n kube-system create token "$1" --duration=24h >"$CLUSTER_DIR/$1.token"
cat <<END
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "https://$APISERVER_ADDRESS:$APISERVER_PORT", certificate-authority: "$CLUSTER_DIR/pki/ca.crt"}}]
users: [{name: user, user: {tokenFile: "$CLUSTER_DIR/$1.token"}}]
contexts: [{name: context, context: {cluster: cluster, user: user}}]
current-context: context
END
