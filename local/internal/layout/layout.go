// Package layout names the files of one cluster's directory and the addresses
// of its network.
package layout

import (
	"fmt"
	"path/filepath"
)

// Addresses inside the cluster's network namespace. Nothing of them is
// reachable from, or visible on, the machine itself.
const (
	PlaneIP       = "10.99.0.1"
	DNSIP         = "10.99.0.2"
	APIPort       = 6443
	PodNetwork    = "10.244.0.0/16"
	ServiceCIDR   = "10.96.0.0/16"
	APIServiceIP  = "10.96.0.1"
	DNSServiceIP  = "10.96.0.10"
	ClusterDomain = "cluster.local"
	EtcdURL       = "http://127.0.0.1:2379"
	EtcdPeerURL   = "http://127.0.0.1:2380"
)

const firstNodeHost = 10

// NodeIP is the address of the i-th node, counted from 0.
func NodeIP(i int) string {
	return fmt.Sprintf("10.99.0.%d", firstNodeHost+i)
}

// PodCIDR is the pod network of the i-th node, counted from 0.
func PodCIDR(i int) string {
	return fmt.Sprintf("10.244.%d.0/24", i)
}

// APIURL is the address of the API server inside the namespace.
func APIURL() string {
	return fmt.Sprintf("https://%s:%d", PlaneIP, APIPort)
}

// Dir is the absolute path of a cluster's directory.
type Dir string

// Entries are the names that up may create in a cluster's directory, and so the
// names that down --purge removes.
var Entries = []string{"config", "etcd", "kubeconfig", "logs", "nodes", "pki", "run", "volumes"}

func (d Dir) path(parts ...string) string {
	return filepath.Join(append([]string{string(d)}, parts...)...)
}

// Config holds rendered configuration, such as the kubeconfigs of components.
func (d Dir) Config(name string) string { return d.path("config", name) }

// Etcd is the data directory of etcd.
func (d Dir) Etcd() string { return d.path("etcd") }

// Kubeconfig is the administrator's kubeconfig for use outside the namespace.
func (d Dir) Kubeconfig() string { return d.path("kubeconfig") }

// Log is the log file of a component.
func (d Dir) Log(component string) string { return d.path("logs", component+".log") }

// Logs holds one log file for each component.
func (d Dir) Logs() string { return d.path("logs") }

// Nodes holds one directory for each node.
func (d Dir) Nodes() string { return d.path("nodes") }

// Node is the root directory of one node. The node empties it when it starts.
func (d Dir) Node(name string) string { return d.path("nodes", name) }

// NodeConfigs holds one directory of configuration for each node.
func (d Dir) NodeConfigs() string { return d.path("config", "nodes") }

// NodeConfig holds the credentials and options of one node.
func (d Dir) NodeConfig(name string) string { return d.path("config", "nodes", name) }

// PKI is a file among the keys and certificates.
func (d Dir) PKI(name string) string { return d.path("pki", name) }

// Run is a file that means something only while the cluster runs.
func (d Dir) Run(name string) string { return d.path("run", name) }

// Volumes holds one directory for each persistent volume.
func (d Dir) Volumes() string { return d.path("volumes") }
