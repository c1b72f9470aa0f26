// Package cli is the command line of localcluster.
package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"

	"modelservice.dev/local/internal/component"
	"modelservice.dev/local/internal/layout"
	"modelservice.dev/local/internal/node"
	"modelservice.dev/local/internal/plane"
)

const (
	defaultDir  = ".local"
	defaultPort = 16443
	dirVariable = "LOCALCLUSTER_DIR"
)

// Main runs the command line and returns the exit status.
func Main(args []string) int {
	if len(args) > 0 && component.Known(args[0]) && args[0] != component.Kubectl {
		return component.Run(args[0], args[1:])
	}
	if len(args) > 0 && args[0] == component.Kubectl {
		return kubectl(args[1:])
	}
	root := newRoot()
	root.SetArgs(args)
	if err := root.Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "localcluster: %v\n", err)
		return 1
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "localcluster",
		Short:         "A Kubernetes cluster of processes on this machine, for development only: it isolates nothing",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	dir := root.PersistentFlags().String("dir", startDir(), "directory of the cluster (environment: "+dirVariable+")")
	root.AddCommand(newUp(dir), newDown(dir), newStatus(dir), newPreempt(dir), newKubectl(), newVersion(), newInit(dir), newNode())
	return root
}

func startDir() string {
	if dir := os.Getenv(dirVariable); dir != "" {
		return dir
	}
	return defaultDir
}

func absolute(dir string) (layout.Dir, error) {
	path, err := filepath.Abs(dir)
	return layout.Dir(path), err
}

func newUp(dir *string) *cobra.Command {
	var options upOptions
	command := &cobra.Command{
		Use:   "up",
		Short: "Start the cluster, or continue on its data, and wait until it is ready",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			var err error
			if options.Dir, err = absolute(*dir); err != nil {
				return err
			}
			if options.ImagesFile, err = filepath.Abs(options.ImagesFile); err != nil {
				return err
			}
			return up(command.Context(), options, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.NodesFile, "nodes", besideBinary("nodes.yaml"), "file that lists the nodes")
	flags.StringVar(&options.ImagesFile, "images", besideBinary("images.yaml"), "file that maps image names to programs")
	flags.IntVar(&options.Port, "port", defaultPort, "port of the API server on 127.0.0.1, 0 for any free one")
	flags.BoolVar(&options.Foreground, "foreground", false, "stay, and stop the cluster at the end")
	command.SetContext(context.Background())
	return command
}

// besideBinary is a file of the directory local, a sibling of the binary's.
func besideBinary(name string) string {
	executable, err := os.Executable()
	if err != nil {
		return filepath.Join("local", name)
	}
	return filepath.Join(filepath.Dir(filepath.Dir(executable)), "local", name)
}

func newDown(dir *string) *cobra.Command {
	var purge bool
	command := &cobra.Command{
		Use:   "down",
		Short: "Stop the cluster; its data stays for the next up unless --purge is given",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			path, err := absolute(*dir)
			if err != nil {
				return err
			}
			return down(path, purge, command.OutOrStdout())
		},
	}
	command.Flags().BoolVar(&purge, "purge", false, "remove the data too: objects, volumes, certificates, logs")
	return command
}

func newStatus(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the cluster's processes; the exit status is 1 if it is not running",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			path, err := absolute(*dir)
			if err != nil {
				return err
			}
			return status(path, command.OutOrStdout())
		},
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of Kubernetes inside",
		Args:  cobra.NoArgs,
		Run: func(command *cobra.Command, _ []string) {
			fmt.Fprintf(command.OutOrStdout(), "Kubernetes %s\n", version.Get().GitVersion)
		},
	}
}

// newKubectl only documents the command: Main gives its arguments to kubectl.
func newKubectl() *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl [--dir DIR] ...",
		Short: "Run kubectl against the cluster",
		Run:   func(*cobra.Command, []string) {},
	}
}

func kubectl(args []string) int {
	dir := startDir()
	if len(args) >= 2 && args[0] == "--dir" {
		dir, args = args[1], args[2:]
	} else if len(args) >= 1 && strings.HasPrefix(args[0], "--dir=") {
		dir, args = strings.TrimPrefix(args[0], "--dir="), args[1:]
	}
	path, err := absolute(dir)
	if err != nil {
		fmt.Fprintf(os.Stderr, "localcluster: %v\n", err)
		return 1
	}
	chosen := slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--kubeconfig") })
	if !chosen {
		if _, err := os.Stat(path.Kubeconfig()); err != nil {
			fmt.Fprintf(os.Stderr, "localcluster: there is no cluster in %s: start one with localcluster up\n", path)
			return 1
		}
		// What kubectl remembers of an API belongs to this cluster: another one may answer on the same port later.
		for name, value := range map[string]string{"KUBECONFIG": path.Kubeconfig(), "KUBECACHEDIR": path.Run("kubectl")} {
			if err := os.Setenv(name, value); err != nil {
				fmt.Fprintf(os.Stderr, "localcluster: %v\n", err)
				return 1
			}
		}
	}
	return component.Run(component.Kubectl, args)
}

func newInit(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:    "init",
		Short:  "Be the first process of the cluster's namespaces",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return plane.Main(layout.Dir(*dir))
		},
	}
}

func newNode() *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:    "node",
		Short:  "Be one node of the cluster",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			var options node.Options
			if err := json.Unmarshal(data, &options); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return node.Run(ctx, options)
		},
	}
	command.Flags().StringVar(&file, "options", "", "JSON file of the node's options")
	return command
}
