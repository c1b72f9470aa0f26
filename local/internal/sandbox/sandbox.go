// Package sandbox starts this program again as the first process of its own
// user, network, mount and PID namespaces. When that process ends, the kernel
// ends every other process of the PID namespace and frees its mounts and
// network devices.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Self is this program, also after its file was replaced or removed.
const Self = "/proc/self/exe"

// Command prepares this program as the first process of new namespaces, with
// files as its descriptors 3 and up. If tied, the process is killed when the
// calling thread ends, which must then be locked to its goroutine.
func Command(args []string, files []*os.File, tied bool) (*exec.Cmd, error) {
	uids, gids, err := identityMaps()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(Self)
	cmd.Args = append([]string{"localcluster"}, args...)
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UidMappings:                uids,
		GidMappings:                gids,
		GidMappingsEnableSetgroups: os.Geteuid() == 0 && setgroupsAllowed(),
		Setsid:                     true,
	}
	if tied {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	return cmd, nil
}

// Explain turns the error of starting such a command into a sentence that says
// what to do.
func Explain(err error) error {
	for _, refusal := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EINVAL, unix.EUSERS} {
		if errors.Is(err, refusal) {
			return fmt.Errorf("this kernel does not let you create user namespaces (%w): allow them with sysctl "+
				"user.max_user_namespaces, kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns", refusal)
		}
	}
	return fmt.Errorf("cannot start the cluster's first process: %w", err)
}

// Enter finishes the set-up from inside: it keeps mounts from leaking out and
// shows the processes of the new PID namespace in /proc.
func Enter() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return Explain(err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("cannot mount /proc for the cluster (%w): if this is a container, start it with /proc unmasked", err)
	}
	return nil
}

// setgroupsAllowed is false below a user namespace that forbids it: then it
// stays forbidden.
func setgroupsAllowed() bool {
	data, err := os.ReadFile("/proc/self/setgroups")
	return err == nil && strings.TrimSpace(string(data)) == "allow"
}

// wholeRange is the id range of a machine's first user namespace.
const wholeRange = 1<<32 - 1

// identityMaps keeps every user and group for root, and maps anybody else to
// root of the namespace, since one id is all that the kernel grants them.
func identityMaps() (uids, gids []syscall.SysProcIDMap, err error) {
	if uid := os.Geteuid(); uid != 0 {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
			[]syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}, nil
	}
	if uids, err = readMap("/proc/self/uid_map"); err != nil {
		return nil, nil, err
	}
	gids, err = readMap("/proc/self/gid_map")
	return uids, gids, err
}

func readMap(path string) ([]syscall.SysProcIDMap, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseMap(string(data))
}

func parseMap(text string) ([]syscall.SysProcIDMap, error) {
	var ids []syscall.SysProcIDMap
	for line := range strings.Lines(text) {
		var inside, outside, count int
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err != nil {
			return nil, fmt.Errorf("cannot read the id map line %q: %w", strings.TrimSpace(line), err)
		}
		if inside == 0 && count == wholeRange {
			// Programs take a map of the whole range for the machine's first user
			// namespace, and then fail at what only root of that one may do.
			count--
		}
		ids = append(ids, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: count})
	}
	return ids, nil
}
