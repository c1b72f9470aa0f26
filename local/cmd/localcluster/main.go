// Command localcluster runs a Kubernetes cluster of processes on one machine,
// for development and demonstration. It isolates nothing.
package main

import (
	"os"

	"modelservice.dev/local/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:]))
}
