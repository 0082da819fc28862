#!/usr/bin/env bash
# images.sh COREDNS: puts the images of the node's pods into images in CLUSTER_DIR,
# for node.sh to import: headless:e2e from the server, and localhost/busybox:e2e
# and so on from the programs of the host.
set -euo pipefail
server=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"/images
: "${CLUSTER_DIR:?is the directory of the cluster}"

context=$CLUSTER_DIR/images/context
mkdir -p "$context"

# root NAME PROGRAM...: makes NAME.tar with busybox, and with these programs, the
# libraries that they need and what the C library goes by.
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
		# Instead of the applets of these names.
		rm -f "${@/#/"$root/bin/"}"
		# shellcheck disable=SC2046 # paths without spaces
		tar -ch $(command -v "$@") $(ldd $(command -v "$@") | grep -o '/[^ :]*') 2>/dev/null | tar -xC "$root"
	fi
	tar -C "$root" -cf "$root.tar" .
}
root busybox
root dnsutils dig getent

# The images are small, and need nothing of the host's image store.
store=(--root "$context/store" --runroot "$context/run" --storage-driver vfs)
for image in busybox dnsutils nginx mariadb; do
	buildah "${store[@]}" bud --quiet --isolation chroot --file Dockerfile --target "$image" --tag "localhost/$image:e2e" "$context"
	buildah "${store[@]}" push --quiet "localhost/$image:e2e" "docker-archive:$CLUSTER_DIR/images/$image.tar:localhost/$image:e2e"
done
rm -rf "$context"
../../../plugin/image.sh headless:e2e "$CLUSTER_DIR/images/headless.tar" "$server"
