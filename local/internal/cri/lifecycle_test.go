package cri

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	criclient "k8s.io/cri-client/pkg"
	utilexec "k8s.io/utils/exec"
)

const patience = 20 * time.Second

func newTestRuntime(t *testing.T) *Runtime {
	t.Helper()
	needNamespaces(t)
	r, err := New(Options{
		Root: filepath.Join(t.TempDir(), "cri"), NodeName: "node-0", NodeIP: testNodeIP, PodCIDR: testPodCIDR, Images: newTestImages(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// pod is a sandbox under test.
type pod struct {
	*testing.T
	runtime *Runtime
	id      string
	config  *runtimeapi.PodSandboxConfig
}

func runPod(t *testing.T, r *Runtime, name string) pod {
	t.Helper()
	config := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name},
		Hostname:     name,
		LogDirectory: t.TempDir(),
		DnsConfig:    &runtimeapi.DNSConfig{Servers: []string{"10.96.0.10"}, Searches: []string{"a.svc", "svc"}, Options: []string{"ndots:5"}},
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
		}},
	}
	id, err := r.RunPodSandbox(t.Context(), config, "")
	if err != nil {
		t.Fatal(err)
	}
	return pod{T: t, runtime: r, id: id, config: config}
}

// create makes a container that runs a shell script. change may be nil.
func (p pod) create(script string, change func(*runtimeapi.ContainerConfig)) string {
	p.Helper()
	config := &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "main"},
		Image:    &runtimeapi.ImageSpec{Image: "shell"},
		Args:     []string{script},
		LogPath:  "main.log",
		Linux: &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
		}},
	}
	if change != nil {
		change(config)
	}
	id, err := p.runtime.CreateContainer(p.Context(), p.id, config, p.config)
	if err != nil {
		p.Fatal(err)
	}
	return id
}

func (p pod) start(script string, change func(*runtimeapi.ContainerConfig)) string {
	p.Helper()
	id := p.create(script, change)
	if err := p.runtime.StartContainer(p.Context(), id); err != nil {
		p.Fatal(err)
	}
	return id
}

// await waits for a container's end and returns its status.
func (p pod) await(id string) *runtimeapi.ContainerStatus {
	p.Helper()
	c, err := p.runtime.container(id)
	if err != nil {
		p.Fatal(err)
	}
	select {
	case <-c.done:
	case <-time.After(patience):
		p.Fatal("the container did not end")
	}
	response, err := p.runtime.ContainerStatus(p.Context(), id, false)
	if err != nil {
		p.Fatal(err)
	}
	return response.GetStatus()
}

// log returns the text of the container's log, without times and streams.
func (p pod) log() string {
	var text strings.Builder
	for line := range strings.Lines(read(p.T, filepath.Join(p.config.LogDirectory, "main.log"))) {
		text.WriteString(strings.SplitN(line, " ", 4)[3])
	}
	return text.String()
}

func (p pod) exec(id string, args ...string) (string, error) {
	stdout, _, err := p.runtime.ExecSync(p.Context(), id, args, patience)
	return string(stdout), err
}

func TestAContainerRunsToItsEndAndTellsHow(t *testing.T) {
	p := runPod(t, newTestRuntime(t), "pod-0")
	status := p.await(p.start("echo $HOSTNAME; cat /etc/hostname /etc/resolv.conf; exit 3", nil))
	if status.ExitCode != 3 || status.Reason != "Error" || status.FinishedAt < status.StartedAt || status.StartedAt == 0 {
		t.Errorf("got %v", status)
	}
	if want := "pod-0\npod-0\nsearch a.svc svc\nnameserver 10.96.0.10\noptions ndots:5\n"; p.log() != want {
		t.Errorf("the log is %q, want %q", p.log(), want)
	}
	if status := p.await(p.start("exit 0", nil)); status.ExitCode != 0 || status.Reason != "Completed" {
		t.Errorf("got %v", status)
	}
}

func TestVolumesAreMountedWhereTheHostHasNoPathAndTheHostStaysReadOnly(t *testing.T) {
	p := runPod(t, newTestRuntime(t), "pod-0")
	data, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status := p.await(p.start(`
		echo x > /no/such/place/written && cat /etc/some/file && echo tmp > /tmp/t && echo root > /r &&
		! touch /etc/localcluster-test /usr/localcluster-test /etc/some/file/x 2>/dev/null && ! (echo y > /etc/some/file) 2>/dev/null
	`, func(config *runtimeapi.ContainerConfig) {
		config.Mounts = []*runtimeapi.Mount{
			{ContainerPath: "/no/such/place", HostPath: data},
			{ContainerPath: "/etc/some/file", HostPath: file, Readonly: true},
		}
	}))
	if status.ExitCode != 0 || p.log() != "content\n" {
		t.Fatalf("got %v with the log %q", status, p.log())
	}
	if got := read(t, filepath.Join(data, "written")); got != "x\n" {
		t.Fatalf("the volume holds %q", got)
	}
	if _, err := os.Stat("/tmp/t"); err == nil {
		t.Error("the container wrote to the host's /tmp")
	}
}

