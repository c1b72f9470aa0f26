// Package spec reads the two files a user writes: the nodes of the cluster and
// the map from image names to programs on this machine.
package spec

import (
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

// Node describes one pretended machine. Capacity maps resource names (cpu,
// memory, pods, any extended resource) to Kubernetes quantities.
type Node struct {
	Name     string            `json:"name"`
	Labels   map[string]string `json:"labels,omitempty"`
	Taints   []Taint           `json:"taints,omitempty"`
	Capacity map[string]string `json:"capacity,omitempty"`
}

type nodesFile struct {
	Nodes []Node `json:"nodes"`
}

// LoadNodes reads and checks a nodes file. Every error is one sentence that
// names the file and the entry at fault.
func LoadNodes(path string) ([]Node, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the nodes file: %w", err)
	}
	var file nodesFile
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		return nil, fmt.Errorf("nodes file %s is not valid: %s", path, oneLine(err))
	}
	if len(file.Nodes) > MaxNodes {
		return nil, fmt.Errorf("nodes file %s lists %d nodes, at most %d are possible", path, len(file.Nodes), MaxNodes)
	}
	seen := map[string]bool{}
	for i, node := range file.Nodes {
		if err := node.check(); err != nil {
			return nil, fmt.Errorf("nodes file %s, entry %d: %w", path, i+1, err)
		}
		if seen[node.Name] {
			return nil, fmt.Errorf("nodes file %s lists the node %q twice", path, node.Name)
		}
		seen[node.Name] = true
	}
	return file.Nodes, nil
}

func (n Node) check() error {
	if n.Name == "" {
		return fmt.Errorf("the name is missing")
	}
	if problems := validation.IsDNS1123Label(n.Name); len(problems) > 0 {
		return fmt.Errorf("the name %q is not usable: %s", n.Name, problems[0])
	}
	for key, value := range n.Labels {
		if problems := validation.IsQualifiedName(key); len(problems) > 0 {
			return fmt.Errorf("the label key %q is not usable: %s", key, problems[0])
		}
		if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
			return fmt.Errorf("the value of label %s is not usable: %s", key, problems[0])
		}
	}
	for _, taint := range n.Taints {
		if err := taint.check(); err != nil {
			return err
		}
	}
	for name, text := range n.Capacity {
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
