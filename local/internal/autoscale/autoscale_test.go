package autoscale

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"modelservice.dev/local/internal/spec"
)

const devices = corev1.ResourceName("nvidia.com/gpu")

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newGroup(name string, most int) Group {
	return Group{Name: name, Max: most, Model: &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pool": name}},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: "pool", Value: name, Effect: corev1.TaintEffectNoExecute}}},
		Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourcePods: resource.MustParse("3"),
			devices: resource.MustParse("2"),
		}},
	}}
}

// newPod is a pod for the group's nodes that the scheduler refused.
func newPod(name, group, gpus string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "a", CreationTimestamp: metav1.NewTime(epoch)},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"pool": group},
			Tolerations:  []corev1.Toleration{{Key: "pool", Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{devices: resource.MustParse(gpus)},
			}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable},
		}},
	}
	for _, change := range change {
		change(pod)
	}
	return pod
}

func on(node string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.NodeName = node
		pod.Status.Phase = corev1.PodRunning
	}
}

func added(plan Plan) []string {
	var names []string
	for _, addition := range plan.Add {
		names = append(names, addition.Group+" for "+addition.For.Name)
	}
	return names
}

func TestWhichPodsMakeAGroupGrow(t *testing.T) {
	affinity := func(operator corev1.NodeSelectorOperator) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
					NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
						{Key: "pool", Operator: operator, Values: []string{"gpu"}},
					}}},
				},
			}}
		}
	}
	cases := map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"one that fits":        {newPod("p", "gpu", "2"), true},
		"one too large":        {newPod("p", "gpu", "3"), false},
		"another label":        {newPod("p", "cpu", "1"), false},
		"a matching affinity":  {newPod("p", "gpu", "1", affinity(corev1.NodeSelectorOpIn)), true},
		"a repelling affinity": {newPod("p", "gpu", "1", affinity(corev1.NodeSelectorOpNotIn)), false},
		"no toleration":        {newPod("p", "gpu", "1", func(p *corev1.Pod) { p.Spec.Tolerations = nil }), false},
		"a gated one": {newPod("p", "gpu", "1", func(p *corev1.Pod) {
			p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/gate"}}
		}), false},
		"one not yet tried": {newPod("p", "gpu", "1", func(p *corev1.Pod) { p.Status.Conditions = nil }), false},
		"one refused for another reason": {newPod("p", "gpu", "1", func(p *corev1.Pod) {
			p.Status.Conditions[0].Reason = corev1.PodReasonSchedulerError
		}), false},
		"one that is leaving": {newPod("p", "gpu", "1", func(p *corev1.Pod) {
			p.DeletionTimestamp = &metav1.Time{Time: epoch}
		}), false},
		"one that runs elsewhere": {newPod("p", "gpu", "1", on("plain")), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			plan := Decide([]Group{newGroup("gpu", 2)}, nil, []*corev1.Pod{c.pod})
			if got := len(plan.Add) == 1; got != c.want {
				t.Errorf("it adds %v", added(plan))
			}
		})
	}
}

func TestPodsSharePendingAndFreeNodesBeforeNewOnesAreAdded(t *testing.T) {
	groups := []Group{newGroup("gpu", 5)}
	pods := []*corev1.Pod{
		newPod("runs", "gpu", "1", on("gpu-0")),
		newPod("a", "gpu", "1"), newPod("b", "gpu", "1"), newPod("c", "gpu", "1"), newPod("d", "gpu", "2"),
	}
	plan := Decide(groups, []Machine{{"gpu-0", "gpu"}, {"gpu-1", "gpu"}}, pods)
	if got := added(plan); !slices.Equal(got, []string{"gpu for d"}) {
		t.Errorf("it adds %v", got)
	}
	if !plan.Busy["gpu-0"] || !plan.Busy["gpu-1"] {
		t.Errorf("busy are %v", plan.Busy)
	}
}

func TestTheNumberOfPodsOfANodeIsBounded(t *testing.T) {
	var pods []*corev1.Pod
	for i := range 7 {
		pods = append(pods, newPod(fmt.Sprint(i), "gpu", "0"))
	}
	plan := Decide([]Group{newGroup("gpu", 5)}, nil, pods)
	if got := added(plan); !slices.Equal(got, []string{"gpu for 0", "gpu for 3", "gpu for 6"}) {
		t.Errorf("it adds %v", got)
	}
}

func TestAFullGroupPassesItsPodsToTheNextOne(t *testing.T) {
	first, second := newGroup("gpu", 1), newGroup("gpu", 2)
	second.Name = "dear"
	pods := []*corev1.Pod{newPod("a", "gpu", "2"), newPod("b", "gpu", "2"), newPod("c", "gpu", "2"), newPod("d", "gpu", "2")}
	plan := Decide([]Group{first, second}, nil, pods)
	if got := added(plan); !slices.Equal(got, []string{"gpu for a", "dear for b", "dear for c"}) {
		t.Errorf("it adds %v", got)
	}
}

func TestTheOldestPodComesFirst(t *testing.T) {
	late := newPod("a", "gpu", "2", func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(epoch.Add(time.Second)) })
	plan := Decide([]Group{newGroup("gpu", 1)}, nil, []*corev1.Pod{late, newPod("b", "gpu", "2")})
	if got := added(plan); !slices.Equal(got, []string{"gpu for b"}) {
		t.Errorf("it adds %v", got)
	}
}

func TestOnlyPodsThatDoNotBelongToTheNodeKeepItBusy(t *testing.T) {
	controlled := func(kind string) func(*corev1.Pod) {
		yes := true
		return func(pod *corev1.Pod) {
			pod.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Controller: &yes}}
		}
	}
	cases := map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"a ReplicaSet's": {newPod("p", "gpu", "1", on("gpu-0"), controlled("ReplicaSet")), true},
		"a DaemonSet's":  {newPod("p", "gpu", "1", on("gpu-0"), controlled("DaemonSet")), false},
		"a static one": {newPod("p", "gpu", "1", on("gpu-0"), func(p *corev1.Pod) {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		}), false},
		"one that has ended": {newPod("p", "gpu", "1", on("gpu-0"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			plan := Decide([]Group{newGroup("gpu", 1)}, []Machine{{"gpu-0", "gpu"}}, []*corev1.Pod{c.pod})
			if plan.Busy["gpu-0"] != c.want {
				t.Errorf("busy is %v", plan.Busy)
			}
			if Evictable(c.pod) != c.want {
				t.Errorf("evictable is %v", Evictable(c.pod))
			}
		})
	}
}

func TestLivesAreExponentialAndTheSameForTheSameSeed(t *testing.T) {
	spot := spec.Spot{MeanLifeSeconds: 100, Seed: 7}
	var sum time.Duration
	longer := 0
	const count = 4000
	for number := range count {
		life := Life(spot, number)
		if life != Life(spot, number) {
			t.Fatalf("life %d differs from itself", number)
		}
		sum += life
		if life > 100*time.Second {
			longer++
		}
	}
	if mean := sum.Seconds() / count; mean < 95 || mean > 105 {
		t.Errorf("the mean is %.1f s", mean)
	}
	if share := float64(longer) / count; share < 0.34 || share > 0.40 { // 1/e
		t.Errorf("%.3f live longer than the mean", share)
	}
	if other := (spec.Spot{MeanLifeSeconds: 100, Seed: 8}); Life(other, 0) == Life(spot, 0) {
		t.Error("another seed gives the same life")
	}
}
