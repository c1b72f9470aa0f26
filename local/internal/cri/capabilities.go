package cri

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// capabilityNames are the kernel's capabilities; the index is the number.
var capabilityNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// usualCapabilities are what container runtimes grant when nothing is asked for.
var usualCapabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE",
	"NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP",
}

// fileAccess is never dropped. Containers run as user 0 of the namespace, who
// must be able to read programs of the host whoever owns them.
const fileAccess = "DAC_OVERRIDE"

// droppedCapabilities are the numbers of the capabilities a container lacks.
func droppedCapabilities(security *runtimeapi.LinuxContainerSecurityContext) []int {
	if security.GetPrivileged() {
		return nil
	}
	add, drop := security.GetCapabilities().GetAddCapabilities(), security.GetCapabilities().GetDropCapabilities()
	var dropped []int
	for number, name := range capabilityNames {
		keep := slices.Contains(usualCapabilities, name)
		keep = keep && !slices.Contains(drop, "ALL") && !slices.Contains(drop, name)
		keep = keep || slices.Contains(add, "ALL") && !slices.Contains(drop, name) || slices.Contains(add, name)
		if !keep && name != fileAccess {
			dropped = append(dropped, number)
		}
	}
	return dropped
}

// dropCapabilities takes capabilities away from what the calling thread executes
// next. It may still use them itself. Those the kernel does not know are skipped.
func dropCapabilities(numbers []int) error {
	for _, number := range numbers {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(number), 0, 0, 0)
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return nil
}
