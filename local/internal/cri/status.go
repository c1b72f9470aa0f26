package cri

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (c *container) image() *runtimeapi.ImageSpec {
	name := c.config.GetImage().GetUserSpecifiedImage()
	if name == "" {
		name = c.config.GetImage().GetImage()
	}
	return &runtimeapi.ImageSpec{Image: name, UserSpecifiedImage: name}
}

// ContainerStatus describes a container.
func (r *Runtime) ContainerStatus(_ context.Context, id string, _ bool) (*runtimeapi.ContainerStatusResponse, error) {
	c, err := r.container(id)
	if err != nil {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{
		Id:          c.id,
		Metadata:    c.config.GetMetadata(),
		State:       c.state,
		CreatedAt:   c.createdAt,
		StartedAt:   c.startedAt,
		FinishedAt:  c.end.at,
		ExitCode:    c.end.code,
		Reason:      c.end.reason,
		Message:     c.end.message,
		Image:       c.image(),
		ImageRef:    c.imageID,
		ImageId:     c.imageID,
		Labels:      c.config.GetLabels(),
		Annotations: c.config.GetAnnotations(),
		Mounts:      c.config.GetMounts(),
		LogPath:     c.logPath,
		StopSignal:  c.config.GetStopSignal(),
	}}, nil
}

// ListContainers lists the containers that pass a filter.
func (r *Runtime) ListContainers(_ context.Context, filter *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var list []*runtimeapi.Container
	for _, c := range r.containers {
		state := c.currentState()
		if filter.GetId() != "" && filter.GetId() != c.id ||
			filter.GetPodSandboxId() != "" && filter.GetPodSandboxId() != c.sandbox.id ||
			filter.GetState() != nil && filter.GetState().GetState() != state ||
			!hasLabels(c.config.GetLabels(), filter.GetLabelSelector()) {
			continue
		}
		list = append(list, &runtimeapi.Container{
			Id:           c.id,
			PodSandboxId: c.sandbox.id,
			Metadata:     c.config.GetMetadata(),
			Image:        c.image(),
			ImageRef:     c.imageID,
			ImageId:      c.imageID,
			State:        state,
			CreatedAt:    c.createdAt,
			Labels:       c.config.GetLabels(),
			Annotations:  c.config.GetAnnotations(),
		})
	}
	return list, nil
}

func (c *container) currentState() runtimeapi.ContainerState {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.state
}

// ReopenContainerLog continues a container's log in a new file.
func (r *Runtime) ReopenContainerLog(_ context.Context, id string) error {
	c, err := r.container(id)
	if err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING || c.log == nil {
		return status.Errorf(codes.FailedPrecondition, "container %s writes no log", id)
	}
	return c.log.reopen()
}

// UpdateContainerResources does nothing: limits are not enforced.
func (r *Runtime) UpdateContainerResources(context.Context, string, *runtimeapi.ContainerResources) error {
	return nil
}

// CheckpointContainer is not possible.
func (r *Runtime) CheckpointContainer(context.Context, *runtimeapi.CheckpointContainerRequest) error {
	return status.Error(codes.Unimplemented, "checkpoints are not supported by localcluster")
}

// GetContainerEvents is not offered: the kubelet lists containers instead.
func (r *Runtime) GetContainerEvents(context.Context, chan *runtimeapi.ContainerEventResponse, func(runtimeapi.RuntimeService_GetContainerEventsClient)) error {
	return status.Error(codes.Unimplemented, "container events are not supported by localcluster")
}
