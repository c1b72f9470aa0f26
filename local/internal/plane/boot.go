// Package plane is the first process of a cluster's namespaces: it brings the
// control plane and the nodes up and stays until it is told to stop.
package plane

import (
	"encoding/json"
	"fmt"
	"os"

	"modelservice.dev/local/internal/layout"
	"modelservice.dev/local/internal/spec"
)

// Boot is what the first process is told.
type Boot struct {
	Dir        layout.Dir `json:"dir"`
	Nodes      spec.Nodes `json:"nodes"`
	ImagesFile string     `json:"imagesFile"`
	CoreDNS    string     `json:"coredns"`
	NFT        string     `json:"nft"`
}

func bootFile(dir layout.Dir) string { return dir.Run("boot.json") }

// WriteBoot stores the instructions in the cluster's directory.
func WriteBoot(boot Boot) error {
	data, err := json.MarshalIndent(boot, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(bootFile(boot.Dir), data, 0o600)
}

func readBoot(dir layout.Dir) (Boot, error) {
	var boot Boot
	data, err := os.ReadFile(bootFile(dir))
	if err != nil {
		return boot, err
	}
	if err := json.Unmarshal(data, &boot); err != nil {
		return boot, fmt.Errorf("%s: %w", bootFile(dir), err)
	}
	return boot, nil
}
