package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// binaryVariable names the program under test; without it the one that
	// make build leaves in bin/ is taken.
	binaryVariable = "LOCALCLUSTER_BINARY"
	builtBinary    = "../../../bin/localcluster"
	patience       = 60 * time.Second
)

const nodesFile = `
nodes:
  - name: plain
    capacity: {cpu: "4", memory: 4Gi, pods: "20"}
  - name: tainted
    labels: {pool: gpu}
    taints: [{key: example.com/pool, value: gpu, effect: NoExecute}]
    capacity: {cpu: "4", memory: 4Gi, pods: "20", nvidia.com/gpu: "4"}
`

// The web server of the test is kubectl's proxy, which needs an account's token
// and the API server's Service.
const workload = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Mi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {pool: gpu}
      tolerations: [{key: example.com/pool, value: gpu, effect: NoExecute}]
      containers:
        - name: web
          image: test/localcluster
          args: [kubectl, --kubeconfig=/dev/null, proxy, --address=0.0.0.0, --accept-hosts=.*, --port=8080]
          resources: {limits: {nvidia.com/gpu: "1"}}
          readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: caller}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: caller
          image: test/shell
          command: [sh, -c]
          args:
            - |
              until "$LOCALCLUSTER" kubectl --kubeconfig=/dev/null --server=http://web.default.svc.cluster.local \
                get --raw /version > /data/version; do sleep 0.2; done
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`

type machine struct {
	binary, dir, nodes, images string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	binary := os.Getenv(binaryVariable)
	if binary == "" {
		binary = builtBinary
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil || testing.Short() {
		t.Skipf("needs %s and time: run make build, and go test without -short", binary)
	}
	root := t.TempDir()
	m := machine{
		binary: binary,
		dir:    filepath.Join(root, "cluster"),
		nodes:  filepath.Join(root, "nodes.yaml"),
		images: filepath.Join(root, "images.yaml"),
	}
	images := fmt.Sprintf(`
images:
  - {name: test/localcluster, roots: [%q], entrypoint: [%q]}
  - {name: test/shell, roots: [%q], path: [/usr/local/bin, /usr/bin, /bin], env: {LOCALCLUSTER: %q}}
