package main_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const groupsFile = `
nodes:
  - name: plain
    capacity: {cpu: "4", memory: 4Gi, pods: "20"}
groups:
  - name: spot
    max: 2
    startSeconds: 1
    idleSeconds: 3
    spot: {meanLifeSeconds: 100000, warningSeconds: 4, seed: 3}
    template:
      labels: {pool: gpu}
      taints: [{key: example.com/pool, value: gpu, effect: NoExecute}]
      capacity: {cpu: "4", memory: 4Gi, pods: "20", nvidia.com/gpu: "1"}
  - name: brief
    min: 1
    max: 1
    spot: {meanLifeSeconds: 1, seed: 3}
`

const device = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: work}
spec:
  selector: {matchLabels: {app: work}}
  template:
    metadata: {labels: {app: work}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeSelector: {pool: gpu}
      tolerations: [{key: example.com/pool, operator: Exists}]
      containers:
        - {name: work, image: test/shell, command: [sleep, "1000"], resources: {limits: {nvidia.com/gpu: "1"}}}
`

func (m machine) nodesOf(t *testing.T, group string) []string {
	t.Helper()
	return strings.Fields(m.run(t, "kubectl", "get", "nodes", "-l", "localcluster/group="+group,
		"-o", "jsonpath={.items[*].metadata.name}"))
}

func TestNodesOfGroupsComeAndGoWithTheirPods(t *testing.T) {
	m := newMachine(t)
	if err := os.WriteFile(m.nodes, []byte(groupsFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if output := m.up(t); !strings.Contains(output, "2 nodes") {
		t.Errorf("up says\n%s", output)
	}
	t.Run("a spot node dies and the least number is restored under another name", func(t *testing.T) {
		await(t, "the third brief node", func() bool {
			names := m.nodesOf(t, "brief")
			return len(names) == 1 && names[0] != "brief-0" && names[0] != "brief-1"
		})
	})
	t.Run("a pod without a node gets one, and a full one another", func(t *testing.T) {
		if output, err := m.try(device, "kubectl", "apply", "-f", "-"); err != nil {
			t.Fatal(output)
		}
		m.run(t, "kubectl", "rollout", "status", "deployment/work", "--timeout=60s")
		if names := m.nodesOf(t, "spot"); fmt.Sprint(names) != "[spot-0]" {
			t.Errorf("the nodes are %v", names)
		}
		events := m.run(t, "kubectl", "get", "events", "--field-selector", "reason=TriggeredScaleUp")
		if !strings.Contains(events, "The group spot gets the node spot-0 in 1 s.") {
			t.Errorf("the events are\n%s", events)
		}
		m.run(t, "kubectl", "scale", "deployment/work", "--replicas=2")
		m.run(t, "kubectl", "rollout", "status", "deployment/work", "--timeout=60s")
		if names := m.nodesOf(t, "spot"); len(names) != 2 {
			t.Errorf("the nodes are %v", names)
		}
	})
	t.Run("a preempted node warns, evicts and goes, and its pod moves", func(t *testing.T) {
		victim := m.run(t, "kubectl", "get", "pods", "-o", "jsonpath={.items[?(@.spec.nodeName==\"spot-0\")].metadata.name}")
		// The finalizer keeps the pod so that its end can be looked at.
		m.run(t, "kubectl", "patch", "pod", victim, "-p", `{"metadata":{"finalizers":["example.com/look"]}}`)
		output := m.run(t, "preempt", "spot-0")
		if !strings.Contains(output, "node spot-0 is warned") || !strings.Contains(output, "node spot-0 is gone after") {
			t.Errorf("preempt says\n%s", output)
		}
		seen := m.run(t, "kubectl", "get", "pod", victim, "-o",
			`jsonpath={.status.conditions[?(@.type=="DisruptionTarget")].reason} {.status.phase}`)
		if seen != "EvictionByEvictionAPI Failed" {
			t.Errorf("the pod shows %q", seen)
		}
		m.run(t, "kubectl", "patch", "pod", victim, "-p", `{"metadata":{"finalizers":null}}`)
		m.run(t, "kubectl", "rollout", "status", "deployment/work", "--timeout=60s")
		if _, known := m.processes(t)["node-spot-0"]; known {
			t.Error("the node's process is still known")
		}
		if output, err := m.try("", "preempt", "spot-0"); err == nil || !strings.Contains(output, "is not a node that this cluster runs") {
			t.Errorf("the second time it says %q", output)
		}
	})
	t.Run("a node that ends by itself is removed", func(t *testing.T) {
		names := m.nodesOf(t, "spot")
		kill(t, m.processes(t)["node-"+names[0]].pid)
		await(t, "the end of its Node", func() bool {
			return !strings.Contains(strings.Join(m.nodesOf(t, "spot"), " "), names[0])
		})
	})
	t.Run("idle nodes go", func(t *testing.T) {
		m.run(t, "kubectl", "delete", "deployment", "work")
		await(t, "the end of all nodes of the group", func() bool { return len(m.nodesOf(t, "spot")) == 0 })
	})
	t.Run("a node that always runs can be preempted until the next up", func(t *testing.T) {
		m.run(t, "preempt", "plain", "--warning-seconds", "0")
		m.run(t, "down")
		m.up(t)
		m.run(t, "kubectl", "wait", "--for=condition=Ready", "node/plain", "--timeout=60s")
		if names := m.nodesOf(t, "spot"); len(names) > 0 {
			t.Errorf("nodes of the earlier start are left: %v", names)
		}
	})
}
