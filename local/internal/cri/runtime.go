// Package cri is a container runtime that runs processes: the runtime and image
// services of the Container Runtime Interface, called by a kubelet in the same
// process.
//
// A pod sandbox is a thread with network, IPC and UTS namespaces. A container is
// a process with its own mount and PID namespaces, born on that thread, so that
// it dies with the sandbox and with this process. Its root file system is the
// host's, read-only, with private /tmp, /var/tmp, /run and /dev, and the volumes
// of the pod. Nothing else separates it from the host: resource limits are not
// enforced, and every container runs as user 0 of the namespace this process is
// in. All state is in memory: when this process ends, so do its pods.
package cri

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"

	"modelservice.dev/local/internal/podnet"
)

const (
	runtimeName    = "localcluster"
	runtimeVersion = "0.1.0"
	apiVersion     = "v1"
	// kubeletVersion is the version of the interface that the kubelet insists on.
	kubeletVersion = "0.1.0"
)

// Options configure a Runtime.
type Options struct {
	// Root is a directory for files of sandboxes and containers. What it holds is removed.
	Root string
	// NodeName is the host name of pods on the node's network.
	NodeName string
	// NodeIP is the address from which the node talks to its pods.
	NodeIP string
	// PodCIDR is the IPv4 network of the node's pods.
	PodCIDR string
	// Images is the node's image service.
	Images *Images
}

// Runtime is the runtime service of a node.
type Runtime struct {
	root      string
	nodeName  string
	images    *Images
	addresses *podnet.Addresses
	links     *podnet.Node
	netlink   *netlink.Handle
	network   *os.File
	streams   streaming.Server

	streamServer *http.Server

	mutex      sync.Mutex
	sandboxes  map[string]*sandbox
	containers map[string]*container
}

var (
	_ criapi.RuntimeService      = (*Runtime)(nil)
	_ criapi.ImageManagerService = (*Images)(nil)
)

// New returns a runtime without pods. It removes what an earlier one with the
// same options left behind, and must be called in the cluster's namespaces.
func New(o Options) (*Runtime, error) {
	if err := os.RemoveAll(o.Root); err != nil {
		return nil, fmt.Errorf("cannot remove left-over files of containers: %w", err)
	}
	if err := os.MkdirAll(o.Root, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the directory of containers: %w", err)
	}
	addresses, err := podnet.NewAddresses(o.PodCIDR)
	if err != nil {
		return nil, err
	}
	links, err := podnet.NewNode(o.NodeIP, addresses.Prefix())
	if err != nil {
		return nil, err
	}
	if err := links.Prepare(); err != nil {
		return nil, err
	}
	network, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("cannot open the cluster's network: %w", err)
	}
	handle, err := netlink.NewHandle()
	if err != nil {
		return nil, fmt.Errorf("cannot talk to the cluster's network: %w", err)
	}
	r := &Runtime{
		root:       o.Root,
		nodeName:   o.NodeName,
		images:     o.Images,
		addresses:  addresses,
		links:      links,
		netlink:    handle,
		network:    network,
		sandboxes:  map[string]*sandbox{},
		containers: map[string]*container{},
	}
	return r, r.startStreams()
}

func newID() string {
	id := make([]byte, 32)
	rand.Read(id)
	return hex.EncodeToString(id)
}

func (r *Runtime) directory(kind, id string) string {
	return filepath.Join(r.root, kind, id)
}

func (r *Runtime) sandbox(id string) (*sandbox, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if s, ok := r.sandboxes[id]; ok {
		return s, nil
	}
	return nil, status.Errorf(codes.NotFound, "there is no pod sandbox %s", id)
}

func (r *Runtime) container(id string) (*container, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if c, ok := r.containers[id]; ok {
		return c, nil
	}
	return nil, status.Errorf(codes.NotFound, "there is no container %s", id)
}

// Version names this runtime.
func (r *Runtime) Version(context.Context, string) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{
		Version:           kubeletVersion,
		RuntimeName:       runtimeName,
		RuntimeVersion:    runtimeVersion,
		RuntimeApiVersion: apiVersion,
	}, nil
}

// Status says that the runtime and the network are ready: both are part of this process.
func (r *Runtime) Status(context.Context, bool) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{
		Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
			{Type: runtimeapi.RuntimeReady, Status: true},
			{Type: runtimeapi.NetworkReady, Status: true},
		}},
		RuntimeHandlers: []*runtimeapi.RuntimeHandler{{
			Features: &runtimeapi.RuntimeHandlerFeatures{RecursiveReadOnlyMounts: true},
		}},
	}, nil
}

// RuntimeConfig names a cgroup driver, which nothing here uses.
func (r *Runtime) RuntimeConfig(context.Context) (*runtimeapi.RuntimeConfigResponse, error) {
	return &runtimeapi.RuntimeConfigResponse{
		Linux: &runtimeapi.LinuxRuntimeConfiguration{CgroupDriver: runtimeapi.CgroupDriver_CGROUPFS},
	}, nil
}

// UpdateRuntimeConfig does nothing: the pod network is given at the start.
func (r *Runtime) UpdateRuntimeConfig(context.Context, *runtimeapi.RuntimeConfig) error {
	return nil
}

// Close ends every pod and the streaming server.
func (r *Runtime) Close(ctx context.Context) error {
	sandboxes, err := r.ListPodSandbox(ctx, nil)
	if err != nil {
		return err
	}
	for _, sandbox := range sandboxes {
		if err := r.RemovePodSandbox(ctx, sandbox.Id); err != nil {
			return err
		}
	}
	return r.streamServer.Close()
}

func now() int64 {
	return time.Now().UnixNano()
}
