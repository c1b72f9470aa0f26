package cri

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// sandbox is a pod: the thread that holds its namespaces and its address.
type sandbox struct {
	id        string
	config    *runtimeapi.PodSandboxConfig
	handler   string
	createdAt int64
	hostname  string
	directory string
	thread    *thread
	address   netip.Addr // not valid for a pod on the node's network

	mutex   sync.Mutex
	stopped bool
}

func (s *sandbox) namespaces() *runtimeapi.NamespaceOption {
	return s.config.GetLinux().GetSecurityContext().GetNamespaceOptions()
}

func (s *sandbox) state() runtimeapi.PodSandboxState {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.stopped {
		return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	}
	return runtimeapi.PodSandboxState_SANDBOX_READY
}

// RunPodSandbox makes the namespaces and the network of a pod.
func (r *Runtime) RunPodSandbox(_ context.Context, config *runtimeapi.PodSandboxConfig, handler string) (string, error) {
	if err := checkSandbox(config); err != nil {
		return "", err
	}
	id := newID()
	s := &sandbox{
		id:        id,
		config:    config,
		handler:   handler,
		createdAt: now(),
		hostname:  config.GetHostname(),
		directory: r.directory("sandboxes", id),
	}
	if s.hostname == "" {
		s.hostname = r.nodeName
	}
	if err := s.writeFiles(); err != nil {
		return "", err
	}
	if err := r.startSandbox(s); err != nil {
		os.RemoveAll(s.directory)
		return "", err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.sandboxes[s.id] = s
	return s.id, nil
}

func checkSandbox(config *runtimeapi.PodSandboxConfig) error {
	namespaces := config.GetLinux().GetSecurityContext().GetNamespaceOptions()
	for _, mapping := range config.GetPortMappings() {
		if mapping.GetHostPort() != 0 && namespaces.GetNetwork() != runtimeapi.NamespaceMode_NODE {
			return fmt.Errorf("hostPort %d is not supported by localcluster: use a Service or hostNetwork", mapping.GetHostPort())
		}
	}
	if namespaces.GetPid() == runtimeapi.NamespaceMode_POD {
		return errors.New("shareProcessNamespace is not supported by localcluster: remove it from the pod")
	}
	return nil
}

func (r *Runtime) startSandbox(s *sandbox) error {
	hostNetwork := s.namespaces().GetNetwork() == runtimeapi.NamespaceMode_NODE
	if !hostNetwork {
		address, err := r.addresses.Take()
		if err != nil {
			return err
		}
		s.address = address
	}
	thread, err := startThread(func() error { return r.enterSandbox(s, hostNetwork) })
	if err != nil {
		if s.address.IsValid() {
			r.addresses.Free(s.address)
		}
		return err
	}
	s.thread = thread
	return nil
}

// enterSandbox gives the calling thread the namespaces of a pod.
func (r *Runtime) enterSandbox(s *sandbox, hostNetwork bool) error {
	flags := unix.CLONE_NEWUTS
	if s.namespaces().GetIpc() != runtimeapi.NamespaceMode_NODE {
		flags |= unix.CLONE_NEWIPC
	}
	if !hostNetwork {
		flags |= unix.CLONE_NEWNET
	}
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("cannot make the namespaces of the pod: %w", err)
	}
	if err := unix.Sethostname([]byte(s.hostname)); err != nil {
		return fmt.Errorf("cannot set the host name %s of the pod: %w", s.hostname, err)
	}
	if !hostNetwork {
		if err := r.links.Attach(r.netlink, int(r.network.Fd()), s.address); err != nil {
			return err
		}
	}
	return writeSysctls(s.config.GetLinux().GetSysctls())
}

// writeSysctls sets kernel parameters of the calling thread's namespaces.
func writeSysctls(values map[string]string) error {
	for name, value := range values {
		file := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
			return fmt.Errorf("cannot set the sysctl %s of the pod: %w", name, err)
		}
	}
	return nil
}

