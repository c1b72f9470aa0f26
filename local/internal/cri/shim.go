package cri

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ShimCommand is the first argument with which the runtime runs this program
// again to become a container's process. main must call ShimMain for it before
// anything else.
const ShimCommand = "shim"

// Descriptors of the shim, besides its standard streams, which are the container's.
const (
	shimOrder  = 3 // where it reads its order
	shimReport = 4 // where it writes why it failed; closed by the execve
)

// order tells the shim what to become.
type order struct {
	Root        string   `json:"root"`
	Steps       []step   `json:"steps"`
	Args        []string `json:"args"`
	Environment []string `json:"environment"`
	Directory   string   `json:"directory"`
	// Drop are the numbers of the capabilities that the container lacks.
	Drop       []int `json:"drop"`
	NoNewPrivs bool  `json:"noNewPrivs"`
}

// ShimMain is the first process of a container until it becomes the container's
// program. It runs in the container's new mount and PID namespaces, builds the
// root file system there and never returns.
func ShimMain() {
	runtime.LockOSThread()
	unix.CloseOnExec(shimOrder)
	unix.CloseOnExec(shimReport)
	report := os.NewFile(shimReport, "report")
	err := becomeContainer()
	fmt.Fprint(report, err)
	os.Exit(startErrorCode)
}

func becomeContainer() error {
	// The signal of the pod's thread ends this process from now on. Whoever gave
	// the order and died before then leaves an order that cannot be read.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("cannot tie the container to its pod: %w", err)
	}
	var o order
	if err := json.NewDecoder(os.NewFile(shimOrder, "order")).Decode(&o); err != nil {
		return fmt.Errorf("cannot read what to run: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot separate the mounts of the container: %w", err)
	}
	unix.Umask(0)
	if err := (builder{root: o.Root}).run(o.Steps); err != nil {
		return err
	}
	if err := enterRoot(o.Root); err != nil {
		return err
	}
	unix.Umask(0o022)
	if err := unix.Chdir(o.Directory); err != nil {
		return fmt.Errorf("cannot enter the working directory %s: %w", o.Directory, err)
	}
	program, err := findProgram(o.Args[0], variable(o.Environment, "PATH"))
	if err != nil {
		return err
	}
	if err := dropCapabilities(o.Drop); err != nil {
		return fmt.Errorf("cannot limit the capabilities of the container: %w", err)
	}
	if o.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot forbid new privileges: %w", err)
		}
	}
	return fmt.Errorf("cannot run %s: %w", program, unix.Exec(program, o.Args, o.Environment))
}

// findProgram looks a program up as execvp does, in the calling thread's root.
func findProgram(name, searchPath string) (string, error) {
	if strings.Contains(name, "/") {
		if err := unix.Access(name, unix.X_OK); err != nil {
			return "", fmt.Errorf("cannot run %s: %w", name, err)
		}
		return name, nil
	}
	for _, directory := range filepath.SplitList(searchPath) {
		candidate := filepath.Join(directory, name)
		info, err := os.Stat(candidate)
		if err == nil && info.IsDir() {
			continue
		}
		if err == nil {
			err = unix.Access(candidate, unix.X_OK)
		}
		if err == nil {
			return candidate, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("cannot run %s: %w", candidate, err)
		}
	}
	return "", fmt.Errorf("the program %q is not on PATH (%s): %w", name, searchPath, exec.ErrNotFound)
}
