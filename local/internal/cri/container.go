package cri

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// startErrorCode is the exit code of a container whose program could not be run.
const startErrorCode = 128

// container is one process of a pod, from its creation to its removal.
type container struct {
	id        string
	sandbox   *sandbox
	config    *runtimeapi.ContainerConfig
	imageID   string
	createdAt int64
	directory string
	logPath   string
	order     order
	done      chan struct{} // closed when the process has ended

	// launching is held while the process is started, so that it is signalled
	// before or after but not meanwhile. It is taken before mutex.
	launching sync.Mutex

	mutex   sync.Mutex // of what follows
	log     *logFile
	process *os.Process // while it runs
	state   runtimeapi.ContainerState
	end     ending
	// startedAt is nanoseconds since the epoch, 0 before the start.
	startedAt int64
}

// ending is how a container ended.
type ending struct {
	at      int64
	code    int32
	reason  string
	message string
}

func (c *container) security() *runtimeapi.LinuxContainerSecurityContext {
	return c.config.GetLinux().GetSecurityContext()
}

// CreateContainer plans a container. Nothing runs before StartContainer.
func (r *Runtime) CreateContainer(_ context.Context, sandboxID string, config *runtimeapi.ContainerConfig, sandboxConfig *runtimeapi.PodSandboxConfig) (string, error) {
	s, err := r.sandbox(sandboxID)
	if err != nil {
		return "", err
	}
	image, ok, err := r.images.find(config.GetImage().GetImage())
	if err != nil {
		return "", err
	}
	if !ok {
		return "", status.Errorf(codes.NotFound, "the image map %s no longer has the image %s", r.images.file, config.GetImage().GetUserSpecifiedImage())
	}
	args := commandLine(image, config)
	if len(args) == 0 {
		return "", status.Errorf(codes.InvalidArgument, "the container has no command and the image %q no entrypoint: add one of them", image.Name)
	}
	id := newID()
	c := &container{
		id:        id,
		sandbox:   s,
		config:    config,
		imageID:   imageID(image),
		createdAt: now(),
		directory: r.directory("containers", id),
		done:      make(chan struct{}),
		state:     runtimeapi.ContainerState_CONTAINER_CREATED,
	}
	if config.GetLogPath() != "" {
		c.logPath = filepath.Join(sandboxConfig.GetLogDirectory(), config.GetLogPath())
	}
	c.order = order{
		Root:        filepath.Join(c.directory, "root"),
		Args:        args,
		Environment: environment(image, config, s.hostname),
		Directory:   workingDirectory(image, config),
		Drop:        droppedCapabilities(c.security()),
		NoNewPrivs:  c.security().GetNoNewPrivs(),
	}
	volumes, err := c.volumes()
	if err != nil {
		return "", err
	}
	c.order.Steps, err = planRoot(hostFS{}, image.Roots, volumes, c.order.Directory, c.security().GetReadonlyRootfs())
	if err != nil {
		return "", status.Error(codes.InvalidArgument, err.Error())
	}
	if err := os.MkdirAll(c.order.Root, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the directory of the container: %w", err)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.containers[id] = c
	return id, nil
}

// volumes are the pod's own files and what the kubelet asks to mount.
func (c *container) volumes() ([]volume, error) {
	volumes := []volume{
		{source: filepath.Join(c.sandbox.directory, "resolv.conf"), target: "/etc/resolv.conf"},
		{source: filepath.Join(c.sandbox.directory, "hostname"), target: "/etc/hostname"},
	}
	for _, mount := range c.config.GetMounts() {
		if mount.GetImage().GetImage() != "" {
			return nil, status.Errorf(codes.Unimplemented, "the image volume at %s is not supported by localcluster", mount.GetContainerPath())
		}
		info, err := os.Stat(mount.GetHostPath())
		if err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "cannot mount a volume at %s: %v", mount.GetContainerPath(), err)
		}
		volumes = append(volumes, volume{
			source:    mount.GetHostPath(),
			target:    mount.GetContainerPath(),
			readOnly:  mount.GetReadonly(),
			directory: info.IsDir(),
		})
	}
	return volumes, nil
}

// StopContainer ends a container's process: its stop signal first and, after
// timeout seconds, SIGKILL. Stopping one that is gone or not running is no error.
func (r *Runtime) StopContainer(ctx context.Context, id string, timeout int64) error {
	c, err := r.container(id)
	if err != nil {
		return nil
	}
	if timeout > 0 {
		if err := c.signal(c.stopSignal()); err != nil {
			return err
		}
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(timeout) * time.Second):
		}
	}
	return c.kill()
}

func (c *container) stopSignal() syscall.Signal {
	if signal := unix.SignalNum(c.config.GetStopSignal().String()); signal != 0 {
		return signal
	}
	return unix.SIGTERM
}

// signal sends a signal to the process. A container that was never started ends.
func (c *container) signal(signal syscall.Signal) error {
	c.launching.Lock()
	defer c.launching.Unlock()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch c.state {
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		if err := c.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("cannot send %s to container %s: %w", signal, c.id, err)
		}
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		c.finish(ending{at: now(), code: startErrorCode, reason: "Error", message: "the container was stopped before it started"})
	}
	return nil
}

// kill ends the process, and with it its PID namespace, and waits for that.
func (c *container) kill() error {
	if err := c.signal(unix.SIGKILL); err != nil {
		return err
	}
	<-c.done
	return nil
}

// finish records how the container ended. The caller holds the mutex.
func (c *container) finish(end ending) {
	c.state = runtimeapi.ContainerState_CONTAINER_EXITED
	c.end = end
	c.process = nil
	if c.log != nil {
		c.log.close()
	}
	close(c.done)
}

// RemoveContainer kills a container if it runs, and forgets it and its files.
func (r *Runtime) RemoveContainer(_ context.Context, id string) error {
	c, err := r.container(id)
	if err != nil {
		return nil
	}
	if err := c.kill(); err != nil {
		return err
	}
	if err := os.RemoveAll(c.directory); err != nil {
		return fmt.Errorf("cannot remove the files of container %s: %w", id, err)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.containers, id)
	return nil
}

func (r *Runtime) containersOf(sandboxID string) []*container {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var list []*container
	for _, c := range r.containers {
		if c.sandbox.id == sandboxID {
			list = append(list, c)
		}
	}
	return list
}
