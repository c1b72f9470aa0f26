package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"modelservice.dev/local/internal/component"
	"modelservice.dev/local/internal/layout"
	"modelservice.dev/local/internal/network"
	"modelservice.dev/local/internal/plane"
	"modelservice.dev/local/internal/sandbox"
	"modelservice.dev/local/internal/spec"
)

// upOptions are the flags of up. Dir is absolute.
type upOptions struct {
	Dir        layout.Dir
	NodesFile  string
	ImagesFile string
	Port       int
	Foreground bool
}

func up(ctx context.Context, options upOptions, output io.Writer) error {
	boot, err := readInputs(options)
	if err != nil {
		return err
	}
	if err := makeDirectories(options.Dir); err != nil {
		return err
	}
	lock, current, err := claim(options.Dir)
	if errors.Is(err, errRunning) {
		printState(output, current, "already ")
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	listener, err := listen(options.Port)
	if err != nil {
		return err
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	if err := writeFiles(boot, port); err != nil {
		return err
	}
	return launch(ctx, options, lock, listener, output)
}

// readInputs finds everything that must be there before anything is started.
func readInputs(options upOptions) (plane.Boot, error) {
	boot := plane.Boot{Dir: options.Dir, ImagesFile: options.ImagesFile}
	var err error
	if boot.Nodes, err = spec.LoadNodes(options.NodesFile); err != nil {
		return boot, err
	}
	if _, err = spec.LoadImages(options.ImagesFile); err != nil {
		return boot, err
	}
	if boot.NFT, err = network.FindNFT(); err != nil {
		return boot, err
	}
	executable, err := os.Executable()
	if err != nil {
		return boot, err
	}
	boot.CoreDNS = filepath.Join(filepath.Dir(executable), "coredns")
	if _, err := os.Stat(boot.CoreDNS); err != nil {
		return boot, fmt.Errorf("%s is missing: build it with make build", boot.CoreDNS)
	}
	return boot, nil
}

func makeDirectories(dir layout.Dir) error {
	for _, path := range []string{dir.Logs(), dir.Nodes(), dir.Volumes()} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return fmt.Errorf("cannot create the cluster's directory: %w", err)
		}
	}
	for _, path := range []string{dir.PKI(""), dir.Run(""), dir.NodeConfigs(), dir.Etcd()} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("cannot create the cluster's directory: %w", err)
		}
	}
	return nil
}

func listen(port int) (*net.TCPListener, error) {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d on 127.0.0.1 is taken: choose another with --port, or 0 for any free one", port)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on port %d: %w", port, err)
	}
	return listener, nil
}

func writeFiles(boot plane.Boot, port int) error {
	if _, err := component.WriteCredentials(boot.Dir, port); err != nil {
		return err
	}
	corefile := component.Corefile(boot.Dir)
	if err := os.WriteFile(boot.Dir.Config("Corefile"), []byte(corefile), 0o600); err != nil {
		return err
	}
	if err := setLogsAside(boot.Dir); err != nil {
		return err
	}
	os.Remove(boot.Dir.Run("components.json"))
	return plane.WriteBoot(boot)
}

// setLogsAside keeps the logs of the last start, and only of that, as *.log.old.
func setLogsAside(dir layout.Dir) error {
	logs, err := filepath.Glob(dir.Log("*"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		if err := os.Rename(path, path+".old"); err != nil {
			return err
		}
	}
	return nil
}

// launch starts the first process and follows it until the cluster is ready, in
// the foreground until it ends.
func launch(ctx context.Context, options upOptions, lock *os.File, listener *net.TCPListener, output io.Writer) error {
	begin := time.Now()
	ctx, restore := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer restore()
	if options.Foreground {
		// The first process is tied to this thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	listening, err := listener.File()
	if err != nil {
		return err
	}
	defer listening.Close()
	reports, report, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reports.Close()
	cmd, err := sandbox.Command([]string{"init", "--dir", string(options.Dir)},
		[]*os.File{lock, listening, report}, options.Foreground)
	if err != nil {
		return errors.Join(err, report.Close())
	}
	logFile, err := os.Create(options.Dir.Log("supervisor"))
	if err != nil {
		return errors.Join(err, report.Close())
	}
	defer logFile.Close()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// The cluster must not keep open what this process inherited and will not use.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return errors.Join(err, report.Close())
	}
	err = cmd.Start()
	report.Close()
	if err != nil {
		return sandbox.Explain(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	current := state{PID: cmd.Process.Pid, Port: listener.Addr().(*net.TCPAddr).Port, Started: begin}
	if err := writeState(options.Dir, current); err != nil {
		return errors.Join(err, kill(cmd))
	}
	if err := follow(reports, output); err != nil {
		return errors.Join(explainEnd(err, options.Dir), kill(cmd))
	}
	current.Ready = true
	if err := writeState(options.Dir, current); err != nil {
		return errors.Join(err, kill(cmd))
	}
	fmt.Fprintf(output, "localcluster is up after %.1f s at %s\n", time.Since(begin).Seconds(), current.url())
	fmt.Fprintf(output, "export KUBECONFIG=%s\n", options.Dir.Kubeconfig())
	if !options.Foreground {
		return nil
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return explainEnd(err, options.Dir)
}

var errEnded = errors.New("the cluster's first process ended")

// follow prints the steps until the first process is ready or fails.
func follow(reports io.Reader, output io.Writer) error {
	lines := bufio.NewScanner(reports)
	for lines.Scan() {
		var report plane.Report
		if err := json.Unmarshal(lines.Bytes(), &report); err != nil {
			return fmt.Errorf("cannot read the progress of the start: %w", err)
		}
		switch {
		case report.Error != "":
			return errors.New(report.Error)
		case report.Ready:
			return nil
		default:
			fmt.Fprintf(output, "  %-20s %5.1f s\n", report.Step, report.Seconds)
		}
	}
	return errEnded
}

func explainEnd(err error, dir layout.Dir) error {
	var exit *exec.ExitError
	if err == nil || errors.Is(err, errEnded) || errors.As(err, &exit) {
		return fmt.Errorf("%w: see %s", errEnded, dir.Log("supervisor"))
	}
	return err
}

func kill(cmd *exec.Cmd) error {
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = cmd.Wait() // its status is that of the kill
	return nil
}
