// Package fleet adds and removes the nodes of groups, and takes nodes away when
// it is asked to.
package fleet

import (
	"context"
	"fmt"
	"log"
	"runtime"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"

	"modelservice.dev/local/internal/autoscale"
	"modelservice.dev/local/internal/spec"
)

const (
	// GroupLabel is a label of each node of a group.
	GroupLabel = "localcluster/group"
	// PreemptAnnotation on a Node asks that it be taken away. Its value is the
	// warning in seconds; empty is the group's own.
	PreemptAnnotation = "localcluster/preempt"
	// DefaultWarning is that of nodes whose group gives none.
	DefaultWarning = 30 * time.Second

	tick = 500 * time.Millisecond
)

// Machines start and end the processes of nodes.
type Machines interface {
	// Start starts a node with the slot-th address and pod network.
	Start(ctx context.Context, slot int, node spec.Node) error
	// Has says whether a node was started and not removed.
	Has(name string) bool
	// Ended says whether a node that was started has ended.
	Ended(name string) bool
	// Remove kills a node, if it runs, and removes its files.
	Remove(ctx context.Context, name string) error
}

// Capacity completes the quantities of a template by those that a node has
// without it.
type Capacity func(texts map[string]string) (corev1.ResourceList, error)

// member is a node of a group. It is booting until it has started.
type member struct {
	name      string
	group     int
	slot      int
	boots     time.Time
	started   bool
	seen      bool
	idleSince time.Time
	dies      time.Time // zero: never
	leaving   bool
}

// Fleet is the nodes of all groups. One goroutine uses it.
type Fleet struct {
	client   kubernetes.Interface
	machines Machines
	groups   []spec.Group
	models   []autoscale.Group
	numbers  *numbers
	slots    []bool
	first    int
	members  []*member
	leaving  map[string]bool // names are not used again, so that those of nodes that are gone may stay
	ended    chan outcome
	nodes    corelisters.NodeLister
	pods     corelisters.PodLister
	events   record.EventRecorder
}

// New returns a fleet without nodes. Slots below first belong to the nodes that
// always run. The file keeps the numbers that nodes' names have used up.
func New(client kubernetes.Interface, machines Machines, groups []spec.Group, first int, file string, capacity Capacity) (*Fleet, error) {
	numbers, err := openNumbers(file)
	if err != nil {
		return nil, err
	}
	f := &Fleet{
		client: client, machines: machines, groups: groups, numbers: numbers, first: first,
		leaving: map[string]bool{}, ended: make(chan outcome, spec.MaxNodes),
	}
	for _, group := range groups {
		allocatable, err := capacity(group.Template.Capacity)
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", group.Name, err)
		}
		f.models = append(f.models, autoscale.Group{Name: group.Name, Max: group.Max, Model: model(group, allocatable)})
		f.slots = append(f.slots, make([]bool, group.Max)...)
	}
	return f, nil
}

// model is an empty node of the group as the scheduler would see it.
func model(group spec.Group, allocatable corev1.ResourceList) *corev1.Node {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
			corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH,
		}},
		Status: corev1.NodeStatus{Allocatable: allocatable},
	}
	for key, value := range labelsOf(group) {
		node.Labels[key] = value
	}
	for _, taint := range group.Template.Taints {
		node.Spec.Taints = append(node.Spec.Taints,
			corev1.Taint{Key: taint.Key, Value: taint.Value, Effect: corev1.TaintEffect(taint.Effect)})
	}
	return node
}

func labelsOf(group spec.Group) map[string]string {
	all := map[string]string{}
	for key, value := range group.Template.Labels {
		all[key] = value
	}
	all[GroupLabel] = group.Name
	return all
}

// StartLeast starts the least number of nodes of each group, without the time
// that a new one takes, and returns their names.
func (f *Fleet) StartLeast(ctx context.Context) ([]string, error) {
	var names []string
	now := time.Now()
	for i, group := range f.groups {
		for range group.Min {
			m, err := f.add(i, now)
			if err != nil {
				return nil, err
			}
			if err := f.boot(ctx, m, now); err != nil {
				return nil, err
			}
			names = append(names, m.name)
		}
	}
	return names, nil
}

// Run works until the context ends.
func (f *Fleet) Run(ctx context.Context) {
	factory := informers.NewSharedInformerFactory(f.client, 0)
	f.nodes = factory.Core().V1().Nodes().Lister()
	f.pods = factory.Core().V1().Pods().Lister()
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: f.client.CoreV1().Events("")})
	f.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "localcluster"})
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case outcome := <-f.ended:
			f.settle(outcome)
		case now := <-ticker.C:
			if err := f.step(ctx, now); err != nil && ctx.Err() == nil {
				log.Printf("groups of nodes: %v", err)
			}
		}
	}
}

