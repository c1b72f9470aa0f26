package plane

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"modelservice.dev/local/internal/cluster"
	"modelservice.dev/local/internal/component"
	"modelservice.dev/local/internal/fleet"
	"modelservice.dev/local/internal/forward"
	"modelservice.dev/local/internal/layout"
	"modelservice.dev/local/internal/network"
	"modelservice.dev/local/internal/pki"
	"modelservice.dev/local/internal/process"
	"modelservice.dev/local/internal/sandbox"
	"modelservice.dev/local/internal/storage"
	"modelservice.dev/local/internal/supervisor"
)

// Descriptors that the first process inherits.
const (
	lockDescriptor = 3 + iota
	listenerDescriptor
	reportDescriptor
)

const (
	stepTimeout = 2 * time.Minute
	stopTimeout = 5 * time.Second
)

// plane is the state of the first process.
type plane struct {
	boot       Boot
	table      *process.Table
	supervisor *supervisor.Supervisor
	authority  *pki.Authority
	config     *rest.Config
	client     kubernetes.Interface
	report     *reporter
	fleet      *fleet.Fleet
	names      []string // of the nodes that the start waits for
}

// Main is the main function of the first process. The lock that it inherits is
// held, and says that the cluster runs, until the process ends.
func Main(dir layout.Dir) error {
	lock := os.NewFile(lockDescriptor, "lock")
	defer lock.Close()
	report := newReporter(os.NewFile(reportDescriptor, "report"))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	p, err := prepare(ctx, dir, report)
	if err == nil {
		err = p.start(ctx)
	}
	report.finish(err)
	if err == nil {
		log.Print("the cluster is ready")
		<-ctx.Done()
	}
	if p != nil {
		p.stop()
	}
	return err
}

// prepare sets up the namespaces and opens the way to the API server.
func prepare(ctx context.Context, dir layout.Dir, report *reporter) (*plane, error) {
	boot, err := readBoot(dir)
	if err != nil {
		return nil, err
	}
	if err := sandbox.Enter(); err != nil {
		return nil, err
	}
	if err := network.Setup(boot.Nodes.Most()); err != nil {
		return nil, err
	}
	listener, err := net.FileListener(os.NewFile(listenerDescriptor, "listener"))
	if err != nil {
		return nil, fmt.Errorf("cannot use the listener for the API server: %w", err)
	}
	p := &plane{boot: boot, table: process.NewTable(), report: report}
	p.supervisor = supervisor.New(p.table, dir.Run("components.json"))
	if p.authority, err = pki.OpenAuthority(dir.PKI(""), "ca"); err != nil {
		return nil, err
	}
	p.config, err = clientcmd.BuildConfigFromFlags("", component.Kubeconfig(dir, "supervisor"))
	if err != nil {
		return nil, err
	}
	p.config.QPS, p.config.Burst = 200, 400
	if p.client, err = kubernetes.NewForConfig(p.config); err != nil {
		return nil, err
	}
	// kube-proxy looks for nft in PATH.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":"+filepath.Dir(boot.NFT)); err != nil {
		return nil, err
	}
	if err := network.SetupHairpin(boot.NFT, p.table.Run); err != nil {
		return nil, err
	}
	go func() {
		target := fmt.Sprintf("%s:%d", layout.PlaneIP, layout.APIPort)
		if err := forward.Serve(ctx, listener, target); err != nil {
			log.Printf("the forwarder to the API server ended: %v", err)
		}
	}()
	return p, nil
}

// start brings everything up, step by step.
func (p *plane) start(ctx context.Context) error {
	begin := time.Now()
	dir := p.boot.Dir
	p.keep(ctx, component.Etcd, component.EtcdArgs(dir))
	if err := p.await(ctx, "etcd", component.Etcd, cluster.Serves(layout.EtcdURL+"/health")); err != nil {
		return err
	}
	p.keep(ctx, component.APIServer, component.APIServerArgs(dir))
	if err := p.await(ctx, "API server", component.APIServer, cluster.APIReady(p.client)); err != nil {
		return err
	}
	if err := p.forgetNodes(ctx); err != nil {
		return err
	}
	p.keep(ctx, component.ControllerManager, component.ControllerManagerArgs(dir))
	p.keep(ctx, component.Scheduler, component.SchedulerArgs(dir))
	if err := p.startNodes(ctx); err != nil {
		return err
	}
	if err := cluster.ApplyManifests(ctx, p.config); err != nil {
		return err
	}
	p.supervisor.Keep(ctx, supervisor.Program{
		Name: "coredns", Path: p.boot.CoreDNS, Args: []string{"-conf", dir.Config("Corefile")},
		Log: dir.Log("coredns"), Restart: true,
	})
	go func() {
		if err := storage.Run(ctx, p.client, dir.Volumes()); err != nil {
			log.Printf("the storage controller ended: %v", err)
		}
	}()
	p.report.step("storage class local")
	if err := p.await(ctx, "DNS", "coredns", cluster.DNSAnswers()); err != nil {
		return err
	}
	if err := p.awaitNodes(ctx, begin); err != nil {
		return err
	}
	if err := p.await(ctx, "scheduler", component.Scheduler, cluster.Serves("https://127.0.0.1:10259/healthz")); err != nil {
		return err
	}
	if err := p.await(ctx, "controllers", component.ControllerManager, cluster.ControllersWork(p.client)); err != nil {
		return err
	}
	go p.fleet.Run(ctx)
	return nil
}

func (p *plane) keep(ctx context.Context, name string, args []string) {
	p.supervisor.Keep(ctx, supervisor.Program{
		Name: name, Path: sandbox.Self, Args: append([]string{name}, args...),
		Log: p.boot.Dir.Log(name), Restart: true,
	})
}

// await waits for a check and reports the step; program's log is where to look
// when it does not come true.
func (p *plane) await(ctx context.Context, step, program string, check cluster.Check) error {
	limited, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := cluster.Await(limited, check); err != nil {
		switch {
		case ctx.Err() != nil:
			return errors.New("the start was interrupted")
		case errors.Is(err, cluster.ErrHopeless):
			return err
		}
		return fmt.Errorf("%s: not ready after %s: %w: see %s", step, stepTimeout, err, p.boot.Dir.Log(program))
	}
	p.report.step(step)
	return nil
}

// stop lets etcd close its files. Everything else ends with this process.
func (p *plane) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := p.supervisor.Stop(ctx, component.Etcd); err != nil {
		log.Print(err)
	}
}