// writeFiles writes what containers of the pod see as /etc/resolv.conf and /etc/hostname.
func (s *sandbox) writeFiles() error {
	if err := os.MkdirAll(s.directory, 0o755); err != nil {
		return fmt.Errorf("cannot make the directory of the pod: %w", err)
	}
	for name, content := range map[string]string{
		"resolv.conf": resolvConf(s.config.GetDnsConfig()),
		"hostname":    s.hostname + "\n",
	} {
		if err := os.WriteFile(filepath.Join(s.directory, name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("cannot write the pod's %s: %w", name, err)
		}
	}
	return nil
}

func resolvConf(dns *runtimeapi.DNSConfig) string {
	var text strings.Builder
	if searches := dns.GetSearches(); len(searches) > 0 {
		fmt.Fprintf(&text, "search %s\n", strings.Join(searches, " "))
	}
	for _, server := range dns.GetServers() {
		fmt.Fprintf(&text, "nameserver %s\n", server)
	}
	if options := dns.GetOptions(); len(options) > 0 {
		fmt.Fprintf(&text, "options %s\n", strings.Join(options, " "))
	}
	return text.String()
}

// StopPodSandbox kills what runs in a pod and gives its address back. Stopping
// one that is gone or stopped is no error.
func (r *Runtime) StopPodSandbox(_ context.Context, id string) error {
	s, err := r.sandbox(id)
	if err != nil {
		return nil
	}
	for _, c := range r.containersOf(id) {
		c.kill()
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.stopped {
		return nil
	}
	if s.address.IsValid() {
		if err := r.links.Detach(s.address); err != nil {
			return err
		}
		r.addresses.Free(s.address)
	}
	s.thread.end()
	s.stopped = true
	return nil
}

// RemovePodSandbox forgets a pod, its containers and its files.
func (r *Runtime) RemovePodSandbox(ctx context.Context, id string) error {
	s, err := r.sandbox(id)
	if err != nil {
		return nil
	}
	if err := r.StopPodSandbox(ctx, id); err != nil {
		return err
	}
	for _, c := range r.containersOf(id) {
		if err := r.RemoveContainer(ctx, c.id); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.directory); err != nil {
		return fmt.Errorf("cannot remove the files of pod sandbox %s: %w", id, err)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.sandboxes, id)
	return nil
}

// UpdatePodSandboxResources does nothing: limits are not enforced.
func (r *Runtime) UpdatePodSandboxResources(context.Context, *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
}

// PodSandboxStatus describes a pod.
func (r *Runtime) PodSandboxStatus(_ context.Context, id string, _ bool) (*runtimeapi.PodSandboxStatusResponse, error) {
	s, err := r.sandbox(id)
	if err != nil {
		return nil, err
	}
	network := &runtimeapi.PodSandboxNetworkStatus{}
	if s.address.IsValid() {
		network.Ip = s.address.String()
	}
	return &runtimeapi.PodSandboxStatusResponse{Status: &runtimeapi.PodSandboxStatus{
		Id:             s.id,
		Metadata:       s.config.GetMetadata(),
		State:          s.state(),
		CreatedAt:      s.createdAt,
		Network:        network,
		Linux:          &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{Options: s.namespaces()}},
		Labels:         s.config.GetLabels(),
		Annotations:    s.config.GetAnnotations(),
		RuntimeHandler: s.handler,
	}}, nil
}

// ListPodSandbox lists the pods that pass a filter.
func (r *Runtime) ListPodSandbox(_ context.Context, filter *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var list []*runtimeapi.PodSandbox
	for _, s := range r.sandboxes {
		state := s.state()
		if filter.GetId() != "" && filter.GetId() != s.id ||
			filter.GetState() != nil && filter.GetState().GetState() != state ||
			!hasLabels(s.config.GetLabels(), filter.GetLabelSelector()) {
			continue
		}
		list = append(list, &runtimeapi.PodSandbox{
			Id:             s.id,
			Metadata:       s.config.GetMetadata(),
			State:          state,
			CreatedAt:      s.createdAt,
			Labels:         s.config.GetLabels(),
			Annotations:    s.config.GetAnnotations(),
			RuntimeHandler: s.handler,
		})
	}
	return list, nil
}

func hasLabels(labels, wanted map[string]string) bool {
	for key, value := range wanted {
		if labels[key] != value {
			return false
		}
	}
	return true
}
