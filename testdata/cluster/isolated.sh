#!/usr/bin/env bash
# isolated.sh COMMAND...: runs the command, as root, where a node of a cluster may
# change what it likes: with processes, mounts, interfaces and packet filters of
# its own, /run, /var/lib and /var/log being empty, and /etc a copy. The kernel ends
# and removes all of them with the command. Only control groups would stay: those of the
# kubelet are removed here.
set -euo pipefail

if [[ ${ISOLATED:-} != yes ]]; then
	kubepods() { find /sys/fs/cgroup -depth -type d -path '*/kubepods*' "$@"; }
	if [[ -n $(kubepods) ]]; then
		echo "isolated.sh: this host has the pods of a kubelet already, in $(kubepods | tail -n 1)" >&2
		exit 1
	fi
	control=/sys/fs/cgroup/cgroup.subtree_control
	controllers=$(cat "$control" 2>/dev/null || true)

	trap : INT TERM # the command gets them, too
	status=0
	ISOLATED=yes setpriv --pdeathsig KILL unshare --mount --pid --net --ipc --uts --fork --kill-child --mount-proc "$0" "$@" || status=$?

	tries=50
	until kubepods -exec rmdir {} + 2>/dev/null && [[ -z $(kubepods) ]]; do
		if ((tries-- == 0)); then
			echo "isolated.sh: control groups are left: $(kubepods)" >&2
			exit 1
		fi
		sleep 0.1
	done
	# In version 2, a kubelet lets the groups have more controllers.
	if [[ -f $control ]]; then
		for controller in $(<"$control"); do
			[[ " $controllers " == *" $controller "* ]] || echo "-$controller" >"$control"
		done
	fi
	exit "$status"
fi

for dir in /run /var/lib /var/log; do
	mount -t tmpfs tmpfs "$dir"
done
# An image builder makes folders in /etc the first time that it runs on a machine.
cp -a /etc /run/etc
mount --bind /run/etc /etc
export CLUSTER_DIR=/run/cluster
mkdir "$CLUSTER_DIR"

# These have no namespace, and a kubelet sets them.
mkdir /run/sysctl
for name in kernel.panic kernel.panic_on_oops kernel.keys.root_maxbytes kernel.keys.root_maxkeys vm.overcommit_memory vm.panic_on_oom; do
	file=/proc/sys/${name//.//}
	cat "$file" >"/run/sysctl/$name"
	mount --bind "/run/sysctl/$name" "$file"
done

# The bridge that the pods hang on, and its address, which is that of the node.
# The controller manager gives the first node the first ranges of POD_CIDR.
export APISERVER_ADDRESS=10.200.0.1
ip link set lo up
ip link add pods type bridge
ip address add 10.200.0.1/20 dev pods
ip address add fd00:200::1/64 dev pods nodad
ip link set pods up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1

# Not exec: the first process inherits those whose parent has ended, and a shell
# waits for them.
"$@"
