package node

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	cadvisorapi "github.com/google/cadvisor/info/v1"
	cadvisorapiv2 "github.com/google/cadvisor/info/v2"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"

	"modelservice.dev/local/internal/cri"
)

const defaultPods = 110

// machine tells the kubelet what the pretended machine has and what the node's
// pods use of it.
type machine struct {
	name     string
	capacity v1.ResourceList
	runtime  *cri.Runtime
}

var _ cadvisor.Interface = (*machine)(nil)

// ParseCapacity reads the quantities of a nodes file and adds the defaults of
// cpu, memory and pods.
func ParseCapacity(texts map[string]string) (v1.ResourceList, error) {
	memory, err := machineMemory()
	if err != nil {
		return nil, err
	}
	capacity := v1.ResourceList{
		v1.ResourceCPU:    *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
		v1.ResourceMemory: *resource.NewQuantity(memory, resource.BinarySI),
		v1.ResourcePods:   *resource.NewQuantity(defaultPods, resource.DecimalSI),
	}
	for name, text := range texts {
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, fmt.Errorf("the capacity of %s, %q, is not a quantity such as 4 or 16Gi", name, text)
		}
		capacity[v1.ResourceName(name)] = quantity
	}
	return capacity, nil
}

func machineMemory() (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("cannot measure the machine's memory: %w", err)
	}
	return int64(info.Totalram) * int64(info.Unit), nil
}

func (m *machine) pods() int64 {
	pods := m.capacity[v1.ResourcePods]
	return pods.Value()
}

// Start has nothing to start: everything is measured when it is asked for.
func (m *machine) Start() error {
	return nil
}

// MachineInfo describes the pretended machine.
func (m *machine) MachineInfo() (*cadvisorapi.MachineInfo, error) {
	cpu, memory := m.capacity[v1.ResourceCPU], m.capacity[v1.ResourceMemory]
	return &cadvisorapi.MachineInfo{
		NumCores:       int(cpu.Value()),
		MemoryCapacity: uint64(memory.Value()),
		MachineID:      m.name,
		SystemUUID:     m.name,
		BootID:         fmt.Sprintf("%s-%d", m.name, os.Getpid()),
		InstanceID:     cadvisorapi.InstanceID(m.name),
	}, nil
}

// VersionInfo names the kernel and the distribution of the real machine.
func (m *machine) VersionInfo() (*cadvisorapi.VersionInfo, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("cannot find the kernel's version: %w", err)
	}
	return &cadvisorapi.VersionInfo{
		KernelVersion:      unix.ByteSliceToString(name.Release[:]),
		ContainerOsVersion: distribution("/etc/os-release"),
	}, nil
}

func distribution(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "Linux"
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"'`)
		}
	}
	return "Linux"
}

// ContainerInfoV2 measures the node as a whole, which is the sum of its pods,
// under whatever name it is asked for.
func (m *machine) ContainerInfoV2(name string, _ cadvisorapiv2.RequestOptions) (map[string]cadvisorapiv2.ContainerInfo, error) {
	pods, err := m.runtime.ListPodSandboxStats(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	var processor, memory uint64
	for _, pod := range pods {
		processor += pod.GetLinux().GetCpu().GetUsageCoreNanoSeconds().GetValue()
		memory += pod.GetLinux().GetMemory().GetUsageBytes().GetValue()
	}
	now := time.Now()
	stats := &cadvisorapiv2.ContainerStats{
		Timestamp: now,
		Cpu:       &cadvisorapi.CpuStats{Usage: cadvisorapi.CpuUsage{Total: processor}},
		Memory:    &cadvisorapi.MemoryStats{Usage: memory, WorkingSet: memory, RSS: memory},
	}
	capacity := m.capacity[v1.ResourceMemory]
	return map[string]cadvisorapiv2.ContainerInfo{name: {
		Spec: cadvisorapiv2.ContainerSpec{
			CreationTime: now,
			HasCpu:       true,
			HasMemory:    true,
			Memory:       cadvisorapiv2.MemorySpec{Limit: uint64(capacity.Value())},
		},
		Stats: []*cadvisorapiv2.ContainerStats{stats},
	}}, nil
}

// GetRequestedContainersInfo has no containers: the runtime measures them.
func (m *machine) GetRequestedContainersInfo(string, cadvisorapiv2.RequestOptions) (map[string]*cadvisorapi.ContainerInfo, error) {
	return map[string]*cadvisorapi.ContainerInfo{}, nil
}

// RootFsInfo measures the file system of the node's files.
func (m *machine) RootFsInfo() (cadvisorapiv2.FsInfo, error) {
	return m.GetDirFsInfo(place)
}

// ImagesFsInfo measures the file system of the node's files, where images would be.
func (m *machine) ImagesFsInfo(context.Context) (cadvisorapiv2.FsInfo, error) {
	return m.GetDirFsInfo(place)
}

// ContainerFsInfo measures the file system of the node's files.
func (m *machine) ContainerFsInfo(context.Context) (cadvisorapiv2.FsInfo, error) {
	return m.GetDirFsInfo(place)
}

// GetDirFsInfo measures the file system of a directory, in bytes and inodes.
func (m *machine) GetDirFsInfo(directory string) (cadvisorapiv2.FsInfo, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(directory, &stat); err != nil {
		return cadvisorapiv2.FsInfo{}, fmt.Errorf("cannot measure the file system of %s: %w", directory, err)
	}
	block := uint64(stat.Bsize)
	inodes, free := stat.Files, stat.Ffree
	return cadvisorapiv2.FsInfo{
		Timestamp:  time.Now(),
		Device:     directory,
		Mountpoint: directory,
		Capacity:   stat.Blocks * block,
		Available:  stat.Bavail * block,
		Usage:      (stat.Blocks - stat.Bfree) * block,
		Inodes:     &inodes,
		InodesFree: &free,
	}, nil
}
