#!/usr/bin/env bash
# release.sh VERSION PROGRAM...: writes to release/ the files of a release: for each program
# an archive of it and the licenses; the checksums; and NOTES.md, the version's section of
# CHANGELOG.md. All files have the commit's time and the owner root, so the same programs
# give the same archives.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$1
shift

# section NAME: prints a section of CHANGELOG.md without its heading.
section() { awk -v name="## [$1]" 'index($0, "## ") == 1 { inside = index($0, name) == 1; next } inside && !/^\[.*\]: /' CHANGELOG.md; }
rm -rf release
mkdir release
name=Unreleased
! git describe --tags --exact-match >/dev/null 2>&1 || name=${version#v}
section "$name" >release/NOTES.md
if ! grep -q . release/NOTES.md; then
	echo "release.sh: CHANGELOG.md has no section $name" >&2
	exit 1
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
plugin/licenses.sh "$dir/licenses"
for program; do
	arch=$(go version -m "$program" | sed -n 's/^\tbuild\tGOARCH=//p')
	install -m 755 "$program" "$dir/coredns"
	tar --sort=name --mtime="@$(git log -1 --format=%ct)" --owner=0 --group=0 --numeric-owner -C "$dir" -c coredns licenses |
		gzip -9n >"release/headless-$version-linux-$arch.tar.gz"
done
cd release
sha256sum -- *.tar.gz >SHA256SUMS
