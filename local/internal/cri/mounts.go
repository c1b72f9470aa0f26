package cri

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// devices are the ones a container has. They are bound: making device nodes is
// not allowed in a user namespace.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

const shmSize = "64m"

// builder carries out the steps of a plan below the directory root.
type builder struct {
	root string
}

func (b builder) run(steps []step) error {
	for _, s := range steps {
		if err := b.take(s); err != nil {
			return fmt.Errorf("cannot prepare %s: %w", s.Target, err)
		}
	}
	return nil
}

func (b builder) take(s step) error {
	target := filepath.Join(b.root, s.Target)
	switch s.Action {
	case actTmpfs:
		return mountTmpfs(target, fmt.Sprintf("mode=%o", s.Mode))
	case actBind:
		return bind(s, target)
	case actSymlink:
		return os.Symlink(s.Source, target)
	case actProc:
		return mountProc(target)
	case actDevices:
		return mountDevices(target)
	case actDirectory:
		return os.MkdirAll(target, 0o755)
	case actSeal:
		return unix.MountSetattr(unix.AT_FDCWD, target, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	}
	return fmt.Errorf("unknown step %q", s.Action)
}

func mountTmpfs(target, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	return unix.Mount("tmpfs", target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
}

func bind(s step, target string) error {
	if s.Optional {
		if _, err := os.Lstat(s.Source); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err := makeMountPoint(target, s.Directory); err != nil {
		return err
	}
	if err := unix.Mount(s.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cannot bind %s: %w", s.Source, err)
	}
	if !s.ReadOnly {
		return nil
	}
	attributes := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, attributes); err != nil {
		return fmt.Errorf("cannot make %s read-only (this needs Linux 5.12): %w", s.Source, err)
	}
	return nil
}

func makeMountPoint(target string, directory bool) error {
	if directory {
		return os.MkdirAll(target, 0o755)
	}
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return file.Close()
}

// mountProc shows the processes of the container only. Where the host hides
// parts of /proc the kernel refuses that; then the container sees the node's.
func mountProc(target string) error {
	if err := os.MkdirAll(target, 0o555); err != nil {
		return err
	}
	err := unix.Mount("proc", target, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if errors.Is(err, unix.EPERM) {
		err = unix.Mount("/proc", target, "", unix.MS_BIND|unix.MS_REC, "")
	}
	return err
}

func mountDevices(target string) error {
	if err := mountTmpfs(target, "mode=755"); err != nil {
		return err
	}
	for _, device := range devices {
		source := filepath.Join("/dev", device)
		if err := bind(step{Source: source, Optional: true}, filepath.Join(target, device)); err != nil {
			return err
		}
	}
	terminals := filepath.Join(target, "pts")
	if err := os.Mkdir(terminals, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("devpts", terminals, "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return fmt.Errorf("cannot mount the terminals: %w", err)
	}
	if err := mountTmpfs(filepath.Join(target, "shm"), "mode=1777,size="+shmSize); err != nil {
		return err
	}
	for name, link := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(link, filepath.Join(target, name)); err != nil {
			return err
		}
	}
	return nil
}

// enterRoot makes root, a mount point, the root of this process and lets go of
// the old one.
func enterRoot(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("cannot change the root directory: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot let go of the old root directory: %w", err)
	}
	return unix.Chdir("/")
}