`, filepath.Dir(binary), binary, filepath.Dir(binary), binary)
	for path, text := range map[string]string{m.nodes: nodesFile, m.images: images} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if output, err := m.try("", "down"); err != nil {
			t.Errorf("down: %v: %s", err, output)
		}
	})
	return m
}

func (m machine) try(input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.binary, args...)
	cmd.Env = append(os.Environ(), "LOCALCLUSTER_DIR="+m.dir)
	cmd.Stdin = strings.NewReader(input)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	return output.String(), err
}

func (m machine) run(t *testing.T, args ...string) string {
	t.Helper()
	output, err := m.try("", args...)
	if err != nil {
		t.Fatalf("localcluster %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return output
}

func (m machine) up(t *testing.T) string {
	t.Helper()
	return m.run(t, "up", "--port", "0", "--nodes", m.nodes, "--images", m.images)
}

// process is a line of status.
type process struct {
	state         string
	pid, restarts int
}

var statusLine = regexp.MustCompile(`(?m)^(\S+) +(running|restarting|stopped) +(\d+|-) +(\d+) `)

func (m machine) processes(t *testing.T) map[string]process {
	t.Helper()
	found := map[string]process{}
	for _, match := range statusLine.FindAllStringSubmatch(m.run(t, "status"), -1) {
		pid, _ := strconv.Atoi(match[3])
		restarts, _ := strconv.Atoi(match[4])
		found[match[1]] = process{match[2], pid, restarts}
	}
	return found
}

func (m machine) awaitProcess(t *testing.T, name string, condition func(process) bool) {
	t.Helper()
	await(t, name, func() bool { return condition(m.processes(t)[name]) })
}

func (m machine) firstProcess(t *testing.T) (pid, port int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(m.dir, "run", "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ PID, Port int }
	if err := json.Unmarshal(data, &state); err != nil {
		t.Fatal(err)
	}
	return state.PID, state.Port
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

func namespaceOf(pid string) string {
	target, err := os.Readlink(filepath.Join("/proc", pid, "ns/pid"))
	if err != nil {
		return ""
	}
	return target
}

// members are the processes of a PID namespace.
func members(t *testing.T, namespace string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, entry := range entries {
		if namespaceOf(entry.Name()) == namespace {
			pids = append(pids, entry.Name())
		}
	}
	return pids
}

func mountsAndDevices(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	devices, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(string(mounts), devices)
}

func TestALifeOfACluster(t *testing.T) {
	m := newMachine(t)
	before := mountsAndDevices(t)
	if output := m.up(t); !strings.Contains(output, "localcluster is up after") || !strings.Contains(output, "2 nodes") {
		t.Errorf("up says\n%s", output)
	}
	first, _ := m.firstProcess(t)
	namespace := namespaceOf(strconv.Itoa(first))
	if len(members(t, namespace)) < 9 {
		t.Fatalf("the namespace %q holds only %v", namespace, members(t, namespace))
	}

	t.Run("a second up does nothing", func(t *testing.T) {
		if output := m.up(t); !strings.Contains(output, "localcluster is already up") {
			t.Errorf("it says %s", output)
		}
		if again, _ := m.firstProcess(t); again != first {
			t.Errorf("the first process is now %d, was %d", again, first)
		}
	})
	t.Run("the version is stamped into client and server", func(t *testing.T) {
		output := m.run(t, "kubectl", "version")
		for _, side := range []string{"Client", "Server"} {
			if !strings.Contains(output, side+" Version: v1.") {
				t.Errorf("kubectl version says\n%s", output)
			}
		}
	})
	t.Run("a pod reaches another by its Service's name and writes to a volume", func(t *testing.T) {
		if output, err := m.try(workload, "kubectl", "apply", "-f", "-"); err != nil {
			t.Fatal(output)
		}
		m.run(t, "kubectl", "rollout", "status", "deployment/web", "--timeout=60s")
		m.run(t, "kubectl", "wait", "--for=condition=complete", "job/caller", "--timeout=60s")
		files, err := filepath.Glob(filepath.Join(m.dir, "volumes", "default-data-*", "version"))
		if err != nil || len(files) != 1 {
			t.Fatalf("the volume holds %v, %v", files, err)
		}
		if data, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(data), "gitVersion") {
			t.Errorf("the answer is %q, %v", data, err)
		}
	})
	t.Run("a killed component is started again", func(t *testing.T) {
		kill(t, m.processes(t)["kube-scheduler"].pid)
		m.awaitProcess(t, "kube-scheduler", func(p process) bool { return p.state == "running" && p.restarts == 1 })
		m.run(t, "kubectl", "delete", "pod", "-l", "app=web", "--wait=false")
		m.run(t, "kubectl", "rollout", "status", "deployment/web", "--timeout=60s")
	})
	t.Run("a killed node takes only itself along", func(t *testing.T) {
		kill(t, m.processes(t)["node-tainted"].pid)
		m.awaitProcess(t, "node-tainted", func(p process) bool { return p.state == "stopped" })
		if p := m.processes(t)["node-plain"]; p.state != "running" || p.restarts != 0 {
			t.Errorf("the other node is %+v", p)
		}
	})
	t.Run("nothing is left when the first process is killed", func(t *testing.T) {
		kill(t, first)
		await(t, "the end of the namespace", func() bool { return len(members(t, namespace)) == 0 })
		if output, err := m.try("", "status"); err == nil || !strings.Contains(output, "is not running") {
			t.Errorf("status says %q, %v", output, err)
		}
		if after := mountsAndDevices(t); after != before {
			t.Errorf("mounts and devices are\n%s\nwere\n%s", after, before)
		}
	})
	t.Run("up continues on the same data", func(t *testing.T) {
		m.up(t)
		if output := m.run(t, "kubectl", "get", "job", "caller", "-o", "jsonpath={.status.succeeded}"); output != "1" {
			t.Errorf("the job has succeeded %q times", output)
		}
		m.run(t, "kubectl", "rollout", "status", "deployment/web", "--timeout=60s")
	})
	t.Run("a deleted claim takes its directory along", func(t *testing.T) {
		m.run(t, "kubectl", "delete", "job", "caller", "--wait=true")
		m.run(t, "kubectl", "delete", "pvc", "data", "--wait=true")
		await(t, "the end of the directory", func() bool {
			left, err := filepath.Glob(filepath.Join(m.dir, "volumes", "*"))
			return err == nil && len(left) == 0
		})
		await(t, "the end of the volume", func() bool {
			return strings.Contains(m.run(t, "kubectl", "get", "pv"), "No resources found")
		})
	})
	t.Run("down leaves no process, port or mount, and purge no file", func(t *testing.T) {
		last, port := m.firstProcess(t)
		namespace := namespaceOf(strconv.Itoa(last))
		m.run(t, "down")
		await(t, "the end of the namespace", func() bool { return len(members(t, namespace)) == 0 })
		listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Errorf("the port is still taken: %v", err)
		} else {
			listener.Close()
		}
		if after := mountsAndDevices(t); after != before {
			t.Errorf("mounts and devices are\n%s\nwere\n%s", after, before)
		}
		m.run(t, "down", "--purge")
		if _, err := os.Stat(m.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory is left: %v", err)
		}
	})
}

func TestAClusterInTheForegroundDiesWithItsSupervisor(t *testing.T) {
	m := newMachine(t)
	if err := os.WriteFile(m.nodes, []byte("nodes: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	supervisor := exec.Command(m.binary, "up", "--foreground", "--dir", m.dir, "--port", "0", "--nodes", m.nodes, "--images", m.images)
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the cluster", func() bool {
		output, err := m.try("", "status")
		return err == nil && strings.Contains(output, "localcluster is up at")
	})
	first, _ := m.firstProcess(t)
	namespace := namespaceOf(strconv.Itoa(first))
	kill(t, supervisor.Process.Pid)
	var exit *exec.ExitError
	if err := supervisor.Wait(); !errors.As(err, &exit) {
		t.Errorf("the supervisor ended with %v", err)
	}
	await(t, "the end of the namespace", func() bool { return len(members(t, namespace)) == 0 })
}
