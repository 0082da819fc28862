#!/usr/bin/env bash
# licenses.sh DIR: copies the licences and notices of all that the server is built
# from into DIR, below the path of each module. For each package it looks in the
# package's folder and in those above, up to the module's. It reads Go's module cache
# alone: make lint checks which licences these are.
set -euo pipefail
dir=$(realpath -m "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shopt -s nullglob nocaseglob

# save FOLDER PATH: copies what FOLDER has to DIR/PATH, and fails if it has nothing.
save() {
	local found=1 file
	# A class of one letter makes a pattern of a word: only those know no case.
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
