// Package autoscale decides which groups of nodes must grow, and which of their
// nodes have work, from what the API says. It does nothing itself.
package autoscale

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resources "k8s.io/component-helpers/resource"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// Group is a kind of node that can be had. Model is an empty one of it.
type Group struct {
	Name  string
	Max   int
	Model *corev1.Node
}

// Machine is a node of a group, starting or running. Machines that are about
// to go are not listed: no pod can count on them.
type Machine struct {
	Name  string
	Group string
}

// Plan is what is missing, and which machines have work or are about to get it.
type Plan struct {
	Add  []Addition
	Busy map[string]bool
}

// Addition is one more node of a group and the first pod that it is for.
type Addition struct {
	Group string
	For   *corev1.Pod
}

var onePod = resource.MustParse("1")

// bin is a machine of the simulation with the resources that are left on it.
type bin struct {
	group Group
	name  string
	free  corev1.ResourceList
}

// Decide puts each pod that cannot be scheduled on the first machine with room
// for it, or on a new one of the first group that may grow and whose nodes it
// fits. Of a pod it looks at node selector, required node affinity,
// tolerations and requests; other reasons for which the scheduler may refuse a
// node are not known to it.
func Decide(groups []Group, machines []Machine, pods []*corev1.Pod) Plan {
	plan := Plan{Busy: map[string]bool{}}
	count := map[string]int{}
	var bins []*bin
	for _, machine := range machines {
		at := slices.IndexFunc(groups, func(group Group) bool { return group.Name == machine.Group })
		if at < 0 {
			continue
		}
		count[machine.Group]++
		room := newBin(groups[at], machine.Name)
		for _, pod := range pods {
			if pod.Spec.NodeName == machine.Name && !ended(pod) {
				room.take(pod)
				plan.Busy[machine.Name] = plan.Busy[machine.Name] || !belongsToNode(pod)
			}
		}
		bins = append(bins, room)
	}
	for _, pod := range waiting(pods) {
		if at := slices.IndexFunc(bins, func(room *bin) bool { return room.fits(pod) }); at >= 0 {
			bins[at].take(pod)
			plan.Busy[bins[at].name] = true
			continue
		}
		for _, group := range groups {
			room := newBin(group, "")
			if count[group.Name] >= group.Max || !room.fits(pod) {
				continue
			}
			room.take(pod)
			bins = append(bins, room)
			count[group.Name]++
			plan.Add = append(plan.Add, Addition{Group: group.Name, For: pod})
			break
		}
	}
	return plan
}

// waiting are the pods for which the scheduler found no node, the oldest first.
func waiting(pods []*corev1.Pod) []*corev1.Pod {
	chosen := slices.DeleteFunc(slices.Clone(pods), func(pod *corev1.Pod) bool { return !unschedulable(pod) })
	slices.SortFunc(chosen, func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return chosen
}

func unschedulable(pod *corev1.Pod) bool {
	if pod.Status.Phase != corev1.PodPending || pod.Spec.NodeName != "" ||
		pod.DeletionTimestamp != nil || len(pod.Spec.SchedulingGates) > 0 {
		return false
	}
	return slices.ContainsFunc(pod.Status.Conditions, func(condition corev1.PodCondition) bool {
		return condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse &&
			condition.Reason == corev1.PodReasonUnschedulable
	})
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// Evictable says whether a pod must leave before its node goes: it has not
// ended, is not leaving, and does not belong to the node itself.
func Evictable(pod *corev1.Pod) bool {
	return !ended(pod) && pod.DeletionTimestamp == nil && !belongsToNode(pod)
}

// belongsToNode says whether a pod is there because the node is.
func belongsToNode(pod *corev1.Pod) bool {
	if _, static := pod.Annotations[corev1.MirrorPodAnnotationKey]; static {
		return true
	}
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "DaemonSet"
}

func newBin(group Group, name string) *bin {
	return &bin{group: group, name: name, free: maps.Clone(group.Model.Status.Allocatable)}
}

func (b *bin) fits(pod *corev1.Pod) bool {
	if match, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(b.group.Model); err != nil || !match {
		return false
	}
	forbids := func(taint *corev1.Taint) bool { return taint.Effect != corev1.TaintEffectPreferNoSchedule }
	_, refused := scheduling.FindMatchingUntoleratedTaint(
		klog.Background(), b.group.Model.Spec.Taints, pod.Spec.Tolerations, forbids, false)
	if refused {
		return false
	}
	for name, wanted := range requests(pod) {
		if free := b.free[name]; !wanted.IsZero() && free.Cmp(wanted) < 0 {
			return false
		}
	}
	return true
}

func (b *bin) take(pod *corev1.Pod) {
	for name, wanted := range requests(pod) {
		free := b.free[name].DeepCopy()
		free.Sub(wanted)
		b.free[name] = free
	}
}

// requests are a pod's, and one of the pods that a node can have.
func requests(pod *corev1.Pod) corev1.ResourceList {
	wanted := resources.PodRequests(pod, resources.PodResourcesOptions{})
	wanted[corev1.ResourcePods] = onePod
	return wanted
}
