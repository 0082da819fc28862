#!/usr/bin/env bash
# down.sh: kills every process in pids/, those of a test included, and removes
# CLUSTER_DIR. The state is lost anyway, so no process gets time to finish.
set -euo pipefail
CLUSTER_BIN=${CLUSTER_BIN:-} # nothing to build for this
. "$(dirname "${BASH_SOURCE[0]}")"/env.sh

[[ -d $CLUSTER_DIR/pids ]] || exit 0
for pid in "$CLUSTER_DIR"/pids/*; do
	[[ -e $pid ]] && stop "$(basename "$pid")" KILL
done
rm -rf "$CLUSTER_DIR"
