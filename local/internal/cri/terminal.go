package cri

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// executeOnTerminal is execute for a command that has a terminal of the
// container as its standard streams.
func (c *container) executeOnTerminal(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer, sizes <-chan remotecommand.TerminalSize) error {
	var command *exec.Cmd
	var control *os.File
	err := onThread(func() error {
		if err := c.enter(); err != nil {
			return err
		}
		var err error
		if command, err = c.prepare(args); err != nil {
			return err
		}
		var terminal *os.File
		if control, terminal, err = openTerminal(); err != nil {
			return err
		}
		defer terminal.Close()
		command.Stdin, command.Stdout, command.Stderr = terminal, terminal, terminal
		command.SysProcAttr.Setctty = true
		if variable(command.Env, "TERM") == "" {
			command.Env = append(command.Env[:len(command.Env):len(command.Env)], "TERM=xterm")
		}
		if err := command.Start(); err != nil {
			control.Close()
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer control.Close()
	go resize(control, sizes)
	if stdin != nil {
		go io.Copy(control, stdin)
	}
	drained := make(chan struct{})
	go func() {
		// Ends with an error when the last process closes the terminal.
		io.Copy(stdout, control)
		close(drained)
	}()
	err = wait(ctx, command)
	select {
	case <-drained:
	case <-time.After(execOutputWait):
	}
	return err
}

func resize(control *os.File, sizes <-chan remotecommand.TerminalSize) {
	for size := range sizes {
		// A terminal that is gone needs no size.
		_ = onDescriptor(control, func(fd int) error {
			return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Height, Col: size.Width})
		})
	}
}

// openTerminal makes a pseudo terminal in the root of the calling thread.
func openTerminal() (control, terminal *os.File, err error) {
	control, err = os.OpenFile("/dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a terminal: %w", err)
	}
	var number int
	err = onDescriptor(control, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		control.Close()
		return nil, nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	return control, terminal, nil
}

// onDescriptor calls call with a file's descriptor. Unlike File.Fd it leaves
// the file in the state in which Close ends a pending read.
func onDescriptor(file *os.File, call func(fd int) error) error {
	connection, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := connection.Control(func(fd uintptr) { failure = call(int(fd)) }); err != nil {
		return err
	}
	return failure
}
