package node

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletutil "k8s.io/kubernetes/pkg/kubelet/util"
	"k8s.io/kubernetes/pkg/util/oom"

	"modelservice.dev/local/internal/cri"
	"modelservice.dev/local/internal/spec"
)

const (
	kubeletPort = 10250
	// syncPeriod bounds how long a changed ConfigMap or Secret takes to reach its pods.
	syncPeriod = 10 * time.Second
	// keptContainers is how many ended containers of a kind a pod keeps for its logs.
	keptContainers = 1
)

// runKubelet starts the kubelet. It works until ctx is done.
func runKubelet(ctx context.Context, o Options, machine *machine, images *cri.Images, resolver string) error {
	server, err := kubeletServer(o, machine, resolver)
	if err != nil {
		return err
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(server.FeatureGates); err != nil {
		return fmt.Errorf("cannot set the kubelet's features: %w", err)
	}
	dependencies, err := kubeletapp.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return fmt.Errorf("cannot prepare the kubelet: %w", err)
	}
	if err := connect(o.Kubeconfig, server, dependencies); err != nil {
		return err
	}
	authority, startReload, err := kubeletapp.BuildAuth(types.NodeName(o.Name), dependencies.KubeClient, server.KubeletConfiguration)
	if err != nil {
		return fmt.Errorf("cannot prepare the kubelet's access control: %w", err)
	}
	startReload(ctx.Done())
	dependencies.Auth = authority
	dependencies.RemoteRuntimeService = machine.runtime
	dependencies.RemoteImageService = images
	dependencies.CAdvisorInterface = machine
	dependencies.ContainerManager = newContainerManager(machine)
	dependencies.OOMAdjuster = oom.NewFakeOOMAdjuster()
	dependencies.PodStartupLatencyTracker = kubeletutil.NewPodStartupLatencyTracker()
	dependencies.NodeStartupLatencyTracker = kubeletutil.NewNodeStartupLatencyTracker()
	if err := kubeletapp.RunKubelet(ctx, server, dependencies); err != nil {
		return fmt.Errorf("cannot start the kubelet: %w", err)
	}
	return nil
}

// connect makes the kubelet's three clients of the API server.
func connect(kubeconfig string, server *options.KubeletServer, dependencies *kubelet.Dependencies) error {
	client, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot read the kubeconfig of the kubelet: %w", err)
	}
	client.ContentType = server.ContentType
	client.QPS, client.Burst = float32(server.KubeAPIQPS), int(server.KubeAPIBurst)
	if dependencies.KubeClient, err = clientset.NewForConfig(client); err != nil {
		return fmt.Errorf("cannot make the kubelet's client: %w", err)
	}
	events, err := clientset.NewForConfig(client)
	if err != nil {
		return fmt.Errorf("cannot make the kubelet's client for events: %w", err)
	}
	dependencies.EventClient = events.CoreV1()
	heartbeat := *client
	heartbeat.QPS = -1
	heartbeat.Timeout = server.NodeStatusUpdateFrequency.Duration
	if dependencies.HeartbeatClient, err = clientset.NewForConfig(&heartbeat); err != nil {
		return fmt.Errorf("cannot make the kubelet's client for heartbeats: %w", err)
	}
	dependencies.OnHeartbeatFailure = func() {}
	return nil
}

// kubeletServer is the configuration of the kubelet: upstream's defaults, less
// what needs cgroups or a system of its own.
func kubeletServer(o Options, machine *machine, resolver string) (*options.KubeletServer, error) {
	s, err := options.NewKubeletServer()
	if err != nil {
		return nil, fmt.Errorf("cannot make the kubelet's configuration: %w", err)
	}
	s.HostnameOverride = o.Name
	s.NodeIP = o.IP
	s.NodeLabels = o.Labels
	s.RegisterWithTaints = taints(o.Taints)
	s.KubeConfig = o.Kubeconfig
	s.RootDirectory = filepath.Join(place, "kubelet")
	s.CertDirectory = filepath.Join(place, "pki")
	s.PodLogsDir = filepath.Join(place, "logs")
	s.VolumePluginDir = filepath.Join(place, "plugins")
	s.ResolverConfig = resolver
	s.ClusterDNS = []string{o.ClusterDNS}
	s.ClusterDomain = o.ClusterDomain
	s.MaxPods = int32(machine.pods())
	s.MaxPerPodContainerCount = keptContainers
	s.SyncFrequency = metav1.Duration{Duration: syncPeriod}

	s.Address = o.IP
	s.Port = kubeletPort
	s.ReadOnlyPort = 0
	s.HealthzPort = 0
	s.TLSCertFile = o.CertFile
	s.TLSPrivateKeyFile = o.KeyFile
	s.Authentication.Anonymous.Enabled = false
	s.Authentication.Webhook.Enabled = true
	s.Authentication.X509.ClientCAFile = o.CAFile
	s.Authorization.Mode = config.KubeletAuthorizationModeWebhook

	s.FeatureGates = map[string]bool{"KubeletInUserNamespace": true, "PodAndContainerStatsFromCRI": true}
	s.CgroupsPerQOS = false
	s.EnforceNodeAllocatable = nil
	s.FailCgroupV1 = false
	s.FailSwapOn = false
	s.EvictionHard = nil
	s.ImageGCHighThresholdPercent = 100
	s.ImagePullCredentialsVerificationPolicy = string(config.NeverVerify)
	s.SerializeImagePulls = false
	s.MakeIPTablesUtilChains = false
	s.EnableSystemLogHandler = false
	return s, nil
}

func taints(list []spec.Taint) []v1.Taint {
	var taints []v1.Taint
	for _, taint := range list {
		taints = append(taints, v1.Taint{Key: taint.Key, Value: taint.Value, Effect: v1.TaintEffect(taint.Effect)})
	}
	return taints
}
