#!/usr/bin/env bash
# reproducible.sh: builds the last commit twice, in clones at two paths, and compares the
# servers. It compiles the packages of this module twice; those of others come from Go's
# cache, where they have no path.
set -euo pipefail
top=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

for clone in first a/second/clone; do
	git clone --quiet "$top" "$dir/$clone"
	cd "$dir/$clone"
	go list -deps -export -f '{{if .Module}}{{if .Module.Main}}{{.Export}}{{end}}{{end}}' ./plugin/coredns | xargs rm -f
	make --silent build
	sha256sum coredns | tee -a "$dir/sums"
done
if [[ $(sort -u "$dir/sums" | wc -l) != 1 ]]; then
	echo "reproducible.sh: two builds of one commit differ" >&2
	exit 1
fi
