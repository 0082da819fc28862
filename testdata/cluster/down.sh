#!/usr/bin/env bash
# Ends every process in pids/, those that a test put there too, and removes
# CLUSTER_DIR. The state goes with it, so nothing is given time to finish.
set -euo pipefail
CLUSTER_BIN=${CLUSTER_BIN:-} # nothing to build for this
. "$(dirname "${BASH_SOURCE[0]}")"/env.sh

[[ -d $CLUSTER_DIR/pids ]] || exit 0
for pid in "$CLUSTER_DIR"/pids/*; do
	[[ -e $pid ]] && stop "$(basename "$pid")" KILL
done
rm -rf "$CLUSTER_DIR"
