// Package component runs the upstream programs that are compiled into this
// binary, each by its own name.
package component

import (
	"os"
	"slices"
	_ "time/tzdata" // time zones of CronJobs on machines without tzdata

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // credential plugins of kubectl
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"          // the JSON log format
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // version metric
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// Names of the components.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Proxy             = "kube-proxy"
	Kubectl           = "kubectl"
)

var commands = map[string]func() *cobra.Command{
	APIServer:         apiserver.NewAPIServerCommand,
	ControllerManager: controllermanager.NewControllerManagerCommand,
	Scheduler:         func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	Proxy:             proxy.NewProxyCommand,
}

// Names lists what Run knows.
func Names() []string {
	return []string{Etcd, APIServer, ControllerManager, Scheduler, Proxy, Kubectl}
}

// Known says whether Run knows the name.
func Known(name string) bool {
	return slices.Contains(Names(), name)
}

// Run is the main function of the named component; args are its arguments. It
// returns the exit status.
func Run(name string, args []string) int {
	os.Args = append([]string{name}, args...)
	switch name {
	case Etcd:
		etcdmain.Main(os.Args)
		return 0
	case Kubectl:
		return runKubectl()
	}
	return cli.Run(commands[name]())
}

func runKubectl() int {
	if _, err := logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)); err != nil {
		return 1
	}
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
		return 1
	}
	return 0
}
