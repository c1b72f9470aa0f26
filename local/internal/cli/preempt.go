package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"modelservice.dev/local/internal/fleet"
	"modelservice.dev/local/internal/layout"
)

const (
	ownWarning    = -1
	gonePoll      = 200 * time.Millisecond
	progressEvery = 5 * time.Second
)

func newPreempt(dir *string) *cobra.Command {
	var warning int
	command := &cobra.Command{
		Use:   "preempt NODE",
		Short: "Take a node away as a cloud does with spot nodes: taint, warning, eviction, end",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			path, err := absolute(*dir)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return preempt(ctx, path, args[0], warning, command.OutOrStdout())
		},
	}
	command.Flags().IntVar(&warning, "warning-seconds", ownWarning,
		fmt.Sprintf("time between the warning and the end (default: its group's, else %.0f)", fleet.DefaultWarning.Seconds()))
	command.SetContext(context.Background())
	return command
}

// preempt asks the cluster to take a node away and waits until it is gone.
func preempt(ctx context.Context, dir layout.Dir, name string, warning int, output io.Writer) error {
	if _, up, err := running(dir); err != nil || !up {
		if err == nil {
			err = fmt.Errorf("localcluster is not running in %s", dir)
		}
		return err
	}
	if warning < ownWarning {
		return fmt.Errorf("the warning of %d s must not be negative", warning)
	}
	if _, err := os.Stat(dir.NodeConfig(name)); err != nil {
		return fmt.Errorf("%q is not a node that this cluster runs: see localcluster kubectl get nodes", name)
	}
	config, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig())
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	begin := time.Now()
	node, err := client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, preemptPatch(warning), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("cannot ask for the end of node %s: %w", name, err)
	}
	fmt.Fprintf(output, "node %s is warned\n", name)
	for said := begin; ; {
		current, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) || err == nil && current.UID != node.UID:
			fmt.Fprintf(output, "node %s is gone after %.1f s\n", name, time.Since(begin).Seconds())
			return nil
		case err != nil:
			return fmt.Errorf("node %s is warned, but its end cannot be watched: %w", name, err)
		}
		if time.Since(said) >= progressEvery {
			said = time.Now()
			fmt.Fprintf(output, "  still there after %.0f s\n", time.Since(begin).Seconds())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s is warned and goes without this command", name)
		case <-time.After(gonePoll):
		}
	}
}

// preemptPatch annotates a node with the warning in seconds, or with nothing
// for the node's own.
func preemptPatch(warning int) []byte {
	value := ""
	if warning != ownWarning {
		value = strconv.Itoa(warning)
	}
	return fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, fleet.PreemptAnnotation, value)
}
