package cri

import (
	"errors"
	"runtime"
)

// thread is an operating system thread that has namespaces of its own. It holds
// them: nothing has to be mounted to keep them alive and nothing is left when it
// ends. Processes started on it are born into its namespaces, and those with a
// parent-death signal die when it ends.
type thread struct {
	work chan func()
	done chan struct{}
}

var errThreadEnded = errors.New("the pod sandbox has ended")

// startThread runs setup on a new thread and keeps the thread if it succeeds.
func startThread(setup func() error) (*thread, error) {
	t := &thread{work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go func() {
		// Never unlocked: the thread ends with this goroutine.
		runtime.LockOSThread()
		if err := setup(); err != nil {
			ready <- err
			return
		}
		ready <- nil
		for {
			select {
			case call := <-t.work:
				call()
			case <-t.done:
				return
			}
		}
	}()
	return t, <-ready
}

// do runs call on the thread and returns its error.
func (t *thread) do(call func() error) error {
	result := make(chan error, 1)
	select {
	case t.work <- func() { result <- call() }:
		return <-result
	case <-t.done:
		return errThreadEnded
	}
}

// end lets the thread go. It may be called once.
func (t *thread) end() {
	close(t.done)
}

// onThread runs call on a thread that is thrown away afterwards.
func onThread(call func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- call()
	}()
	return <-result
}
