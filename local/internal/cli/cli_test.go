package cli

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modelservice.dev/local/internal/layout"
)

func newDir(t *testing.T) layout.Dir {
	t.Helper()
	dir := layout.Dir(filepath.Join(t.TempDir(), "cluster"))
	if err := makeDirectories(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestATakenPortIsRefusedInOneSentence(t *testing.T) {
	holder, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	_, err = listen(holder.Addr().(*net.TCPAddr).Port)
	if err == nil || !strings.Contains(err.Error(), "is taken: choose another with --port") {
		t.Errorf("the error is %v", err)
	}
}

func TestPortZeroIsAnyFreePort(t *testing.T) {
	listener, err := listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if address := listener.Addr().(*net.TCPAddr); address.Port == 0 || !address.IP.IsLoopback() {
		t.Errorf("it listens on %s", address)
	}
}

func TestUpRefusesABrokenNodesFileBeforeItTouchesTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	nodes := filepath.Join(t.TempDir(), "nodes.yaml")
	if err := os.WriteFile(nodes, []byte("nodes: [{}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := up(t.Context(), upOptions{Dir: layout.Dir(dir), NodesFile: nodes}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "entry 1: the name is missing") {
		t.Errorf("the error is %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory exists: %v", err)
	}
}

func TestAClusterRunsAsLongAsItsLockIsHeld(t *testing.T) {
	dir := newDir(t)
	want := state{PID: 42, Port: 1234, Started: time.Now().Round(0), Ready: true}
	if err := writeState(dir, want); err != nil {
		t.Fatal(err)
	}
	if _, up, err := running(dir); up || err != nil {
		t.Errorf("without a lock: %v, %v", up, err)
	}
	lock, err := acquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := acquireLock(dir); !errors.Is(err, errRunning) {
		t.Errorf("the second lock: %v", err)
	}
	got, up, err := running(dir)
	if !up || err != nil || !got.Started.Equal(want.Started) || got.PID != want.PID || got.Port != want.Port || !got.Ready {
		t.Errorf("got %+v, %v, %v", got, up, err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, up, err := running(dir); up || err != nil {
		t.Errorf("after the lock: %v, %v", up, err)
	}
}

func TestARunningClusterIsNotClaimedAgain(t *testing.T) {
	dir := newDir(t)
	lock, _, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeState(dir, state{PID: 42, Port: 1234, Ready: true}); err != nil {
		t.Fatal(err)
	}
	_, current, err := claim(dir)
	if !errors.Is(err, errRunning) || current.Port != 1234 {
		t.Errorf("the second claim gives %+v, %v", current, err)
	}
	var output bytes.Buffer
	printState(&output, current, "already ")
	if text := output.String(); !strings.Contains(text, "already up at https://127.0.0.1:1234") {
		t.Errorf("it says %q", text)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	lock, _, err = claim(dir)
	if err != nil {
		t.Fatalf("after its end: %v", err)
	}
	lock.Close()
}

func TestDownAndStatusOfNothing(t *testing.T) {
	dir := layout.Dir(filepath.Join(t.TempDir(), "none"))
	var output bytes.Buffer
	if err := down(dir, true, &output); err != nil || !strings.Contains(output.String(), "is not running") {
		t.Errorf("down says %q, %v", output.String(), err)
	}
	if err := status(dir, &output); err == nil || !strings.Contains(err.Error(), "is not running") {
		t.Errorf("status says %v", err)
	}
}

func TestPreemptNeedsAClusterANodeAndAWarningThatIsNotNegative(t *testing.T) {
	dir := newDir(t)
	refuse := func(name string, warning int, want string) {
		t.Helper()
		var output bytes.Buffer
		err := preempt(t.Context(), dir, name, warning, &output)
		if err == nil || !strings.Contains(err.Error(), want) || output.Len() > 0 {
			t.Errorf("it says %q, %v", output.String(), err)
		}
	}
	refuse("a", ownWarning, "localcluster is not running in "+string(dir))
	lock, err := acquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := writeState(dir, state{PID: 42, Port: 1234, Ready: true}); err != nil {
		t.Fatal(err)
	}
	refuse("a", ownWarning, `"a" is not a node that this cluster runs`)
	refuse("a", -5, "the warning of -5 s must not be negative")
}

func TestTheWarningIsTheValueOfAnAnnotation(t *testing.T) {
	for warning, want := range map[int]string{
		ownWarning: `{"metadata":{"annotations":{"localcluster/preempt":""}}}`,
		15:         `{"metadata":{"annotations":{"localcluster/preempt":"15"}}}`,
	} {
		if got := string(preemptPatch(warning)); got != want {
			t.Errorf("the patch is %s", got)
		}
	}
}

func TestPurgeRemovesOnlyWhatUpCreates(t *testing.T) {
	dir := newDir(t)
	foreign := filepath.Join(string(dir), "notes.txt")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeContents(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(string(dir))
	if err != nil || len(entries) != 1 || entries[0].Name() != "notes.txt" {
		t.Fatalf("left are %v, %v", entries, err)
	}
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	if err := removeContents(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(string(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty directory is left: %v", err)
	}
}

func TestProgressIsPrintedUntilTheClusterIsReady(t *testing.T) {
	var output bytes.Buffer
	reports := strings.NewReader(`{"step":"etcd","seconds":0.44}` + "\n" + `{"ready":true}` + "\n" + `{"step":"late"}` + "\n")
	if err := follow(reports, &output); err != nil {
		t.Fatal(err)
	}
	if text := output.String(); text != "  etcd                   0.4 s\n" {
		t.Errorf("the output is %q", text)
	}
}

func TestAFailedStartKeepsItsSentence(t *testing.T) {
	err := follow(strings.NewReader(`{"error":"DNS: not ready"}`+"\n"), &bytes.Buffer{})
	if err == nil || explainEnd(err, "/d").Error() != "DNS: not ready" {
		t.Errorf("the error is %v", err)
	}
}

func TestASuddenEndPointsAtTheLog(t *testing.T) {
	err := explainEnd(follow(strings.NewReader(""), &bytes.Buffer{}), "/d")
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "/d/logs/supervisor.log") {
		t.Errorf("the error is %v", err)
	}
}

func TestTheLogsOfTheLastStartAreSetAside(t *testing.T) {
	dir := newDir(t)
	for _, text := range []string{"first", "second"} {
		if err := os.WriteFile(dir.Log("etcd"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := setLogsAside(dir); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(dir.Log("etcd") + ".old")
	if err != nil || string(data) != "second" {
		t.Errorf("the old log is %q, %v", data, err)
	}
	if _, err := os.Stat(dir.Log("etcd")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log is still there: %v", err)
	}
}

func TestOwnProcessIsFoundByItsIdInsideTheNamespace(t *testing.T) {
	if got := outsidePIDs(os.Getpid())[os.Getpid()]; got != os.Getpid() {
		t.Errorf("it is %d", got)
	}
}

func TestStopOfAProcessThatIsGone(t *testing.T) {
	process, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := process.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := stop(process.Pid); err != nil {
		t.Error(err)
	}
}

func TestHelpNamesTheCommands(t *testing.T) {
	root := newRoot()
	var output bytes.Buffer
	root.SetOut(&output)
	root.SetArgs([]string{"--help"})
	if err := root.ExecuteContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"up", "down", "status", "preempt", "kubectl", "version", "isolates nothing"} {
		if !strings.Contains(output.String(), name) {
			t.Errorf("the help does not name %s", name)
		}
	}
	for _, name := range []string{"init", "node "} {
		if strings.Contains(output.String(), "\n  "+name) {
			t.Errorf("the help names the hidden command %s", name)
		}
	}
}
