#!/usr/bin/env bash
# check.sh: reports what this machine lacks for a node within isolated.sh, and then fails.
set -euo pipefail

if [[ ${ISOLATED:-} != yes ]]; then
	if [[ $(id -u) != 0 ]]; then
		echo "check.sh: a node needs root" >&2
		exit 1
	fi
	exec "$(dirname "${BASH_SOURCE[0]}")"/isolated.sh "${BASH_SOURCE[0]}"
fi

# can WHAT COMMAND...: exits with an error if the command fails, as WHAT is missing then.
can() {
	local what=$1 output
	shift
	if ! output=$("$@" 2>&1); then
		echo "check.sh: no $what here: $output" >&2
		exit 1
	fi
}
mkdir /run/{lower,upper,work,merged}
can "overlay file system" mount -t overlay -o lowerdir=/run/lower,upperdir=/run/upper,workdir=/run/work overlay /run/merged
can "pair of virtual interfaces" ip link add pod type veth peer name eth0
for family in ip ip6; do
	can "nftables for $family" nft "add table $family check
		add chain $family check nat { type nat hook postrouting priority 100; }
		add map $family check endpoints { type mark : verdict; }
		add rule $family check nat meta mark vmap @endpoints
		add rule $family check nat masquerade"
done
controllers=$(cat /proc/self/cgroup /sys/fs/cgroup/cgroup.controllers 2>/dev/null || true)
for controller in cpu memory pids; do
	can "control groups of $controller" grep -qw "$controller" <<<"$controllers"
done
group=/sys/fs/cgroup/memory # cgroup version 1
[[ -d $group ]] || group=/sys/fs/cgroup
can "right to create a control group" mkdir "$group/kubepods-check"
rmdir "$group/kubepods-check"
