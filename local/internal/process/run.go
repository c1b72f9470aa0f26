package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Describe says in words how a process ended.
func Describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("killed by signal %d (%s)", int(status.Signal()), status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// Run starts a program, feeds it input and returns what it wrote to its
// standard output and error. A status other than 0 is an error.
func (t *Table) Run(path string, args []string, input string) (string, error) {
	stdin, feed, err := os.Pipe()
	if err != nil {
		return "", err
	}
	drain, stdout, err := os.Pipe()
	if err != nil {
		return "", errors.Join(err, stdin.Close(), feed.Close())
	}
	defer drain.Close()
	child, err := t.Start(path, append([]string{path}, args...), &os.ProcAttr{
		Files: []*os.File{stdin, stdout, stdout},
		Env:   os.Environ(),
	})
	stdin.Close()
	stdout.Close()
	if err != nil {
		feed.Close()
		return "", err
	}
	go func() {
		defer feed.Close()
		io.WriteString(feed, input)
	}()
	output, err := io.ReadAll(drain)
	<-child.Done()
	if err == nil && child.Status() != 0 {
		err = errors.New(Describe(child.Status()))
	}
	return string(output), err
}
