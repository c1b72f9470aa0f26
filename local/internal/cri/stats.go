package cri

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// clockTick is the unit of processor time in /proc/<pid>/stat.
const clockTick = 10 * time.Millisecond

// usage is what the processes of a PID namespace use. Processor time includes
// that of processes that have ended and were waited for.
type usage struct {
	processor time.Duration
	resident  uint64 // bytes
}

// measure sums the use of all processes a directory like /proc shows, by their
// PID namespace as in "pid:[4026531836]". Processes that end meanwhile are left out.
func measure(proc string) map[string]usage {
	totals := map[string]usage{}
	processes, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	if err != nil {
		return totals
	}
	for _, process := range processes {
		namespace, err := os.Readlink(filepath.Join(process, "ns/pid"))
		if err != nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join(process, "stat"))
		if err != nil {
			continue
		}
		total := totals[namespace]
		one := parseStat(string(data))
		total.processor += one.processor
		total.resident += one.resident
		totals[namespace] = total
	}
	return totals
}

// Fields of /proc/<pid>/stat behind the name: user, system, waited-for user and
// system time in ticks, and resident pages.
const (
	statUser     = 11
	statChildren = 14
	statResident = 21
)

func parseStat(text string) usage {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) <= statResident {
		return usage{}
	}
	var ticks uint64
	for _, field := range fields[statUser : statChildren+1] {
		value, _ := strconv.ParseUint(field, 10, 64)
		ticks += value
	}
	pages, _ := strconv.ParseUint(fields[statResident], 10, 64)
	return usage{processor: time.Duration(ticks) * clockTick, resident: pages * uint64(os.Getpagesize())}
}

func (c *container) stats(totals map[string]usage) *runtimeapi.ContainerStats {
	stats := &runtimeapi.ContainerStats{Attributes: &runtimeapi.ContainerAttributes{
		Id:          c.id,
		Metadata:    c.config.GetMetadata(),
		Labels:      c.config.GetLabels(),
		Annotations: c.config.GetAnnotations(),
	}}
	c.mutex.Lock()
	process := c.process
	c.mutex.Unlock()
	if process == nil {
		return stats
	}
	namespace, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(process.Pid), "ns/pid"))
	if err != nil {
		return stats
	}
	stats.Cpu, stats.Memory = describeUsage(totals[namespace])
	return stats
}

func describeUsage(used usage) (*runtimeapi.CpuUsage, *runtimeapi.MemoryUsage) {
	at := now()
	bytes := &runtimeapi.UInt64Value{Value: used.resident}
	return &runtimeapi.CpuUsage{
			Timestamp:            at,
			UsageCoreNanoSeconds: &runtimeapi.UInt64Value{Value: uint64(used.processor)},
		}, &runtimeapi.MemoryUsage{
			Timestamp:       at,
			WorkingSetBytes: bytes,
			UsageBytes:      bytes,
			RssBytes:        bytes,
		}
}

// running measures the running containers of a pod, or of all pods.
func (r *Runtime) running(sandboxID string, totals map[string]usage) []*runtimeapi.ContainerStats {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var list []*runtimeapi.ContainerStats
	for _, c := range r.containers {
		if sandboxID != "" && sandboxID != c.sandbox.id || c.currentState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
			continue
		}
		list = append(list, c.stats(totals))
	}
	return list
}

// ContainerStats measures a container.
func (r *Runtime) ContainerStats(_ context.Context, id string) (*runtimeapi.ContainerStats, error) {
	c, err := r.container(id)
	if err != nil {
		return nil, err
	}
	return c.stats(measure("/proc")), nil
}

// ListContainerStats measures the running containers that pass a filter.
func (r *Runtime) ListContainerStats(_ context.Context, filter *runtimeapi.ContainerStatsFilter) ([]*runtimeapi.ContainerStats, error) {
	return slices.DeleteFunc(r.running(filter.GetPodSandboxId(), measure("/proc")), func(stats *runtimeapi.ContainerStats) bool {
		return filter.GetId() != "" && filter.GetId() != stats.Attributes.Id ||
			!hasLabels(stats.Attributes.Labels, filter.GetLabelSelector())
	}), nil
}

// PodSandboxStats measures a pod.
func (r *Runtime) PodSandboxStats(_ context.Context, id string) (*runtimeapi.PodSandboxStats, error) {
	s, err := r.sandbox(id)
	if err != nil {
		return nil, err
	}
	return s.stats(r.running(id, measure("/proc"))), nil
}

// ListPodSandboxStats measures the ready pods that pass a filter.
func (r *Runtime) ListPodSandboxStats(ctx context.Context, filter *runtimeapi.PodSandboxStatsFilter) ([]*runtimeapi.PodSandboxStats, error) {
	ready, err := r.ListPodSandbox(ctx, &runtimeapi.PodSandboxFilter{
		Id:            filter.GetId(),
		LabelSelector: filter.GetLabelSelector(),
		State:         &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY},
	})
	if err != nil {
		return nil, err
	}
	totals := measure("/proc")
	var list []*runtimeapi.PodSandboxStats
	for _, pod := range ready {
		if s, err := r.sandbox(pod.Id); err == nil {
			list = append(list, s.stats(r.running(pod.Id, totals)))
		}
	}
	return list, nil
}

func (s *sandbox) stats(containers []*runtimeapi.ContainerStats) *runtimeapi.PodSandboxStats {
	var total usage
	for _, c := range containers {
		total.processor += time.Duration(c.GetCpu().GetUsageCoreNanoSeconds().GetValue())
		total.resident += c.GetMemory().GetUsageBytes().GetValue()
	}
	stats := &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{
			Id:          s.id,
			Metadata:    s.config.GetMetadata(),
			Labels:      s.config.GetLabels(),
			Annotations: s.config.GetAnnotations(),
		},
		Linux: &runtimeapi.LinuxPodSandboxStats{Containers: containers},
	}
	stats.Linux.Cpu, stats.Linux.Memory = describeUsage(total)
	return stats
}

// ListMetricDescriptors says that there are no metrics besides the stats.
func (r *Runtime) ListMetricDescriptors(context.Context) ([]*runtimeapi.MetricDescriptor, error) {
	return nil, nil
}

// ListPodSandboxMetrics says that there are no metrics besides the stats.
func (r *Runtime) ListPodSandboxMetrics(context.Context) ([]*runtimeapi.PodSandboxMetrics, error) {
	return nil, nil
}
