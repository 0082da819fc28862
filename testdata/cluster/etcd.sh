#!/usr/bin/env bash
# etcd.sh: starts etcd alone, so that a test can kill it and restart it with other data.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")"/env.sh

etcd=http://127.0.0.1:$ETCD_PORT peer=http://127.0.0.1:$ETCD_PEER_PORT
start etcd etcd --data-dir="$CLUSTER_DIR/etcd" --unsafe-no-fsync \
	--listen-client-urls="$etcd" --advertise-client-urls="$etcd" \
	--listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="default=$peer" \
	--quota-backend-bytes=4000000000
await etcd kubectl --server="$etcd" --request-timeout=2s get --raw /health
