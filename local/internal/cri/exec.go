package cri

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	criclient "k8s.io/cri-client/pkg"
	utilexec "k8s.io/utils/exec"
)

// execOutputWait bounds the wait for output of a command that has ended but
// left processes behind which hold its output open.
const execOutputWait = 10 * time.Second

// openNamespace opens a namespace of the container's process.
func (c *container) openNamespace(kind string) (*os.File, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return nil, status.Errorf(codes.FailedPrecondition, "container %s is not running", c.config.GetMetadata().GetName())
	}
	return os.Open(filepath.Join("/proc", strconv.Itoa(c.process.Pid), "ns", kind))
}

// enter puts the calling thread, which must be locked and is of no other use
// afterwards, into the container's namespaces. Children are born there.
func (c *container) enter() error {
	var files []*os.File
	defer func() {
		for _, file := range files {
			file.Close()
		}
	}()
	// The mount namespace is last: the others are found through /proc of this one.
	for _, kind := range []string{"uts", "ipc", "net", "pid", "mnt"} {
		file, err := c.openNamespace(kind)
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("cannot separate the thread: %w", err)
	}
	for _, file := range files {
		if err := unix.Setns(int(file.Fd()), 0); err != nil {
			return fmt.Errorf("cannot enter the container: %w", err)
		}
	}
	return nil
}

// prepare returns a command that will run in the container. The calling thread
// must have entered it. The command must be started there.
func (c *container) prepare(args []string) (*exec.Cmd, error) {
	if len(args) == 0 {
		return nil, status.Error(codes.InvalidArgument, "there is no command to execute")
	}
	if err := unix.Chdir(c.order.Directory); err != nil {
		return nil, fmt.Errorf("cannot enter the working directory: %w", err)
	}
	program, err := findProgram(args[0], variable(c.order.Environment, "PATH"))
	if err != nil {
		return nil, err
	}
	if err := dropCapabilities(c.order.Drop); err != nil {
		return nil, err
	}
	return &exec.Cmd{
		Path:        program,
		Args:        args,
		Env:         c.order.Environment,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		WaitDelay:   execOutputWait,
	}, nil
}

// execute runs a command in the container and waits for its end, or until ctx
// is done; then the command is killed. A status other than 0 is a CodeExitError.
func (c *container) execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var command *exec.Cmd
	var input io.WriteCloser
	err := onThread(func() error {
		if err := c.enter(); err != nil {
			return err
		}
		var err error
		if command, err = c.prepare(args); err != nil {
			return err
		}
		command.Stdout, command.Stderr = stdout, stderr
		if stdin != nil {
			// Copied here and not by Wait, which would wait for the end of stdin.
			if input, err = command.StdinPipe(); err != nil {
				return err
			}
		}
		return command.Start()
	})
	if err != nil {
		return err
	}
	if input != nil {
		go func() {
			io.Copy(input, stdin)
			input.Close()
		}()
	}
	return wait(ctx, command)
}

func wait(ctx context.Context, command *exec.Cmd) error {
	stop := context.AfterFunc(ctx, func() { unix.Kill(-command.Process.Pid, unix.SIGKILL) })
	err := command.Wait()
	if !stop() && ctx.Err() != nil {
		return ctx.Err()
	}
	if _, isExit := errors.AsType[*exec.ExitError](err); err != nil && !isExit && !errors.Is(err, exec.ErrWaitDelay) {
		return err
	}
	end := describeEnd(command.ProcessState.Sys().(syscall.WaitStatus))
	if end.code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("exit status %d", end.code), Code: int(end.code)}
	}
	return nil
}

// ExecSync runs a command in a container and returns its output. timeout 0
// means none.
func (r *Runtime) ExecSync(ctx context.Context, id string, args []string, timeout time.Duration) ([]byte, []byte, error) {
	c, err := r.container(id)
	if err != nil {
		return nil, nil, err
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	var stdout, stderr bytes.Buffer
	err = c.execute(ctx, args, nil, &stdout, &stderr)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, nil, fmt.Errorf("%w: %q timed out after %s", criclient.ErrCommandTimedOut, strings.Join(args, " "), timeout)
	}
	if exit, ok := errors.AsType[utilexec.CodeExitError](err); ok {
		exit.Err = fmt.Errorf("command %q exited with %d: %s", strings.Join(args, " "), exit.Code, stderr.String())
		err = exit
	}
	return stdout.Bytes(), stderr.Bytes(), err
}
