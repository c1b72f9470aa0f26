package node

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/cm"
)

const podsGroup = "/pods"

// containerManager pretends the node's devices. Upstream's stub does the rest:
// there are no cgroups to manage.
type containerManager struct {
	cm.ContainerManager
	machine *machine
}

func newContainerManager(machine *machine) *containerManager {
	return &containerManager{ContainerManager: cm.NewStubContainerManager(), machine: machine}
}

// podCgroups answers for cgroups that do not exist.
type podCgroups struct {
	cm.PodContainerManager
}

// GetPodCgroupConfig returns nil: no limits are set.
func (podCgroups) GetPodCgroupConfig(*v1.Pod, v1.ResourceName) (*cm.ResourceConfig, error) {
	return nil, nil
}

// NewPodContainerManager replaces upstream's stub, which has the kubelet log an
// error at every sync of every pod.
func (m *containerManager) NewPodContainerManager() cm.PodContainerManager {
	return podCgroups{m.ContainerManager.NewPodContainerManager()}
}

// GetPodCgroupRoot names the sum of all pods for the kubelet's summary.
func (m *containerManager) GetPodCgroupRoot() string {
	return podsGroup
}

// GetCapacity adds the node's scratch space, the one capacity that the kubelet
// asks for here.
func (m *containerManager) GetCapacity(bool) v1.ResourceList {
	info, err := m.machine.RootFsInfo()
	if err != nil {
		klog.ErrorS(err, "The node's scratch space is unknown")
		return nil
	}
	return v1.ResourceList{v1.ResourceEphemeralStorage: *resource.NewQuantity(int64(info.Capacity), resource.BinarySI)}
}

// GetDevicePluginResourceCapacity reports every resource of the nodes file as a
// device plugin would: extended resources, and processors to the thousandth.
func (m *containerManager) GetDevicePluginResourceCapacity() (capacity, allocatable v1.ResourceList, removed []string) {
	return m.machine.capacity, m.machine.capacity, nil
}
