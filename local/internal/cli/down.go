package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"modelservice.dev/local/internal/layout"
)

const (
	stopPatience = 10 * time.Second
	killPatience = 20 * time.Second
)

func down(dir layout.Dir, purge bool, output io.Writer) error {
	current, up, err := running(dir)
	if err != nil {
		return err
	}
	if up {
		if err := stop(current.PID); err != nil {
			return err
		}
		fmt.Fprintln(output, "localcluster is down")
	} else {
		fmt.Fprintf(output, "localcluster is not running in %s\n", dir)
	}
	if !purge {
		return nil
	}
	return removeContents(dir)
}

// stop ends the first process, by force if it must, and waits until the kernel
// has ended everything below it.
func stop(pid int) error {
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot reach the cluster's first process %d: %w", pid, err)
	}
	defer unix.Close(handle)
	for _, attempt := range []struct {
		signal   unix.Signal
		patience time.Duration
	}{{unix.SIGTERM, stopPatience}, {unix.SIGKILL, killPatience}} {
		err := unix.PidfdSendSignal(handle, attempt.signal, nil, 0)
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot stop the cluster's first process %d: %w", pid, err)
		}
		if ended, err := awaitEnd(handle, attempt.patience); ended || err != nil {
			return err
		}
	}
	return fmt.Errorf("the cluster's first process %d did not end", pid)
}

// awaitEnd waits for the process behind a pidfd, which becomes readable when it
// has ended and its namespace is empty.
func awaitEnd(handle int, patience time.Duration) (bool, error) {
	deadline := time.Now().Add(patience)
	for {
		remaining := time.Until(deadline)
		if remaining <= 0 {
			return false, nil
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}, int(remaining.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		if ready > 0 {
			return true, nil
		}
	}
}

// removeContents deletes what up created, and the directory if nothing else is
// in it.
func removeContents(dir layout.Dir) error {
	for _, name := range layout.Entries {
		if err := os.RemoveAll(filepath.Join(string(dir), name)); err != nil {
			return fmt.Errorf("cannot remove the cluster's data: %w", err)
		}
	}
	err := os.Remove(string(dir))
	if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return err
}