// step looks once at everything and starts what must be done.
func (f *Fleet) step(ctx context.Context, now time.Time) error {
	if err := f.obeyRequests(ctx); err != nil {
		return err
	}
	for _, m := range f.members {
		if err := f.age(ctx, m, now); err != nil {
			return err
		}
	}
	pods, err := f.pods.List(labels.Everything())
	if err != nil {
		return err
	}
	plan := autoscale.Decide(f.models, f.countable(), pods)
	for _, addition := range plan.Add {
		at := slices.IndexFunc(f.groups, func(group spec.Group) bool { return group.Name == addition.Group })
		m, err := f.add(at, now)
		if err != nil {
			return err
		}
		log.Printf("group %s: %s is to come for pod %s/%s, in %d s", addition.Group, m.name,
			addition.For.Namespace, addition.For.Name, f.groups[at].StartSeconds)
		f.events.Eventf(addition.For, corev1.EventTypeNormal, "TriggeredScaleUp",
			"The group %s gets the node %s in %d s.", addition.Group, m.name, f.groups[at].StartSeconds)
	}
	return f.keepBounds(ctx, plan.Busy, now)
}

// obeyRequests takes the nodes away whose annotation asks for it.
func (f *Fleet) obeyRequests(ctx context.Context) error {
	nodes, err := f.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	for _, node := range nodes {
		text, asked := node.Annotations[PreemptAnnotation]
		if asked && !f.leaving[node.Name] && f.machines.Has(node.Name) {
			f.preempt(ctx, node.Name, f.warning(node.Name, text))
		}
	}
	return nil
}

// age brings a member to where it should be at this time.
func (f *Fleet) age(ctx context.Context, m *member, now time.Time) error {
	switch {
	case m.leaving:
		return nil
	case !m.started:
		if now.Before(m.boots) {
			return nil
		}
		return f.boot(ctx, m, now)
	case f.machines.Ended(m.name):
		f.leave(ctx, m.name, "its process ended", 0)
		return nil
	case !m.dies.IsZero() && now.After(m.dies):
		f.preempt(ctx, m.name, f.warning(m.name, ""))
		return nil
	}
	_, err := f.nodes.Get(m.name)
	switch {
	case err == nil:
		m.seen = true
	case !apierrors.IsNotFound(err):
		return err
	case m.seen:
		f.leave(ctx, m.name, "its Node was deleted", 0)
	}
	return nil
}

// countable are the members that pods can count on.
func (f *Fleet) countable() []autoscale.Machine {
	var machines []autoscale.Machine
	for _, m := range f.members {
		if node, err := f.nodes.Get(m.name); !m.leaving && (err != nil || !node.Spec.Unschedulable) {
			machines = append(machines, autoscale.Machine{Name: m.name, Group: f.groups[m.group].Name})
		}
	}
	return machines
}

// keepBounds adds what is missing to the least number of nodes and removes
// nodes that were idle for long enough.
func (f *Fleet) keepBounds(ctx context.Context, busy map[string]bool, now time.Time) error {
	count := make([]int, len(f.groups))
	for _, m := range f.members {
		if !m.leaving {
			count[m.group]++
		}
	}
	for i, group := range f.groups {
		for ; count[i] < group.Min; count[i]++ {
			if _, err := f.add(i, now); err != nil {
				return err
			}
		}
	}
	for _, m := range f.members {
		group := f.groups[m.group]
		switch {
		case m.leaving || !m.seen || busy[m.name]:
			m.idleSince = time.Time{}
		case m.idleSince.IsZero():
			m.idleSince = now
		case now.Sub(m.idleSince) >= time.Duration(group.IdleSeconds)*time.Second && count[m.group] > group.Min:
			count[m.group]--
			f.retire(ctx, m.name)
		}
	}
	return nil
}

// add makes a member that boots after its group's time.
func (f *Fleet) add(at int, now time.Time) (*member, error) {
	group := f.groups[at]
	number, err := f.numbers.take(group.Name)
	if err != nil {
		return nil, err
	}
	slot := slices.Index(f.slots, false)
	if slot < 0 {
		return nil, fmt.Errorf("group %s: there is no address left", group.Name)
	}
	f.slots[slot] = true
	m := &member{
		name: group.NodeName(number), group: at, slot: slot,
		boots: now.Add(time.Duration(group.StartSeconds) * time.Second),
	}
	if group.Spot != nil {
		m.dies = m.boots.Add(autoscale.Life(*group.Spot, number))
	}
	f.members = append(f.members, m)
	return m, nil
}

// boot starts a member's process.
func (f *Fleet) boot(ctx context.Context, m *member, now time.Time) error {
	group := f.groups[m.group]
	node := spec.Node{Name: m.name, Template: group.Template}
	node.Labels = labelsOf(group)
	if err := f.machines.Start(ctx, f.first+m.slot, node); err != nil {
		return fmt.Errorf("node %s: %w", m.name, err)
	}
	m.started = true
	if !m.dies.IsZero() {
		log.Printf("group %s: %s starts and lives for %s", group.Name, m.name, m.dies.Sub(now).Round(time.Second))
	}
	return nil
}
