package process

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 10 * time.Second

// table is shared: two reapers in one process would steal from each other.
var table = NewTable()

func start(t *testing.T, script string) *Process {
	t.Helper()
	child, err := table.Start("/bin/sh", []string{"sh", "-c", script}, &os.ProcAttr{Files: []*os.File{nil, nil, nil}})
	if err != nil {
		t.Fatal(err)
	}
	return child
}

func await(t *testing.T, child *Process) {
	t.Helper()
	select {
	case <-child.Done():
	case <-time.After(patience):
		t.Fatal("the process did not end")
	}
}

func TestEachProcessGetsItsOwnStatus(t *testing.T) {
	children := map[int]*Process{}
	for status := range 5 {
		children[status] = start(t, "exit "+string(rune('0'+status)))
	}
	for status, child := range children {
		await(t, child)
		if got := child.Status().ExitStatus(); got != status {
			t.Errorf("status %d, want %d", got, status)
		}
	}
}

func TestASignalEndsARunningProcessAndSparesAnEndedOne(t *testing.T) {
	child := start(t, "exec sleep 60")
	if err := table.Signal(child, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, child)
	if got := Describe(child.Status()); got != "killed by signal 15 (terminated)" {
		t.Errorf("it ended with %q", got)
	}
	if err := table.Signal(child, syscall.SIGTERM); err != nil {
		t.Errorf("the second signal: %v", err)
	}
}

func TestAProgramThatDoesNotExistIsAnError(t *testing.T) {
	if _, err := table.Start("/does/not/exist", []string{"x"}, &os.ProcAttr{}); err == nil {
		t.Error("it started")
	}
}

func TestRunFeedsInputAndReturnsOutputOfBothStreams(t *testing.T) {
	output, err := table.Run("/bin/sh", []string{"-c", "cat; echo problem >&2; exit 3"}, "input ")
	if err == nil || err.Error() != "exit status 3" {
		t.Errorf("the error is %v", err)
	}
	if output != "input problem\n" {
		t.Errorf("the output is %q", output)
	}
	if _, err := table.Run("/bin/sh", []string{"-c", "exit 0"}, strings.Repeat("unread", 1<<16)); err != nil {
		t.Errorf("unread input: %v", err)
	}
}
