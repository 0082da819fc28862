#!/usr/bin/env bash
# image.sh IMAGE ARCHIVE PROGRAM...: builds the image of a server, as root: with Docker if
# its daemon runs, else with buildah. From programs for several platforms, buildah builds
# an image each and a manifest. If ARCHIVE is not empty, the script writes a copy there, in
# the format of docker load. All files have the commit's time and the owner root, so the
# same programs give the same image.
set -euo pipefail
image=$1 archive=$2
shift 2
[[ -z $archive ]] || archive=$(realpath "$archive")
programs=()
for program; do programs+=("$(realpath "$program")"); done
cd "$(dirname "${BASH_SOURCE[0]}")"

version=$(git describe --tags --always --dirty --abbrev=12 2>/dev/null || echo unknown)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH # Docker uses this as the time of the image

if ((${#programs[@]} > 1)) || ! docker info >/dev/null 2>&1; then
	docker=''
	# In a container, the kernel may refuse overlay.
	buildah info >/dev/null 2>&1 || export STORAGE_DRIVER=vfs
else
	docker=yes
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# build PROGRAM COMMAND...: builds the image of one program with the command.
build() {
	local program=$1 arch
	shift
	arch=$(go version -m "$program" | sed -n 's/^\tbuild\tGOARCH=//p')
	rm -rf "$dir/root"
	mkdir -p "$dir/context"
	./root.sh "$program" "$dir/root"
	tar --xattrs --xattrs-include=security.capability --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
		--owner=0 --group=0 --numeric-owner -C "$dir/root" -cf "$dir/context/root.tar" coredns etc licenses
	"$@" --quiet --platform "linux/$arch" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
		--target prebuilt --file ../Dockerfile "$dir/context"
}
if [[ $docker ]]; then
	build "${programs[0]}" docker build --tag "$image"
	[[ -z $archive ]] || docker save --output "$archive" "$image"
	size=$(docker image inspect --format '{{.Size}}' "$image")
elif ((${#programs[@]} == 1)); then
	build "${programs[0]}" buildah bud --isolation chroot --timestamp "$SOURCE_DATE_EPOCH" --tag "$image"
	[[ -z $archive ]] || buildah push --quiet "$image" "docker-archive:$archive:$image"
	size=$(buildah images --format '{{.Size}}' "$image")
else
	# buildah would add to a manifest of an earlier build, and can't replace an image by one.
	if buildah manifest exists "$image" 2>/dev/null; then
		buildah manifest rm "$image" >/dev/null
	elif buildah images --quiet "$image" >/dev/null 2>&1; then
		buildah rmi "$image" >/dev/null
	fi
	for program in "${programs[@]}"; do
		build "$program" buildah bud --isolation chroot --timestamp "$SOURCE_DATE_EPOCH" --manifest "$image"
	done
	[[ -z $archive ]] || buildah manifest push --quiet --all "$image" "oci-archive:$archive:$image"
	size="${#programs[@]} platforms"
fi
echo "$image: version $version, ${size%%$'\n'*}"