func TestAReadOnlyRootCanBeWrittenInVolumesOnly(t *testing.T) {
	p := runPod(t, newTestRuntime(t), "pod-0")
	data := t.TempDir()
	status := p.await(p.start("echo x > /data/x && ! touch /x /tmp/x /run/x 2>/dev/null", func(config *runtimeapi.ContainerConfig) {
		config.Linux.SecurityContext.ReadonlyRootfs = true
		config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/data", HostPath: data}}
	}))
	if status.ExitCode != 0 {
		t.Fatalf("got %v with the log %q", status, p.log())
	}
}

func TestAMissingProgramIsAStartError(t *testing.T) {
	p := runPod(t, newTestRuntime(t), "pod-0")
	id := p.create("", func(config *runtimeapi.ContainerConfig) { config.Command = []string{"no-such-program"} })
	if err := p.runtime.StartContainer(t.Context(), id); err == nil || !strings.Contains(err.Error(), `"no-such-program" is not on PATH`) {
		t.Errorf("got the error %v", err)
	}
	if status := p.await(id); status.ExitCode != startErrorCode || status.Reason != "StartError" {
		t.Errorf("got %v", status)
	}
}

func TestAnImageWithoutAProgramNeedsACommand(t *testing.T) {
	p := runPod(t, newTestRuntime(t), "pod-0")
	config := &runtimeapi.ContainerConfig{Image: &runtimeapi.ImageSpec{Image: "bare"}}
	if _, err := p.runtime.CreateContainer(t.Context(), p.id, config, p.config); err == nil || !strings.Contains(err.Error(), "has no command") {
		t.Errorf("got the error %v", err)
	}
}

func TestExecRunsInsideTheContainer(t *testing.T) {
	p := runPod(t, newTestRuntime(t), "pod-0")
	id := p.start("echo here > /tmp/mark; echo ready; exec sleep 1000", nil)
	p.waitForLog()
	output, err := p.exec(id, "sh", "-c", "cat /tmp/mark; hostname; tr '\\0' ' ' < /proc/1/cmdline")
	if err != nil || output != "here\npod-0\nsleep 1000 " {
		t.Errorf("got %q, %v", output, err)
	}
	_, err = p.exec(id, "sh", "-c", "exit 7")
	if exit, ok := errors.AsType[utilexec.CodeExitError](err); !ok || exit.Code != 7 {
		t.Errorf("got the error %v", err)
	}
	if _, err := p.exec(id, "no-such-program"); err == nil || !strings.Contains(err.Error(), "not on PATH") {
		t.Errorf("got the error %v", err)
	}
	_, _, err = p.runtime.ExecSync(t.Context(), id, []string{"sleep", "1000"}, 100*time.Millisecond)
	if !errors.Is(err, criclient.ErrCommandTimedOut) {
		t.Errorf("got the error %v", err)
	}
}

func TestExecCopiesInputAndOffersATerminal(t *testing.T) {
	r := newTestRuntime(t)
	p := runPod(t, r, "pod-0")
	id := p.start("exec sleep 1000", nil)
	streams := streamRuntime{r}
	var output bytes.Buffer
	if err := streams.Exec(t.Context(), id, []string{"cat"}, strings.NewReader("text"), writeCloser{&output}, nil, false, nil); err != nil || output.String() != "text" {
		t.Errorf("got %q, %v", output.String(), err)
	}
	output.Reset()
	if err := streams.Exec(t.Context(), id, []string{"sh", "-c", "test -t 0 && tty"}, nil, writeCloser{&output}, nil, true, nil); err != nil || output.String() != "/dev/pts/0\r\n" {
		t.Errorf("got %q, %v", output.String(), err)
	}
}

type writeCloser struct{ io.Writer }

func (writeCloser) Close() error { return nil }

func TestPodsReachEachOtherAndTheNode(t *testing.T) {
	r := newTestRuntime(t)
	server, client := runPod(t, r, "server"), runPod(t, r, "client")
	sandbox, err := r.sandbox(server.id)
	if err != nil {
		t.Fatal(err)
	}
	var listener net.Listener
	if err := sandbox.thread.do(func() (err error) { listener, err = net.Listen("tcp", "0.0.0.0:8080"); return err }); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			io.WriteString(connection, connection.RemoteAddr().(*net.TCPAddr).IP.String())
			connection.Close()
		}
	}()
	other, err := r.sandbox(client.id)
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(sandbox.address.String(), "8080")
	for from, dial := range map[string]func() (net.Conn, error){
		other.address.String(): func() (connection net.Conn, err error) {
			err = other.thread.do(func() (err error) { connection, err = net.DialTimeout("tcp", address, patience); return err })
			return connection, err
		},
		testNodeIP:  func() (net.Conn, error) { return net.DialTimeout("tcp", address, patience) },
		"127.0.0.1": func() (net.Conn, error) { return sandbox.dial(8080) },
	} {
		connection, err := dial()
		if err != nil {
			t.Fatalf("from %s: %v", from, err)
		}
		if got, err := io.ReadAll(connection); err != nil || string(got) != from {
			t.Errorf("the server saw %q, want %s (%v)", got, from, err)
		}
		connection.Close()
	}
}

