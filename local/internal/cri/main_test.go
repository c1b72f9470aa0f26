package cri

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideVariable marks the run of the tests inside namespaces of their own.
const insideVariable = "LOCALCLUSTER_TEST_INSIDE"

const (
	testNodeIP  = "10.99.0.10"
	testPodCIDR = "10.244.7.0/24"
)

// TestMain runs the tests as the first process of new namespaces, as a node
// would find them. Where the kernel forbids that, the tests that need it skip.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ShimCommand {
		ShimMain()
	}
	if os.Getenv(insideVariable) != "" {
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	err := runInside()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		os.Exit(m.Run())
	}
}

func runInside() error {
	command := exec.Command(self, os.Args[1:]...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.Env = append(os.Environ(), insideVariable+"=1")
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   unix.SIGKILL,
	}
	return command.Run()
}

// furnish gives the namespaces a /proc and the node's address.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return err
	}
	address := &net.IPNet{IP: net.ParseIP(testNodeIP), Mask: net.CIDRMask(32, 32)}
	return netlink.AddrAdd(loopback, &netlink.Addr{IPNet: address})
}

func needNamespaces(t *testing.T) {
	t.Helper()
	if os.Getenv(insideVariable) == "" {
		t.Skip("this kernel does not let this user create namespaces, which containers need")
	}
}
