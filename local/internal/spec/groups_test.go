package spec

import (
	"strings"
	"testing"
)

func TestGroupsAreReadWithTheirTemplate(t *testing.T) {
	file, err := LoadNodes(writeFile(t, `
nodes: [{name: plain}]
groups:
  - name: spot
    min: 1
    max: 3
    startSeconds: 10
    idleSeconds: 20
    spot: {meanLifeSeconds: 300, warningSeconds: 15, seed: 7}
    template:
      labels: {pool: gpu}
      taints: [{key: example.com/pool, value: gpu, effect: NoExecute}]
      capacity: {nvidia.com/gpu: "4"}
`))
	if err != nil {
		t.Fatal(err)
	}
	group := file.Groups[0]
	if group.Min != 1 || group.Max != 3 || group.StartSeconds != 10 || group.IdleSeconds != 20 {
		t.Errorf("the group is %+v", group)
	}
	if *group.Spot != (Spot{MeanLifeSeconds: 300, WarningSeconds: 15, Seed: 7}) {
		t.Errorf("spot is %+v", *group.Spot)
	}
	template := group.Template
	if template.Labels["pool"] != "gpu" || template.Taints[0].Effect != "NoExecute" || template.Capacity["nvidia.com/gpu"] != "4" {
		t.Errorf("the template is %+v", template)
	}
	if file.Most() != 4 || group.NodeName(2) != "spot-2" {
		t.Errorf("at most %d nodes, the third is %s", file.Most(), group.NodeName(2))
	}
}

func TestABrokenGroupIsRefusedInOneSentence(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"no name":              {"{max: 1}", ", group 1: the name is missing"},
		"bad name":             {"{name: A_b, max: 1}", `the name "A_b" is not usable`},
		"long name":            {"{name: " + strings.Repeat("a", 51) + ", max: 1}", "is longer than 50 characters"},
		"no max":               {"{name: a}", "max is 0, it must be 1 or more"},
		"min above max":        {"{name: a, min: 2, max: 1}", "min is 2, more than max, which is 1"},
		"negative min":         {"{name: a, min: -1, max: 1}", "min is -1, it must not be negative"},
		"negative start":       {"{name: a, max: 1, startSeconds: -5}", "startSeconds is -5, it must not be negative"},
		"negative idle":        {"{name: a, max: 1, idleSeconds: -5}", "idleSeconds is -5, it must not be negative"},
		"spot without a life":  {"{name: a, max: 1, spot: {}}", "spot.meanLifeSeconds is 0, it must be 1 or more"},
		"negative warning":     {"{name: a, max: 1, spot: {meanLifeSeconds: 1, warningSeconds: -1}}", "spot.warningSeconds is -1"},
		"unknown field":        {"{name: a, max: 1, labels: {}}", "labels"},
		"bad template":         {"{name: a, max: 1, template: {capacity: {cpu: many}}}", `capacity of cpu, "many"`},
		"same name":            {"{name: a, max: 1}, {name: a, max: 1}", `lists the group "a" twice`},
		"a node's name":        {"{name: plain, max: 1}", `lists the node "plain-0", a name that the group "plain" may need`},
		"not a number in seed": {"{name: a, max: 1, spot: {meanLifeSeconds: 1, seed: -1}}", "is not valid"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, "nodes: [{name: plain-0}]\ngroups: ["+c.text+"]\n")
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

func TestGroupsNeedANodeThatAlwaysRuns(t *testing.T) {
	_, err := LoadNodes(writeFile(t, "groups: [{name: a, max: 1}]\n"))
	if err == nil || !strings.Contains(err.Error(), "lists groups but no node that always runs: list at least one") {
		t.Errorf("the error is %v", err)
	}
}
