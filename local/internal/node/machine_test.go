package node

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"modelservice.dev/local/internal/spec"
)

func TestCapacityHoldsTheNodesFileAndDefaults(t *testing.T) {
	capacity, err := ParseCapacity(map[string]string{"cpu": "1500m", "nvidia.com/gpu": "4"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[v1.ResourceName]string{"cpu": "1500m", "nvidia.com/gpu": "4", "pods": "110"} {
		if got := capacity[name]; got.Cmp(resource.MustParse(want)) != 0 {
			t.Errorf("%s is %s, want %s", name, got.String(), want)
		}
	}
	if memory := capacity[v1.ResourceMemory]; memory.Sign() <= 0 {
		t.Errorf("the memory is %s", memory.String())
	}
	capacity, err = ParseCapacity(nil)
	if err != nil {
		t.Fatal(err)
	}
	if cpu := capacity[v1.ResourceCPU]; cpu.Value() != int64(runtime.NumCPU()) {
		t.Errorf("the default of cpu is %s", cpu.String())
	}
}

func TestABadQuantityIsNamed(t *testing.T) {
	_, err := ParseCapacity(map[string]string{"memory": "much"})
	if err == nil || !strings.Contains(err.Error(), `the capacity of memory, "much"`) {
		t.Fatalf("got the error %v", err)
	}
}

func TestTheDistributionIsReadWithAndWithoutQuotes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "os-release")
	for text, want := range map[string]string{
		"ID=x\nPRETTY_NAME=\"Some Linux 1\"\n": "Some Linux 1",
		"PRETTY_NAME=Plain":                    "Plain",
		"ID=x\n":                               "Linux",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := distribution(file); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTheMachineReportsEveryResourceAndItsScratchSpace(t *testing.T) {
	capacity, err := ParseCapacity(map[string]string{"cpu": "2500m", "memory": "4Gi", "google.com/tpu": "8"})
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{name: "node-0", capacity: capacity}
	info, err := m.MachineInfo()
	if err != nil || info.NumCores != 3 || info.MemoryCapacity != 4<<30 {
		t.Errorf("got %+v, %v", info, err)
	}
	_, allocatable, removed := newContainerManager(m).GetDevicePluginResourceCapacity()
	if tpu := allocatable["google.com/tpu"]; tpu.Value() != 8 || len(removed) > 0 {
		t.Errorf("got %v, %v", allocatable, removed)
	}
	space, err := m.GetDirFsInfo(t.TempDir())
	if err != nil || space.Capacity == 0 || space.Available > space.Capacity {
		t.Errorf("got %+v, %v", space, err)
	}
}

func TestTheKubeletRegistersWithLabelsTaintsAndItsAddress(t *testing.T) {
	capacity, err := ParseCapacity(map[string]string{"pods": "7"})
	if err != nil {
		t.Fatal(err)
	}
	server, err := kubeletServer(Options{
		Name: "node-0", IP: "10.99.0.10", Labels: map[string]string{"pool": "a"},
		Taints: []spec.Taint{{Key: "k", Value: "v", Effect: "NoExecute"}},
	}, &machine{capacity: capacity}, "/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	if server.HostnameOverride != "node-0" || server.Address != "10.99.0.10" || server.NodeLabels["pool"] != "a" || server.MaxPods != 7 {
		t.Errorf("got %+v", server)
	}
	if want := (v1.Taint{Key: "k", Value: "v", Effect: v1.TaintEffectNoExecute}); len(server.RegisterWithTaints) != 1 || server.RegisterWithTaints[0] != want {
		t.Errorf("the taints are %v", server.RegisterWithTaints)
	}
}
