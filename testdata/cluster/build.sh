#!/usr/bin/env bash
# build.sh [VERSION]: builds etcd, Kubernetes and kwok from the Go module proxy, and
# prints the folder of the programs. Its name is a hash of all inputs, so a second call
# finds it and returns at once. The first call takes about six minutes on two cores.
#
# VERSION is a minor version of Kubernetes, such as 1.31, or a full one. The default is
# that of hyperkube/go.mod. With VERSION, the folder has the control plane of that version
# and the etcd that it requires. kubectl and kwok, which only the tests use, stay the
# same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

version=${1:-}
version=${version#v}
kwok=v0.8.0
module=hyperkube
programs=(etcd kube-apiserver kube-controller-manager kube-scheduler)

key=$( (cat build.sh hyperkube/*.go hyperkube/go.mod hyperkube/go.sum; go version; echo "$version") | sha256sum | cut -c1-16)
cache=${CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/headless-cluster}
bin=$cache/$key/bin
if [[ -f $bin/complete ]]; then
	echo "$bin"
	exit
fi
mkdir -p "$bin"

# The flags of every build: with another -trimpath or CGO_ENABLED, Go compiles the
# standard library and every dependency again.
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"

# generate FOLDER: writes the module of another version. Kubernetes's go.mod pins the
# dependencies, but replaces the staging modules by folders that the published module
# lacks. The staging modules are also published one by one, and a proxy may lack some
# versions. Each is replaced by its newest version that is not newer than Kubernetes.
generate() {
	local kubernetes gomod staging=()
	kubernetes=$(go list -m -f '{{.Version}}' "k8s.io/kubernetes@v$version")
	gomod=$(go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
	# The modules left out generate code or are examples. No program imports them.
	mapfile -t staging < <(sed -n "s|^\t\(.*\) => \./staging/.*|\1@<=v0.${kubernetes#v1.}|p" "$gomod" |
		grep -Ev '/(code-generator|sample-[a-z-]*)@')
	mkdir -p "$1"
	cp hyperkube/main.go "$1"
	{
		sed -E 's|^module .*|module hyperkube|; /(code-generator|sample-[a-z-]*) v/d; /=> \.\/staging/d' "$gomod"
		echo "require k8s.io/kubernetes $kubernetes"
		go list -m -f 'replace {{.Path}} => {{.Path}} {{.Version}}' "${staging[@]}"
	} >"$1/go.mod"
	grep '^replace k8s.io/' "$1/go.mod" | grep -v " v0.${kubernetes#v1.}$" |
		sed "s|^replace .* => |build.sh: the proxy lacks v0.${kubernetes#v1.}, so this replaces it: |" || true
	export GOFLAGS="$GOFLAGS -mod=mod"
}

if [[ -n $version ]]; then
	module=$cache/$key/hyperkube
	generate "$module" >&2
fi

# Without its version an API server refuses its own feature gates.
kubernetes=$(cd "$module" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${kubernetes#v}"
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	ldflags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=$major -X $package.gitMinor=$minor"
	ldflags+=" -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"
done

echo "building etcd and Kubernetes $kubernetes into $bin" >&2
(cd "$module" && go build -ldflags "$ldflags" -o "$bin/hyperkube" .) >&2
if [[ -n $version ]]; then
	present=$(./build.sh)
	ln -sf "$present"/{kubectl,kwok,kwok-stages.yaml} "$bin"
else
	programs+=(kube-proxy kubelet kubectl)
	echo "building kwok $kwok" >&2
	GOBIN=$bin go install -ldflags "-s -w" sigs.k8s.io/kwok/cmd/kwok@$kwok >&2

	# The stages that move a node and a pod through their lives are files of kwok's
	# module.
	stage=$(go mod download -json sigs.k8s.io/kwok@$kwok | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/kustomize/stage
	for file in node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease pod/fast/pod-{ready,complete}; do
		echo ---
		cat "$stage/$file.yaml"
	done >"$bin/kwok-stages.yaml"
fi
for program in "${programs[@]}"; do
	ln -sf hyperkube "$bin/$program"
done

touch "$bin/complete"
echo "$bin"
