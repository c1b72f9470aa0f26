package fleet

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"modelservice.dev/local/internal/spec"
)

// bench remembers which nodes were started.
type bench struct {
	started map[string]int
	nodes   map[string]spec.Node
}

func (b *bench) Start(_ context.Context, slot int, node spec.Node) error {
	b.started[node.Name] = slot
	b.nodes[node.Name] = node
	return nil
}

func (b *bench) Has(name string) bool                 { _, found := b.started[name]; return found }
func (b *bench) Ended(string) bool                    { return false }
func (b *bench) Remove(context.Context, string) error { return nil }

func newFleet(t *testing.T, file string, groups ...spec.Group) (*Fleet, *bench) {
	t.Helper()
	machines := &bench{started: map[string]int{}, nodes: map[string]spec.Node{}}
	capacity := func(map[string]string) (corev1.ResourceList, error) {
		return corev1.ResourceList{corev1.ResourcePods: resource.MustParse("10")}, nil
	}
	f, err := New(nil, machines, groups, 3, file, capacity)
	if err != nil {
		t.Fatal(err)
	}
	return f, machines
}

func TestTheLeastOfEachGroupStartsAtOnceWithTheGroupsLabels(t *testing.T) {
	group := spec.Group{Name: "a", Min: 2, Max: 3, StartSeconds: 60, Template: spec.Template{Labels: map[string]string{"pool": "x"}}}
	f, machines := newFleet(t, filepath.Join(t.TempDir(), "numbers"), group, spec.Group{Name: "b", Max: 1})
	names, err := f.StartLeast(t.Context())
	if err != nil || !slices.Equal(names, []string{"a-0", "a-1"}) {
		t.Fatalf("it starts %v, %v", names, err)
	}
	if machines.started["a-0"] != 3 || machines.started["a-1"] != 4 {
		t.Errorf("the slots are %v", machines.started)
	}
	if labels := machines.nodes["a-0"].Labels; labels["pool"] != "x" || labels[GroupLabel] != "a" {
		t.Errorf("the labels are %v", labels)
	}
	if len(group.Template.Labels) != 1 {
		t.Errorf("the template has changed: %v", group.Template.Labels)
	}
}

func TestANameIsNotUsedTwiceButAnAddressIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "numbers")
	f, _ := newFleet(t, file, spec.Group{Name: "a", Max: 1})
	first, err := f.add(0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.add(0, time.Now()); err == nil {
		t.Error("there are more nodes than addresses")
	}
	f.mark(first.name)
	f.settle(outcome{name: first.name})
	again, err := f.add(0, time.Now())
	if err != nil || again.name == first.name || again.slot != first.slot {
		t.Errorf("the next node is %+v, %v", again, err)
	}
	f, _ = newFleet(t, file, spec.Group{Name: "a", Max: 1})
	if later, err := f.add(0, time.Now()); err != nil || later.name == first.name || later.name == again.name {
		t.Errorf("after another start it is %+v, %v", later, err)
	}
}

func TestANodeThatStaysIsCountedOnAgain(t *testing.T) {
	f, _ := newFleet(t, filepath.Join(t.TempDir(), "numbers"), spec.Group{Name: "a", Max: 1})
	m, err := f.add(0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.mark(m.name)
	if !m.leaving || !f.leaving[m.name] {
		t.Fatal("it is not leaving")
	}
	f.settle(outcome{name: m.name, stays: true})
	if m.leaving || f.leaving[m.name] || !f.slots[m.slot] {
		t.Errorf("it is %+v", m)
	}
}

func TestTheWarningIsWhatIsAskedForElseTheGroupsElseTheDefault(t *testing.T) {
	f, _ := newFleet(t, filepath.Join(t.TempDir(), "numbers"),
		spec.Group{Name: "a", Max: 1, Spot: &spec.Spot{MeanLifeSeconds: 10, WarningSeconds: 7}})
	if _, err := f.add(0, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		want       time.Duration
	}{
		{"a-0", "15", 15 * time.Second}, {"a-0", "0", 0}, {"a-0", "", 7 * time.Second}, {"a-0", "soon", 7 * time.Second},
		{"plain", "", DefaultWarning}, {"plain", "-1", DefaultWarning}, {"plain", "3", 3 * time.Second},
	} {
		if got := f.warning(c.name, c.text); got != c.want {
			t.Errorf("%s, %q: %s", c.name, c.text, got)
		}
	}
}

func TestASpotNodeDiesItsLifeAfterItsBoot(t *testing.T) {
	now := time.Now()
	f, _ := newFleet(t, filepath.Join(t.TempDir(), "numbers"),
		spec.Group{Name: "a", Max: 2, StartSeconds: 60, Spot: &spec.Spot{MeanLifeSeconds: 100, Seed: 1}},
		spec.Group{Name: "b", Max: 1})
	spot, err := f.add(0, now)
	if err != nil || !spot.boots.Equal(now.Add(time.Minute)) || !spot.dies.After(spot.boots) {
		t.Errorf("the spot node is %+v, %v", spot, err)
	}
	if steady, err := f.add(1, now); err != nil || !steady.dies.IsZero() {
		t.Errorf("the other is %+v, %v", steady, err)
	}
}
