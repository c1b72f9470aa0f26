package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// numbers are the next ones for the names of each group's nodes, so that no
// name is used for two nodes, even after another start of the cluster.
type numbers struct {
	file string
	next map[string]int
}

func openNumbers(file string) (*numbers, error) {
	n := &numbers{file: file, next: map[string]int{}}
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &n.next); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}

func (n *numbers) take(group string) (int, error) {
	number := n.next[group]
	n.next[group]++
	data, err := json.Marshal(n.next)
	if err != nil {
		return 0, err
	}
	return number, os.WriteFile(n.file, data, 0o600)
}
