// Package process starts and reaps processes in the first process of a PID
// namespace. That one inherits orphans, so it must wait for any child and tell
// its own from the rest. While a Table is in use, os/exec must not be: the two
// would steal each other's exit statuses.
package process

import (
	"errors"
	"os"
	"sync"
	"syscall"
)

// Process is a child that was started through a Table.
type Process struct {
	PID    int
	done   chan struct{}
	status syscall.WaitStatus
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} {
	return p.done
}

// Status is how the process ended. It is valid once Done is closed.
func (p *Process) Status() syscall.WaitStatus {
	return p.status
}

// Table knows the children that are running.
type Table struct {
	mutex    sync.Mutex
	children map[int]*Process
	started  chan struct{}
	once     sync.Once
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{children: map[int]*Process{}, started: make(chan struct{}, 1)}
}

// Start runs a program. argv[0] is its name, as for os.StartProcess.
func (t *Table) Start(path string, argv []string, attributes *os.ProcAttr) (*Process, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	child, err := os.StartProcess(path, argv, attributes)
	if err != nil {
		return nil, err
	}
	process := &Process{PID: child.Pid, done: make(chan struct{})}
	t.children[child.Pid] = process
	if err := child.Release(); err != nil {
		return nil, err
	}
	t.once.Do(func() { go t.reap() })
	select {
	case t.started <- struct{}{}:
	default:
	}
	return process, nil
}

// Signal sends a signal to a child unless it has ended.
func (t *Table) Signal(process *Process, signal syscall.Signal) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.children[process.PID] != process {
		return nil
	}
	return syscall.Kill(process.PID, signal)
}

func (t *Table) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			<-t.started
		case err == nil:
			t.end(pid, status)
		}
	}
}

func (t *Table) end(pid int, status syscall.WaitStatus) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if process, ok := t.children[pid]; ok {
		delete(t.children, pid)
		process.status = status
		close(process.done)
	}
}
