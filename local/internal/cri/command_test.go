package cri

import (
	"slices"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"modelservice.dev/local/internal/spec"
)

func TestCommandLineFollowsTheRulesOfImages(t *testing.T) {
	image := spec.Image{Entrypoint: []string{"entry"}, Cmd: []string{"default"}}
	for name, c := range map[string]struct {
		image         spec.Image
		command, args []string
		want          []string
	}{
		"the image's entrypoint and arguments":      {image: image, want: []string{"entry", "default"}},
		"arguments replace the image's":             {image: image, args: []string{"a"}, want: []string{"entry", "a"}},
		"a command replaces entrypoint and default": {image: image, command: []string{"c"}, want: []string{"c"}},
		"command and arguments":                     {image: image, command: []string{"c"}, args: []string{"a"}, want: []string{"c", "a"}},
		"an image with arguments only":              {image: spec.Image{Cmd: []string{"default"}}, want: []string{"default"}},
		"nothing at all":                            {},
	} {
		t.Run(name, func(t *testing.T) {
			got := commandLine(c.image, &runtimeapi.ContainerConfig{Command: c.command, Args: c.args})
			if !slices.Equal(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEnvironmentPrefersContainerOverImageOverDefaults(t *testing.T) {
	image := spec.Image{Path: []string{"/a", "/b"}, Env: map[string]string{"HOME": "/image", "X": "image", "Y": "image"}}
	config := &runtimeapi.ContainerConfig{Envs: []*runtimeapi.KeyValue{{Key: "X", Value: []byte("pod")}}}
	got := environment(image, config, "pod-0")
	want := []string{"HOME=/image", "HOSTNAME=pod-0", "PATH=/a:/b", "X=pod", "Y=image"}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if path := variable(environment(spec.Image{}, nil, "h"), "PATH"); path != defaultPath {
		t.Fatalf("the default PATH is %q", path)
	}
}

func TestWorkingDirectoryIsThePodsThenTheImages(t *testing.T) {
	image := spec.Image{WorkingDir: "/image"}
	for want, config := range map[string]*runtimeapi.ContainerConfig{"/pod": {WorkingDir: "/pod"}, "/image": {}} {
		if got := workingDirectory(image, config); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := workingDirectory(spec.Image{}, &runtimeapi.ContainerConfig{}); got != "/" {
		t.Errorf("got %s, want /", got)
	}
}

func TestCapabilitiesAreAddedAndDropped(t *testing.T) {
	keeps := func(name string, security *runtimeapi.LinuxContainerSecurityContext) bool {
		return !slices.Contains(droppedCapabilities(security), slices.Index(capabilityNames, name))
	}
	set := func(add, drop []string) *runtimeapi.LinuxContainerSecurityContext {
		return &runtimeapi.LinuxContainerSecurityContext{
			Capabilities: &runtimeapi.Capability{AddCapabilities: add, DropCapabilities: drop},
		}
	}
	for name, c := range map[string]struct {
		security   *runtimeapi.LinuxContainerSecurityContext
		capability string
		want       bool
	}{
		"a usual one is kept":              {set(nil, nil), "CHOWN", true},
		"a dangerous one is dropped":       {set(nil, nil), "SYS_ADMIN", false},
		"one that is asked for is kept":    {set([]string{"NET_ADMIN"}, []string{"ALL"}), "NET_ADMIN", true},
		"dropping all drops a usual one":   {set(nil, []string{"ALL"}), "CHOWN", false},
		"dropping all keeps file access":   {set(nil, []string{"ALL"}), "DAC_OVERRIDE", true},
		"one of all can be dropped":        {set([]string{"ALL"}, []string{"SYS_TIME"}), "SYS_TIME", false},
		"a privileged container keeps all": {&runtimeapi.LinuxContainerSecurityContext{Privileged: true}, "SYS_ADMIN", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := keeps(c.capability, c.security); got != c.want {
				t.Fatalf("kept: %v, want %v", got, c.want)
			}
		})
	}
}
