package cri

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// self is this program, also after its file was replaced or removed.
const self = "/proc/self/exe"

// outputWait bounds the wait for the rest of a container's output after its end.
const outputWait = 2 * time.Second

// StartContainer starts a container's process. It returns when the program has
// been executed, so that hooks and probes find the container complete.
func (r *Runtime) StartContainer(_ context.Context, id string) error {
	c, err := r.container(id)
	if err != nil {
		return err
	}
	c.launching.Lock()
	defer c.launching.Unlock()
	if c.currentState() != runtimeapi.ContainerState_CONTAINER_CREATED {
		return status.Errorf(codes.FailedPrecondition, "container %s was started before", id)
	}
	process, p, err := r.start(c)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.startedAt = now()
	if err != nil {
		c.finish(ending{at: c.startedAt, code: startErrorCode, reason: "StartError", message: err.Error()})
		return err
	}
	c.process = process.Process
	c.state = runtimeapi.ContainerState_CONTAINER_RUNNING
	go c.watch(process, p)
	return nil
}

// start runs the shim and hands it the container's order.
func (r *Runtime) start(c *container) (*exec.Cmd, *pipes, error) {
	p, err := c.openPipes()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the pipes of the container: %w", err)
	}
	defer p.closeChild()
	process := exec.Command(self)
	process.Args = []string{"localcluster", ShimCommand}
	process.Env = []string{}
	process.Stdout, process.Stderr = p.stdout, p.stderr
	process.ExtraFiles = []*os.File{p.orderReader, p.reportWriter}
	process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Setsid: true}
	if err := r.launch(c, process); err != nil {
		p.closeParent()
		return nil, nil, fmt.Errorf("cannot start the container: %w", err)
	}
	p.closeChild()
	if err := p.instruct(c.order); err != nil {
		process.Wait()
		p.closeParent()
		return nil, nil, err
	}
	return process, p, nil
}

// launch starts a process on the pod's thread, in the PID namespace that the
// container asks for.
func (r *Runtime) launch(c *container, process *exec.Cmd) error {
	options := c.security().GetNamespaceOptions()
	switch options.GetPid() {
	case runtimeapi.NamespaceMode_NODE:
		return c.sandbox.thread.do(process.Start)
	case runtimeapi.NamespaceMode_TARGET:
		target, err := r.container(options.GetTargetId())
		if err != nil {
			return err
		}
		return c.sandbox.thread.do(func() error { return startBeside(target, process) })
	default:
		process.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID
		return c.sandbox.thread.do(process.Start)
	}
}

// startBeside starts a process in the PID namespace of a running container.
func startBeside(target *container, process *exec.Cmd) error {
	own, err := os.Open("/proc/thread-self/ns/pid")
	if err != nil {
		return err
	}
	defer own.Close()
	other, err := target.openNamespace("pid")
	if err != nil {
		return err
	}
	defer other.Close()
	if err := unix.Setns(int(other.Fd()), unix.CLONE_NEWPID); err != nil {
		return err
	}
	return errors.Join(process.Start(), unix.Setns(int(own.Fd()), unix.CLONE_NEWPID))
}

// watch writes a container's output and records its end.
func (c *container) watch(process *exec.Cmd, p *pipes) {
	var output sync.WaitGroup
	for stream, reader := range map[string]*os.File{"stdout": p.stdoutReader, "stderr": p.stderrReader} {
		output.Go(func() { c.drain(stream, reader) })
	}
	process.Wait()
	if process.SysProcAttr.Cloneflags&unix.CLONE_NEWPID == 0 {
		// No PID namespace ended with it. A group that is empty is no error.
		unix.Kill(-process.Process.Pid, unix.SIGKILL)
	}
	// Processes outside the container's PID namespace may hold its output open.
	expired := time.AfterFunc(outputWait, p.closeParent)
	output.Wait()
	expired.Stop()
	p.closeParent()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.finish(describeEnd(process.ProcessState.Sys().(syscall.WaitStatus)))
}

func (c *container) drain(stream string, reader *os.File) {
	if c.log != nil {
		if err := c.log.copyFrom(stream, reader); err == nil {
			return
		}
	}
	// A container must not block on output that cannot be written.
	io.Copy(io.Discard, reader)
}

func describeEnd(status syscall.WaitStatus) ending {
	end := ending{at: now(), code: int32(status.ExitStatus()), reason: "Error"}
	switch {
	case status.Signaled():
		end.code = startErrorCode + int32(status.Signal())
	case end.code == 0:
		end.reason = "Completed"
	}
	return end
}

// pipes connect a container's shim: its output, its order and its report.
type pipes struct {
	stdoutReader, stdout       *os.File
	stderrReader, stderr       *os.File
	orderReader, orderWriter   *os.File
	reportReader, reportWriter *os.File
	closing                    sync.Once
}

func (c *container) openPipes() (*pipes, error) {
	if c.logPath != "" {
		log, err := openLog(c.logPath, time.Now)
		if err != nil {
			return nil, err
		}
		c.log = log
	}
	p := &pipes{}
	for _, ends := range [][2]**os.File{
		{&p.stdoutReader, &p.stdout}, {&p.stderrReader, &p.stderr},
		{&p.orderReader, &p.orderWriter}, {&p.reportReader, &p.reportWriter},
	} {
		reader, writer, err := os.Pipe()
		if err != nil {
			p.closeChild()
			p.closeParent()
			return nil, err
		}
		*ends[0], *ends[1] = reader, writer
	}
	return p, nil
}

// instruct sends the order and waits until the program runs.
func (p *pipes) instruct(o order) error {
	defer p.orderWriter.Close()
	defer p.reportReader.Close()
	if err := json.NewEncoder(p.orderWriter).Encode(o); err != nil && !errors.Is(err, unix.EPIPE) {
		return fmt.Errorf("cannot tell the container what to run: %w", err)
	}
	p.orderWriter.Close()
	report, err := io.ReadAll(p.reportReader)
	if err != nil {
		return fmt.Errorf("cannot learn whether the container runs: %w", err)
	}
	if len(report) > 0 {
		return errors.New(string(report))
	}
	return nil
}

func (p *pipes) closeChild() {
	for _, file := range []*os.File{p.stdout, p.stderr, p.orderReader, p.reportWriter} {
		file.Close()
	}
}

func (p *pipes) closeParent() {
	p.closing.Do(func() {
		for _, file := range []*os.File{p.stdoutReader, p.stderrReader, p.orderWriter, p.reportReader} {
			file.Close()
		}
	})
}
