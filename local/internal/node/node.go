// Package node runs one node of the cluster: the upstream kubelet as a library
// above the process runtime of package cri. A process can run one node.
//
// What a node knows of its pods is in memory. When its process ends, its pods
// are killed; the next one starts them again under their names, with empty
// scratch volumes.
package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"modelservice.dev/local/internal/cri"
	"modelservice.dev/local/internal/spec"
)

// Options say which node to run and how it reaches the cluster. All fields but
// Labels, Taints and Capacity are needed.
type Options struct {
	Name string
	// IP is an address of the cluster's network namespace; the kubelet listens on it.
	IP string
	// PodCIDR is the IPv4 network of the node's pods.
	PodCIDR string
	// Kubeconfig is how the kubelet reaches the API server.
	Kubeconfig string
	// CAFile is the authority of the kubelet's clients.
	CAFile string
	// CertFile and KeyFile are the kubelet's serving certificate.
	CertFile string
	KeyFile  string
	// ClusterDNS and ClusterDomain are what pods resolve names with.
	ClusterDNS    string
	ClusterDomain string
	// RootDir is for the node's files. Those of an earlier run are removed.
	RootDir string
	// ImagesFile is the image map.
	ImagesFile string
	Labels     map[string]string
	Taints     []spec.Taint
	// Capacity maps resource names to quantities. cpu and memory default to the
	// machine's, pods to 110.
	Capacity map[string]string
}

// place is where the node's files are in its own mount namespace: a short path,
// since it holds Unix sockets, and one that containers do not see.
const place = "/run/localcluster"

// Run runs a node until ctx is done. The process must be root of a user
// namespace and alone in its mount namespace.
func Run(ctx context.Context, o Options) error {
	// Containers must not inherit what this process was started with.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("node %s: cannot keep open files from containers (this needs Linux 5.11): %w", o.Name, err)
	}
	capacity, err := ParseCapacity(o.Capacity)
	if err != nil {
		return fmt.Errorf("node %s: %w", o.Name, err)
	}
	if err := takeMounts(o.RootDir); err != nil {
		return fmt.Errorf("node %s: %w", o.Name, err)
	}
	resolver := filepath.Join(place, "resolv.conf")
	if err := os.WriteFile(resolver, []byte("nameserver "+o.ClusterDNS+"\n"), 0o644); err != nil {
		return fmt.Errorf("node %s: cannot write its resolv.conf: %w", o.Name, err)
	}
	images := cri.NewImages(o.ImagesFile, place)
	runtime, err := cri.New(cri.Options{
		Root:     filepath.Join(place, "cri"),
		NodeName: o.Name,
		NodeIP:   o.IP,
		PodCIDR:  o.PodCIDR,
		Images:   images,
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", o.Name, err)
	}
	machine := &machine{name: o.Name, capacity: capacity, runtime: runtime}
	if err := runKubelet(ctx, o, machine, images, resolver); err != nil {
		return fmt.Errorf("node %s: %w", o.Name, err)
	}
	<-ctx.Done()
	return runtime.Close(context.WithoutCancel(ctx))
}

// takeMounts empties the node's root directory and shows it at place, on file
// systems that only this process and its containers' set-up see.
func takeMounts(root string) error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return fmt.Errorf("cannot read the mount namespace: %w", err)
	}
	parent, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(os.Getppid()), "ns/mnt"))
	if err == nil && own == parent {
		return errors.New("a node must be started in a mount namespace of its own")
	}
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("cannot remove the files of an earlier run: %w", err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("cannot make its directory: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot separate its mounts: %w", err)
	}
	// The kubelet insists on /var/log/containers.
	for _, target := range []string{"/run", "/var/log"} {
		if err := unix.Mount("tmpfs", target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("cannot mount over %s: %w", target, err)
		}
	}
	if err := os.Mkdir(place, 0o755); err != nil {
		return fmt.Errorf("cannot make %s: %w", place, err)
	}
	if err := unix.Mount(root, place, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cannot show its directory at %s: %w", place, err)
	}
	return nil
}
