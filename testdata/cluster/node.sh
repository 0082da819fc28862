#!/usr/bin/env bash
# node.sh: starts a node beside the control plane, within isolated.sh: containerd, kubelet
# and kube-proxy. Its pods have an address of each family. images.sh has built their
# images, and their name server is 10.96.0.10. The node's own name server is
# HEADLESS_COREDNS with one name, example.org.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")"/env.sh

# containerd can't lower OOM scores here, and a container would not start. An AppArmor
# profile would stay in the host.
cat >"$CLUSTER_DIR/containerd.toml" <<END
version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/busybox:e2e"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$CLUSTER_DIR/cni"
END
mkdir "$CLUSTER_DIR/cni"
cat >"$CLUSTER_DIR/cni/pods.conflist" <<END
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local",
    "ranges": [[{"subnet": "10.200.0.0/20"}], [{"subnet": "fd00:200::/64"}]],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
}]}
END
start containerd containerd --config "$CLUSTER_DIR/containerd.toml"
await containerd ctr version
for image in "$CLUSTER_DIR"/images/*.tar; do
	ctr --namespace k8s.io images import "$image" >/dev/null
done

cat >"$CLUSTER_DIR/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
# A reply from one pod to another stays on the bridge, and kube-proxy can't rewrite it.
# With masquerading the reply goes through the node.
nftables: {masqueradeAll: true}
clientConnection: {kubeconfig: "$CLUSTER_DIR/kube-proxy.kubeconfig"}
clusterCIDR: $POD_CIDR
hostnameOverride: node
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s} # keep the host's
END
start kube-proxy kube-proxy --config="$CLUSTER_DIR/kube-proxy.yaml"

cat >"$CLUSTER_DIR/Corefile" <<END
. {
    bind $APISERVER_ADDRESS
    template IN A example.org {
        answer "{{ .Name }} 60 IN A 192.0.2.1"
    }
    template ANY ANY {
        rcode NXDOMAIN
        authority ". 60 IN SOA ns. hostmaster. 1 60 60 60 60"
    }
}
END
start coredns "${HEADLESS_COREDNS:?must name the server}" -conf "$CLUSTER_DIR/Corefile"
echo "nameserver $APISERVER_ADDRESS" >"$CLUSTER_DIR/resolv.conf"
cat >"$CLUSTER_DIR/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: "$CLUSTER_DIR/pki/ca.crt"}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
enforceNodeAllocatable: []
failSwapOn: false
makeIPTablesUtilChains: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: $CLUSTER_DIR/resolv.conf
volumePluginDir: /var/lib/kubelet/plugins
evictionHard: {memory.available: 50Mi}
imageGCHighThresholdPercent: 100
END
start kubelet kubelet --config="$CLUSTER_DIR/kubelet.yaml" --kubeconfig="$CLUSTER_DIR/kubelet.kubeconfig" \
	--hostname-override=node --node-ip="$APISERVER_ADDRESS,fd00:200::1"
await kubelet kubectl wait --for=condition=Ready node/node --timeout=5s
