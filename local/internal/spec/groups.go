package spec

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// maxGroupName leaves room for a number behind the name of a group.
const maxGroupName = 50

// Group describes nodes that are alike and come and go with the pods that need
// them. There are Min to Max of them.
type Group struct {
	Name string `json:"name"`
	Min  int    `json:"min,omitempty"`
	Max  int    `json:"max"`
	// StartSeconds pass between the decision to add a node and its first process.
	StartSeconds int `json:"startSeconds,omitempty"`
	// IdleSeconds without a pod of its own end a node's life.
	IdleSeconds int      `json:"idleSeconds,omitempty"`
	Spot        *Spot    `json:"spot,omitempty"`
	Template    Template `json:"template,omitempty"`
}

// Spot says that the nodes of a group are taken away. Their lives are random
// with an exponential distribution, the same ones for the same seed.
type Spot struct {
	MeanLifeSeconds int `json:"meanLifeSeconds"`
	// WarningSeconds pass between the taint that announces the end and the end.
	WarningSeconds int    `json:"warningSeconds,omitempty"`
	Seed           uint64 `json:"seed,omitempty"`
}

// NodeName is the name of a group's node; numbers are not used twice.
func (g Group) NodeName(number int) string {
	return fmt.Sprintf("%s-%d", g.Name, number)
}

// names says whether a node of the group might get this name.
func (g Group) names(name string) bool {
	number, found := strings.CutPrefix(name, g.Name+"-")
	return found && number != "" && strings.Trim(number, "0123456789") == ""
}

// checkGroups returns what follows the file's name in the sentence of an error.
func (n Nodes) checkGroups() error {
	if len(n.Groups) > 0 && len(n.Nodes) == 0 {
		return errors.New(" lists groups but no node that always runs: list at least one")
	}
	seen := map[string]bool{}
	for i, group := range n.Groups {
		if err := group.check(); err != nil {
			return fmt.Errorf(", group %d: %w", i+1, err)
		}
		if seen[group.Name] {
			return fmt.Errorf(" lists the group %q twice", group.Name)
		}
		seen[group.Name] = true
		for _, node := range n.Nodes {
			if group.names(node.Name) {
				return fmt.Errorf(" lists the node %q, a name that the group %q may need: choose another", node.Name, group.Name)
			}
		}
	}
	return nil
}

func (g Group) check() error {
	if err := checkName(g.Name, validation.IsDNS1123Label); err != nil {
		return err
	}
	if len(g.Name) > maxGroupName {
		return fmt.Errorf("the name %q is longer than %d characters", g.Name, maxGroupName)
	}
	if g.Max < 1 {
		return fmt.Errorf("max is %d, it must be 1 or more", g.Max)
	}
	numbers := []quantity{{"min", g.Min}, {"startSeconds", g.StartSeconds}, {"idleSeconds", g.IdleSeconds}}
	if g.Spot != nil {
		if g.Spot.MeanLifeSeconds < 1 {
			return fmt.Errorf("spot.meanLifeSeconds is %d, it must be 1 or more", g.Spot.MeanLifeSeconds)
		}
		numbers = append(numbers, quantity{"spot.warningSeconds", g.Spot.WarningSeconds})
	}
	for _, number := range numbers {
		if number.value < 0 {
			return fmt.Errorf("%s is %d, it must not be negative", number.name, number.value)
		}
	}
	if g.Min > g.Max {
		return fmt.Errorf("min is %d, more than max, which is %d", g.Min, g.Max)
	}
	return g.Template.check()
}

// quantity is a number of the file and what it is called there.
type quantity struct {
	name  string
	value int
}