func TestStoppingWaitsForTheGracePeriodAndThenKills(t *testing.T) {
	p := runPod(t, newTestRuntime(t), "pod-0")
	polite := p.start("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done", nil)
	p.waitForLog()
	if err := p.runtime.StopContainer(t.Context(), polite, 20); err != nil {
		t.Fatal(err)
	}
	if status := p.await(polite); status.ExitCode != 5 {
		t.Errorf("got %v", status)
	}
	deaf := p.start("while :; do sleep 0.05; done", nil)
	if err := p.runtime.StopContainer(t.Context(), deaf, 1); err != nil {
		t.Fatal(err)
	}
	if status := p.await(deaf); status.ExitCode != 128+9 {
		t.Errorf("got %v", status)
	}
}

// waitForLog waits until a container has written something.
func (p pod) waitForLog() {
	p.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if p.log() != "" {
			return
		}
	}
	p.Fatal("the container wrote nothing")
}

func TestRemovalLeavesNoFileProcessOrDevice(t *testing.T) {
	r := newTestRuntime(t)
	p := runPod(t, r, "pod-0")
	c, err := r.container(p.start("sleep 1000 & exec sleep 1000", nil))
	if err != nil {
		t.Fatal(err)
	}
	pid := c.process.Pid
	if err := r.RemovePodSandbox(t.Context(), p.id); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"sandboxes", "containers"} {
		if entries, err := os.ReadDir(filepath.Join(r.root, kind)); err != nil || len(entries) > 0 {
			t.Errorf("%s holds %v, %v", kind, entries, err)
		}
	}
	if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid))); err == nil {
		t.Error("the container's process is still there")
	}
	if got := deviceNames(t); len(got) != 1 {
		t.Errorf("the devices are %v", got)
	}
}

func TestANewRuntimeRemovesWhatAnOldOneLeft(t *testing.T) {
	r := newTestRuntime(t)
	p := runPod(t, r, "pod-0")
	s, err := r.sandbox(p.id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Root: r.root, NodeName: "node-0", NodeIP: testNodeIP, PodCIDR: testPodCIDR, Images: r.images}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.directory); err == nil {
		t.Error("the files of the old pod are still there")
	}
	if got := deviceNames(t); len(got) != 1 {
		t.Errorf("the devices are %v", got)
	}
}

func TestAContainerDiesWithTheThreadOfItsPod(t *testing.T) {
	r := newTestRuntime(t)
	p := runPod(t, r, "pod-0")
	id := p.start("exec sleep 1000", nil)
	s, err := r.sandbox(p.id)
	if err != nil {
		t.Fatal(err)
	}
	s.thread.end()
	s.stopped = true
	if status := p.await(id); status.ExitCode != 128+9 {
		t.Errorf("got %v", status)
	}
}

func TestAContainerCanJoinTheProcessesOfAnother(t *testing.T) {
	p := runPod(t, newTestRuntime(t), "pod-0")
	target := p.start("exec sleep 1000", nil)
	status := p.await(p.start("tr '\\0' ' ' < /proc/1/cmdline", func(config *runtimeapi.ContainerConfig) {
		config.Linux.SecurityContext.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: target}
	}))
	if status.ExitCode != 0 || p.log() != "sleep 1000 \n" {
		t.Errorf("got %v with the log %q", status, p.log())
	}
	own := p.await(p.start("echo $$", nil))
	if own.ExitCode != 0 || !strings.HasSuffix(p.log(), "\n1\n") {
		t.Errorf("a later container got %v with the log %q", own, p.log())
	}
}

func TestStatsCountTheProcessesOfAContainer(t *testing.T) {
	r := newTestRuntime(t)
	p := runPod(t, r, "pod-0")
	p.start("while :; do :; done", nil)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		stats, err := r.ListPodSandboxStats(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		linux := stats[0].GetLinux()
		if linux.GetCpu().GetUsageCoreNanoSeconds().GetValue() > uint64(50*time.Millisecond) && linux.GetMemory().GetRssBytes().GetValue() > 0 {
			return
		}
	}
	t.Error("the pod used no processor time or memory")
}

func deviceNames(t *testing.T) []string {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, link := range links {
		names = append(names, link.Attrs().Name)
	}
	return names
}
