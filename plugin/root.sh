#!/usr/bin/env bash
# root.sh PROGRAM DIR: writes to DIR, as root, the files of a server's image: the server
# with its capability, the certificates of the authorities that it trusts, and the licenses
# of its modules.
set -euo pipefail
if [[ $(id -u) != 0 ]]; then
	echo "root.sh: only root can give the server its capability" >&2
	exit 1
fi
install -D -m 755 "$1" "$2/coredns"
setcap cap_net_bind_service=+ep "$2/coredns"
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$2/etc/ssl/certs/ca-certificates.crt"
"$(dirname "${BASH_SOURCE[0]}")/licenses.sh" "$2/licenses"
