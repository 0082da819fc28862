#!/usr/bin/env bash
# Builds etcd, Kubernetes and kwok from the Go module proxy, and prints the
# folder that holds them. The folder is named after everything that goes into
# it, so a second call finds it and returns at once; the first takes about six
# minutes on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

kubernetes=$(cd hyperkube && go list -m -f '{{.Version}}' k8s.io/kubernetes)
kwok=v0.8.0
programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl)

key=$( (cat build.sh hyperkube/*.go hyperkube/go.mod hyperkube/go.sum; go version) | sha256sum | cut -c1-16)
cache=${CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/headless-cluster}
bin=$cache/$key/bin
if [[ -f $bin/complete ]]; then
	echo "$bin"
	exit
fi
mkdir -p "$bin"

# One set of flags for everything: a change of -trimpath or CGO_ENABLED compiles
# the standard library and every dependency again.
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"

# An API server that does not know its own version refuses its feature gates.
IFS=. read -r major minor _ <<<"${kubernetes#v}"
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	ldflags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=$major -X $package.gitMinor=$minor"
	ldflags+=" -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"
done

echo "building etcd, Kubernetes $kubernetes and kwok $kwok into $bin" >&2
(cd hyperkube && go build -ldflags "$ldflags" -o "$bin/hyperkube" .) >&2
for program in "${programs[@]}"; do
	ln -sf hyperkube "$bin/$program"
done
GOBIN=$bin go install -ldflags "-s -w" sigs.k8s.io/kwok/cmd/kwok@$kwok >&2

# kwok ships the stages that move a node and a pod through their lives as
# files of its module, not inside the program.
stage=$(go mod download -json sigs.k8s.io/kwok@$kwok | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/kustomize/stage
for file in node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease pod/fast/pod-{ready,complete}; do
	echo ---
	cat "$stage/$file.yaml"
done >"$bin/kwok-stages.yaml"

touch "$bin/complete"
echo "$bin"
