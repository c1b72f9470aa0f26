package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNodesAreReadInOrder(t *testing.T) {
	path := writeFile(t, `
nodes:
  - name: b
    labels: {pool: gpu}
    taints: [{key: example.com/pool, value: gpu, effect: NoExecute}]
    capacity: {cpu: "4", memory: 8Gi, nvidia.com/gpu: "4"}
  - name: a
`)
	file, err := LoadNodes(path)
	if err != nil {
		t.Fatal(err)
	}
	nodes := file.Nodes
	if len(nodes) != 2 || nodes[0].Name != "b" || nodes[1].Name != "a" {
		t.Fatalf("nodes are %+v", nodes)
	}
	if got := nodes[0].Taints[0]; got != (Taint{"example.com/pool", "gpu", "NoExecute"}) {
		t.Errorf("taint is %+v", got)
	}
	if got := nodes[0].Capacity["nvidia.com/gpu"]; got != "4" {
		t.Errorf("the extended resource is %q", got)
	}
}

func TestAnEmptyListOfNodesIsAllowed(t *testing.T) {
	file, err := LoadNodes(writeFile(t, "nodes: []\n"))
	if err != nil || len(file.Nodes) != 0 {
		t.Fatalf("got %v, %v", file, err)
	}
}

func TestABrokenNodesFileIsRefusedInOneSentence(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"not yaml":            {"nodes: [", "is not valid"},
		"unknown field":       {"nodes: [{name: a, labls: {}}]", "labls"},
		"no name":             {"nodes: [{}]", "entry 1: the name is missing"},
		"bad name":            {"nodes: [{name: A_b}]", `the name "A_b" is not usable`},
		"same name":           {"nodes: [{name: a}, {name: a}]", `lists the node "a" twice`},
		"bad label key":       {"nodes: [{name: a, labels: {'b c': d}}]", `the label key "b c"`},
		"bad label value":     {"nodes: [{name: a, labels: {b: 'c d'}}]", "the value of label b"},
		"bad taint key":       {"nodes: [{name: a, taints: [{key: '', effect: NoExecute}]}]", "the taint key"},
		"bad effect":          {"nodes: [{name: a, taints: [{key: k, effect: Never}]}]", `"Never", use one of NoSchedule`},
		"bad quantity":        {"nodes: [{name: a, capacity: {cpu: many}}]", `capacity of cpu, "many", is not a quantity`},
		"negative quantity":   {"nodes: [{name: a, capacity: {cpu: '-1'}}]", "must not be negative"},
		"bad resource's name": {"nodes: [{name: a, capacity: {'a/b/c': '1'}}]", `the resource name "a/b/c"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, c.text)
			_, err := LoadNodes(path)
			if err == nil {
				t.Fatal("the file was accepted")
			}
			if text := err.Error(); !strings.Contains(text, c.want) || !strings.Contains(text, path) || strings.Contains(text, "\n") {
				t.Errorf("the error is %q, want one line with %q and the path", text, c.want)
			}
		})
	}
}

func TestAMissingNodesFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := LoadNodes(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("the error is %v", err)
	}
}

func TestMoreNodesThanAddressesAreRefused(t *testing.T) {
	text := "nodes: [{name: a}]\ngroups: [{name: b, max: 150}, {name: c, max: 50}]\n"
	if _, err := LoadNodes(writeFile(t, text)); err == nil || !strings.Contains(err.Error(), "lists 201 nodes, counting the most of each group, at most 200") {
		t.Fatalf("the error is %v", err)
	}
}

func TestTheShippedFilesAreValid(t *testing.T) {
	file, err := LoadNodes("../../nodes.yaml")
	if err != nil || len(file.Nodes) == 0 {
		t.Fatalf("nodes.yaml: %d nodes, %v", len(file.Nodes), err)
	}
	images, err := LoadImages("../../images.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"modelservice-operator:0.1.0", "modelservice-worker:0.1.0", "prom/prometheus:v3", "local/shell"} {
		if _, ok := images.Lookup(ref); !ok {
			t.Errorf("images.yaml does not know %s", ref)
		}
	}
}
