package component

import (
	"fmt"

	"modelservice.dev/local/internal/layout"
)

// Client names of the components, as the API server sees them.
const (
	AdminUser             = "localcluster-admin"
	SupervisorUser        = "localcluster-supervisor"
	ControllerManagerUser = "system:kube-controller-manager"
	SchedulerUser         = "system:kube-scheduler"
	ProxyUser             = "system:kube-proxy"
	DNSUser               = "system:coredns"
	AggregatorUser        = "front-proxy-client"
	KubeletClientUser     = "kube-apiserver-kubelet-client"
)

// Kubeconfig is the kubeconfig file of a component.
func Kubeconfig(dir layout.Dir, name string) string {
	return dir.Config(name + ".kubeconfig")
}

// EtcdArgs are the arguments of etcd. It does not wait for the disk: after a
// crash of the machine, not of the cluster, its data may be lost.
func EtcdArgs(dir layout.Dir) []string {
	return []string{
		"--name=etcd",
		"--data-dir=" + dir.Etcd(),
		"--listen-client-urls=" + layout.EtcdURL,
		"--advertise-client-urls=" + layout.EtcdURL,
		"--listen-peer-urls=" + layout.EtcdPeerURL,
		"--initial-advertise-peer-urls=" + layout.EtcdPeerURL,
		"--initial-cluster=etcd=" + layout.EtcdPeerURL,
		"--quota-backend-bytes=4294967296",
		"--log-level=warn",
		"--unsafe-no-fsync",
	}
}

// APIServerArgs are the arguments of the API server.
func APIServerArgs(dir layout.Dir) []string {
	return []string{
		"--advertise-address=" + layout.PlaneIP,
		fmt.Sprintf("--secure-port=%d", layout.APIPort),
		"--etcd-servers=" + layout.EtcdURL,
		"--service-cluster-ip-range=" + layout.ServiceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--client-ca-file=" + dir.PKI("ca.crt"),
		"--tls-cert-file=" + dir.PKI("apiserver.crt"),
		"--tls-private-key-file=" + dir.PKI("apiserver.key"),
		"--kubelet-certificate-authority=" + dir.PKI("ca.crt"),
		"--kubelet-client-certificate=" + dir.PKI("kubelet-client.crt"),
		"--kubelet-client-key=" + dir.PKI("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc." + layout.ClusterDomain,
		"--service-account-key-file=" + dir.PKI("serviceaccount.key"),
		"--service-account-signing-key-file=" + dir.PKI("serviceaccount.key"),
		"--requestheader-client-ca-file=" + dir.PKI("front-proxy-ca.crt"),
		"--requestheader-allowed-names=" + AggregatorUser,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + dir.PKI("front-proxy-client.crt"),
		"--proxy-client-key-file=" + dir.PKI("front-proxy-client.key"),
	}
}

// ControllerManagerArgs are the arguments of the controller manager. Its client
// rates are raised so that thousands of objects do not take minutes, and a node
// that is silent counts as lost sooner than by default.
func ControllerManagerArgs(dir layout.Dir) []string {
	return append(kubeconfigs(dir, ControllerManager),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-cluster-ip-range="+layout.ServiceCIDR,
		"--service-account-private-key-file="+dir.PKI("serviceaccount.key"),
		"--root-ca-file="+dir.PKI("ca.crt"),
		"--cluster-signing-cert-file="+dir.PKI("ca.crt"),
		"--cluster-signing-key-file="+dir.PKI("ca.key"),
		"--requestheader-client-ca-file="+dir.PKI("front-proxy-ca.crt"),
		"--node-monitor-grace-period=20s",
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
	)
}

// SchedulerArgs are the arguments of the scheduler.
func SchedulerArgs(dir layout.Dir) []string {
	return append(kubeconfigs(dir, Scheduler),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
	)
}

// ProxyArgs are the arguments of kube-proxy. One serves all nodes, under the
// name of the first. It leaves the kernel's limits on tracked connections
// alone, since they cannot be written in a user namespace.
func ProxyArgs(dir layout.Dir, node string) []string {
	return []string{
		"--kubeconfig=" + Kubeconfig(dir, Proxy),
		"--hostname-override=" + node,
		"--bind-address=" + layout.PlaneIP,
		"--healthz-bind-address=127.0.0.1:10256",
		"--metrics-bind-address=127.0.0.1:10249",
		"--proxy-mode=nftables",
		"--cluster-cidr=" + layout.PodNetwork,
		"--conntrack-max-per-core=0",
		"--conntrack-tcp-timeout-established=0s",
		"--conntrack-tcp-timeout-close-wait=0s",
	}
}

func kubeconfigs(dir layout.Dir, name string) []string {
	path := Kubeconfig(dir, name)
	return []string{"--kubeconfig=" + path, "--authentication-kubeconfig=" + path, "--authorization-kubeconfig=" + path}
}
