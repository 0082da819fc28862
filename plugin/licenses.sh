#!/usr/bin/env bash
# licenses.sh DIR: copies the licenses and notices of all modules in the server into DIR,
# below the path of each module. For each package it searches the package's folder and its
# parents, up to the module's. It reads Go's module cache only; make lint checks which
# licenses these are.
set -euo pipefail
dir=$(realpath -m "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shopt -s nullglob nocaseglob

# save FOLDER PATH: copies the licenses in FOLDER to DIR/PATH, and fails if there are none.
save() {
	local found=1 file
	# nocaseglob works on patterns only, and the class of one letter makes each a pattern.
	for file in "$1"/{licen[sc]e,[c]opying,[n]otice,[p]atents}{,[-._]*}; do
		if [[ -f $file && $file != *.go ]]; then
			install -D -m 644 "$file" "$dir/$2/${file##*/}"
			found=0
		fi
	done
	return $found
}

save "$(go env GOROOT)" std
declare -A seen
packages=$(CGO_ENABLED=0 go list -deps -f '{{if .Module}}{{.Module.Path}} {{.Module.Dir}} {{.Dir}}{{end}}' ./plugin/coredns)
while read -r module root folder; do
	while [[ -z ${seen[$folder]:-} ]]; do
		seen[$folder]=yes
		if save "$folder" "$module${folder#"$root"}"; then
			seen[$module]=licensed
		fi
		[[ $folder == "$root" ]] && break
		folder=${folder%/*}
	done
done <<<"$packages"
while read -r module _; do
	if [[ ${seen[$module]:-} != licensed ]]; then
		echo "licenses.sh: found no license of $module" >&2
		exit 1
	fi
done <<<"$packages"
