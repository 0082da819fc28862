#!/usr/bin/env bash
# images.sh COREDNS: builds the images of the node's pods in CLUSTER_DIR, for node.sh to
# import: headless:e2e from the server COREDNS, and localhost/busybox:e2e and the others
# from programs of the host.
set -euo pipefail
server=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"/images
: "${CLUSTER_DIR:?must name the folder of the cluster}"

context=$CLUSTER_DIR/images/context
mkdir -p "$context"

# root NAME PROGRAM...: creates NAME.tar, a root file system with busybox, the programs,
# their libraries, and the configuration of the C library.
root() {
	local root=$context/$1 applet
	shift
	mkdir -p "$root"/{bin,etc,tmp,www}
	cp "$(command -v busybox)" "$root/bin/busybox"
	for applet in $(busybox --list); do
		[[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
	done
	echo "root:x:0:0:root:/:/bin/sh" >"$root/etc/passwd"
	if (($# > 0)); then
		echo "hosts: files dns" >"$root/etc/nsswitch.conf"
		# The programs replace the applets of the same names.
		rm -f "${@/#/"$root/bin/"}"
		# shellcheck disable=SC2046 # paths without spaces
		tar -ch $(command -v "$@") $(ldd $(command -v "$@") | grep -o '/[^ :]*') 2>/dev/null | tar -xC "$root"
	fi
	tar -C "$root" -cf "$root.tar" .
}
root busybox
root dnsutils dig getent

# A separate image store: the images are small and share nothing with the host's store.
store=(--root "$context/store" --runroot "$context/run" --storage-driver vfs)
for image in busybox dnsutils nginx mariadb; do
	buildah "${store[@]}" bud --quiet --isolation chroot --file Dockerfile --target "$image" --tag "localhost/$image:e2e" "$context"
	buildah "${store[@]}" push --quiet "localhost/$image:e2e" "docker-archive:$CLUSTER_DIR/images/$image.tar:localhost/$image:e2e"
done
rm -rf "$context"
../../../plugin/image.sh headless:e2e "$CLUSTER_DIR/images/headless.tar" "$server"
