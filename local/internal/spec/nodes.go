// Package spec reads the two files a user writes: the nodes of the cluster and
// the map from image names to programs on this machine.
package spec

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// MaxNodes bounds the nodes file: each node has one address and one pod network.
const MaxNodes = 200

// Taint is a taint that a node registers with.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// Template is what a pretended machine is like. Capacity maps resource names
// (cpu, memory, pods, any extended resource) to Kubernetes quantities.
type Template struct {
	Labels   map[string]string `json:"labels,omitempty"`
	Taints   []Taint           `json:"taints,omitempty"`
	Capacity map[string]string `json:"capacity,omitempty"`
}

// Node is one pretended machine.
type Node struct {
	Name string `json:"name"`
	Template
}

// Nodes are the machines of a cluster: those it always has and the groups that
// come and go.
type Nodes struct {
	Nodes  []Node  `json:"nodes"`
	Groups []Group `json:"groups,omitempty"`
}

// Most is how many nodes there can be at once.
func (n Nodes) Most() int {
	most := len(n.Nodes)
	for _, group := range n.Groups {
		most += group.Max
	}
	return most
}

// LoadNodes reads and checks a nodes file. Every error is one sentence that
// names the file and the entry at fault.
func LoadNodes(path string) (Nodes, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Nodes{}, fmt.Errorf("cannot read the nodes file: %w", err)
	}
	var file Nodes
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		return Nodes{}, fmt.Errorf("nodes file %s is not valid: %s", path, oneLine(err))
	}
	if err := file.check(); err != nil {
		return Nodes{}, fmt.Errorf("nodes file %s%w", path, err)
	}
	return file, nil
}

// check returns what follows the file's name in the sentence of an error.
func (n Nodes) check() error {
	seen := map[string]bool{}
	for i, node := range n.Nodes {
		if err := node.check(); err != nil {
			return fmt.Errorf(", entry %d: %w", i+1, err)
		}
		if seen[node.Name] {
			return fmt.Errorf(" lists the node %q twice", node.Name)
		}
		seen[node.Name] = true
	}
	if err := n.checkGroups(); err != nil {
		return err
	}
	if most := n.Most(); most > MaxNodes {
		return fmt.Errorf(" lists %d nodes, counting the most of each group, at most %d are possible", most, MaxNodes)
	}
	return nil
}

func (n Node) check() error {
	if err := checkName(n.Name, validation.IsDNS1123Label); err != nil {
		return err
	}
	return n.Template.check()
}

func checkName(name string, problems func(string) []string) error {
	if name == "" {
		return errors.New("the name is missing")
	}
	if found := problems(name); len(found) > 0 {
		return fmt.Errorf("the name %q is not usable: %s", name, found[0])
	}
	return nil
}

func (t Template) check() error {
	for key, value := range t.Labels {
		if problems := validation.IsQualifiedName(key); len(problems) > 0 {
			return fmt.Errorf("the label key %q is not usable: %s", key, problems[0])
		}
		if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
			return fmt.Errorf("the value of label %s is not usable: %s", key, problems[0])
		}
	}
	for _, taint := range t.Taints {
		if err := taint.check(); err != nil {
			return err
		}
	}
	for name, text := range t.Capacity {
		if problems := validation.IsQualifiedName(name); len(problems) > 0 {
			return fmt.Errorf("the resource name %q is not usable: %s", name, problems[0])
		}
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			return fmt.Errorf("the capacity of %s, %q, is not a quantity such as 4 or 16Gi", name, text)
		}
		if quantity.Sign() < 0 {
			return fmt.Errorf("the capacity of %s must not be negative", name)
		}
	}
	return nil
}

var taintEffects = []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}

func (t Taint) check() error {
	if problems := validation.IsQualifiedName(t.Key); len(problems) > 0 {
		return fmt.Errorf("the taint key %q is not usable: %s", t.Key, problems[0])
	}
	if problems := validation.IsValidLabelValue(t.Value); len(problems) > 0 {
		return fmt.Errorf("the value of taint %s is not usable: %s", t.Key, problems[0])
	}
	if !slices.Contains(taintEffects, t.Effect) {
		return fmt.Errorf("the effect of taint %s is %q, use one of %s", t.Key, t.Effect, strings.Join(taintEffects, ", "))
	}
	return nil
}

// oneLine is a parser's error without line breaks and the names of its layers.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for _, layer := range []string{"error unmarshaling JSON: ", "while decoding JSON: ", "error converting YAML to JSON: ", "json: "} {
		text = strings.TrimPrefix(text, layer)
	}
	return text
}
