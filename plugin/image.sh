#!/usr/bin/env bash
# image.sh PROGRAM IMAGE [ARCHIVE]: makes the image of a server, as root: with
# Docker where it runs, else with buildah. The archive gets a copy, as docker load
# and others take it. Times and owners are those of the commit: the same program
# makes the same image.
set -euo pipefail
if [[ $(id -u) != 0 ]]; then
	echo "image.sh: only root can give the server its capability" >&2
	exit 1
fi
program=$(realpath "$1") image=$2 archive=${3:-}
[[ -z $archive ]] || archive=$(realpath "$archive")
cd "$(dirname "${BASH_SOURCE[0]}")"

version=$(git describe --tags --always --dirty 2>/dev/null || echo unknown)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH # what Docker goes by

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
install -D -m 755 "$program" "$dir/root/coredns"
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$dir/root/etc/ssl/certs/ca-certificates.crt"
setcap cap_net_bind_service=+ep "$dir/root/coredns"
mkdir "$dir/context"
tar --xattrs --xattrs-include=security.capability --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
	--owner=0 --group=0 --numeric-owner -C "$dir/root" -cf "$dir/context/root.tar" coredns etc

build=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision" --tag "$image" --file Dockerfile "$dir/context")
if docker info >/dev/null 2>&1; then
	docker build --quiet "${build[@]}"
	size=$(docker image inspect --format '{{.Size}}' "$image")
	[[ -z $archive ]] || docker save --output "$archive" "$image"
else
	# In a container, overlay may be refused.
	buildah info >/dev/null 2>&1 || export STORAGE_DRIVER=vfs
	buildah bud --quiet --isolation chroot --timestamp "$SOURCE_DATE_EPOCH" "${build[@]}"
	size=$(buildah images --format '{{.Size}}' "$image")
	[[ -z $archive ]] || buildah push --quiet "$image" "docker-archive:$archive:$image"
fi
echo "$image: version $version, ${size%%$'\n'*}"
