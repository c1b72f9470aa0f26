// Command localcluster runs a Kubernetes cluster of processes on one machine,
// for development and demonstration. It isolates nothing.
package main

import (
	"os"

	"modelservice.dev/local/internal/cli"
	"modelservice.dev/local/internal/cri"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == cri.ShimCommand {
		cri.ShimMain()
	}
	os.Exit(cli.Main(os.Args[1:]))
}
