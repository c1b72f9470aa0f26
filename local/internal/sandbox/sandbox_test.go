package sandbox

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMapsKeepEveryId(t *testing.T) {
	cases := map[string]struct {
		text string
		want []syscall.SysProcIDMap
	}{
		"nested":              {"         0       1000          1\n", []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}},
		"two ranges":          {"0 1000 1\n1 100000 65536\n", []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1, HostID: 1, Size: 65536}}},
		"all but the last id": {"0 0 4294967295\n", []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 4294967294}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parseMap(c.text)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestAnUnreadableMapIsAnError(t *testing.T) {
	if _, err := parseMap("0 zero 1\n"); err == nil {
		t.Error("it was accepted")
	}
}

func TestARefusalOfTheKernelNamesTheSettings(t *testing.T) {
	for _, refusal := range []error{unix.EPERM, unix.ENOSPC, unix.EINVAL} {
		err := Explain(refusal)
		if !errors.Is(err, refusal) || !strings.Contains(err.Error(), "user.max_user_namespaces") {
			t.Errorf("%v gives %q", refusal, err)
		}
	}
	if err := Explain(unix.ENOMEM); strings.Contains(err.Error(), "user namespaces") {
		t.Errorf("another error gives %q", err)
	}
}
