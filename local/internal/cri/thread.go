package cri

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
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
	goOnThread(func() {
		err := setup()
		ready <- err
		if err == nil {
			t.serve()
		}
	})
	return t, <-ready
}

func (t *thread) serve() {
	for {
		select {
		case call := <-t.work:
			call()
		case <-t.done:
			return
		}
	}
}

// goOnThread runs call on a thread that ends with it, whatever call did to its
// namespaces. That thread is never the main one: what /proc/self shows is the
// main thread's, and the kubelet reads its mounts there.
func goOnThread(call func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			call()
			return
		}
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			call()
		}()
		<-locked
		runtime.UnlockOSThread()
	}()
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
	goOnThread(func() { result <- call() })
	return <-result
}
