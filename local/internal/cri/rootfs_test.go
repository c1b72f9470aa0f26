package cri

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// fakeHost is a file system with absolute names.
type fakeHost struct {
	files fstest.MapFS
}

func relative(name string) string {
	if name == "/" {
		return "."
	}
	return strings.TrimPrefix(name, "/")
}

func (h fakeHost) Lstat(name string) (fs.FileInfo, error)     { return h.files.Lstat(relative(name)) }
func (h fakeHost) Readlink(name string) (string, error)       { return h.files.ReadLink(relative(name)) }
func (h fakeHost) ReadDir(name string) ([]fs.DirEntry, error) { return h.files.ReadDir(relative(name)) }

func newFakeHost() fakeHost {
	directory := &fstest.MapFile{Mode: fs.ModeDir | 0o755}
	link := func(target string) *fstest.MapFile {
		return &fstest.MapFile{Mode: fs.ModeSymlink | 0o777, Data: []byte(target)}
	}
	return fakeHost{fstest.MapFS{
		"etc": directory, "etc/hosts": {}, "etc/resolv.conf": link("../run/systemd/resolv.conf"), "etc/ssl": directory,
		"mnt": directory, "proc": directory, "sys": directory, "dev": directory, "run": directory, "tmp": directory,
		"usr": directory, "usr/bin": directory, "bin": link("usr/bin"), "var": directory, "var/run": link("/run"), "var/tmp": directory,
		"loop": link("loop"),
	}}
}

func mustPlan(t *testing.T, volumes []volume, directory string, readOnly bool) []step {
	t.Helper()
	steps, err := planRoot(newFakeHost(), nil, volumes, directory, readOnly)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func describe(steps []step, actions ...action) []string {
	var lines []string
	for _, s := range steps {
		if len(actions) > 0 && !slices.Contains(actions, s.Action) {
			continue
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Action, s.Target, s.Source)))
	}
	return lines
}

func TestThePlainRootIsTheHostReadOnlyWithPrivateDirectories(t *testing.T) {
	steps := mustPlan(t, nil, "/", false)
	want := []string{
		"tmpfs /", "symlink /bin usr/bin", "bind /etc /etc", "symlink /loop loop", "bind /mnt /mnt", "bind /usr /usr", "bind /var /var",
		"proc /proc", "bind /sys /sys", "devices /dev", "tmpfs /run", "tmpfs /tmp", "tmpfs /var/tmp", "directory /",
	}
	if got := describe(steps); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for _, s := range steps {
		if s.Action == actBind && !s.ReadOnly {
			t.Errorf("%s is writable", s.Target)
		}
	}
}

func TestARootOfTheImageIsThereEvenBelowAPrivateDirectory(t *testing.T) {
	host := newFakeHost()
	for _, name := range []string{"tmp/clone", "usr/lib"} {
		host.files[name] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
	}
	volumes := []volume{{source: "/v", target: "/tmp/clone/data", directory: true}}
	steps, err := planRoot(host, []string{"/tmp/clone", "/usr/lib"}, volumes, "/", false)
	if err != nil {
		t.Fatal(err)
	}
	got := describe(steps)
	want := []string{"tmpfs /tmp", "tmpfs /var/tmp", "bind /tmp/clone /tmp/clone", "bind /tmp/clone/data /v", "directory /"}
	if at := slices.Index(got, want[0]); at < 0 || !slices.Equal(got[at:], want) {
		t.Fatalf("got %q, want it to end with %q", got, want)
	}
	if root := steps[slices.Index(got, want[2])]; !root.ReadOnly {
		t.Error("the root of the image is writable")
	}
}

func TestVolumesGoWhereTheHostsLinksLead(t *testing.T) {
	for target, want := range map[string]string{
		"/etc/hosts":               "/etc/hosts",
		"/etc/resolv.conf":         "/run/systemd/resolv.conf",
		"/var/run/secrets/token":   "/run/secrets/token",
		"/bin/tool":                "/usr/bin/tool",
		"/mnt/models":              "/mnt/models",
		"/data/new/deep":           "/data/new/deep",
		"/tmp":                     "/tmp",
		"/dev/termination-log":     "/dev/termination-log",
		"/etc/../mnt/./models/one": "/mnt/models/one",
	} {
		steps := mustPlan(t, []volume{{source: "/src", target: target}}, "/", false)
		if got := describe(steps, actBind); !slices.Contains(got, "bind "+want+" /src") {
			t.Errorf("%s: got %q", target, got)
		}
	}
}

func TestADirectoryIsRebuiltOnlyWhereTheHostLacksThePath(t *testing.T) {
	steps := mustPlan(t, []volume{
		{source: "/a", target: "/etc/app/config", directory: true},
		{source: "/b", target: "/etc/app/config/extra", directory: true},
		{source: "/c", target: "/etc/hosts"},
	}, "/workspace", false)
	got := describe(steps)
	want := []string{
		"tmpfs /etc", "symlink /etc/resolv.conf ../run/systemd/resolv.conf", "bind /etc/ssl /etc/ssl",
		"proc /proc", "bind /sys /sys", "devices /dev", "tmpfs /run", "tmpfs /tmp", "tmpfs /var/tmp",
		"bind /etc/hosts /c", "bind /etc/app/config /a", "bind /etc/app/config/extra /b", "directory /workspace",
	}
	if tail := got[len(got)-len(want):]; !slices.Equal(tail, want) {
		t.Fatalf("got %q, want %q", tail, want)
	}
}

func TestAReadOnlyRootIsSealedButNotItsVolumes(t *testing.T) {
	steps := mustPlan(t, []volume{{source: "/scratch", target: "/tmp", directory: true}}, "/", true)
	want := []string{"seal /", "seal /run", "seal /var/tmp"}
	if got := describe(steps, actSeal); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if last := steps[len(steps)-1]; last.Action != actSeal {
		t.Fatalf("the last step is %v", last)
	}
}

func TestImpossibleMountsAreRefused(t *testing.T) {
	for target, want := range map[string]string{
		"relative":     "not absolute",
		"/":            "at /",
		"/loop/x":      "too many symbolic links",
		"/etc/hosts/x": "not a directory",
	} {
		_, err := planRoot(newFakeHost(), nil, []volume{{source: "/src", target: target}}, "/", false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got the error %v, want one with %q", target, err, want)
		}
	}
}
