#!/usr/bin/env bash
# isolated.sh COMMAND...: runs the command as root where a node may change anything. It
# has processes, mounts, interfaces and packet filters of its own, an empty /run, /var/lib
# and /var/log, and a copy of /etc. The kernel removes all of these with the command. The
# control groups of the kubelet would stay, so isolated.sh removes them.
set -euo pipefail

if [[ ${ISOLATED:-} != yes ]]; then
	kubepods() { find /sys/fs/cgroup -depth -type d -path '*/kubepods*' "$@"; }
	if [[ -n $(kubepods) ]]; then
		echo "isolated.sh: this host already has pods of a kubelet, in $(kubepods | tail -n 1)" >&2
		exit 1
	fi
	control=/sys/fs/cgroup/cgroup.subtree_control
	controllers=$(cat "$control" 2>/dev/null || true)

	trap : INT TERM # the command receives them, too
	status=0
	ISOLATED=yes setpriv --pdeathsig KILL unshare --mount --pid --net --ipc --uts --fork --kill-child --mount-proc "$0" "$@" || status=$?

	tries=50
	until kubepods -exec rmdir {} + 2>/dev/null && [[ -z $(kubepods) ]]; do
		if ((tries-- == 0)); then
			echo "isolated.sh: can't remove these control groups: $(kubepods)" >&2
			exit 1
		fi
		sleep 0.1
	done
	# With cgroup version 2 a kubelet enables more controllers for its groups.
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
# An image builder creates folders in /etc on its first run.
cp -a /etc /run/etc
mount --bind /run/etc /etc
export CLUSTER_DIR=/run/cluster
mkdir "$CLUSTER_DIR"

# A kubelet sets these kernel parameters, which no namespace isolates.
mkdir /run/sysctl
for name in kernel.panic kernel.panic_on_oops kernel.keys.root_maxbytes kernel.keys.root_maxkeys vm.overcommit_memory vm.panic_on_oom; do
	file=/proc/sys/${name//.//}
	cat "$file" >"/run/sysctl/$name"
	mount --bind "/run/sysctl/$name" "$file"
done

# The bridge of the pods. Its address is that of the node. The controller manager gives
# the first node the first ranges of POD_CIDR.
export APISERVER_ADDRESS=10.200.0.1
ip link set lo up
ip link add pods type bridge
ip address add 10.200.0.1/20 dev pods
ip address add fd00:200::1/64 dev pods nodad
ip link set pods up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1

# Not exec: the first process of the namespace adopts orphans, and a shell reaps them.
"$@"
