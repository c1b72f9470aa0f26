package cri

import (
	"maps"
	"slices"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"modelservice.dev/local/internal/spec"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// commandLine is what a container runs: its own command, or the image's
// entrypoint, followed by its own arguments, or the image's if it has neither
// command nor arguments.
func commandLine(image spec.Image, config *runtimeapi.ContainerConfig) []string {
	command, args := config.GetCommand(), config.GetArgs()
	if len(command) == 0 {
		command = image.Entrypoint
		if len(args) == 0 {
			args = image.Cmd
		}
	}
	return slices.Concat(command, args)
}

// environment is what a container's process gets, as KEY=value: defaults, then
// the image's variables, then the container's own.
func environment(image spec.Image, config *runtimeapi.ContainerConfig, hostname string) []string {
	variables := map[string]string{"PATH": defaultPath, "HOME": "/", "HOSTNAME": hostname}
	if config.GetTty() {
		variables["TERM"] = "xterm"
	}
	maps.Copy(variables, image.Env)
	if len(image.Path) > 0 {
		variables["PATH"] = strings.Join(image.Path, ":")
	}
	for _, pair := range config.GetEnvs() {
		variables[pair.GetKey()] = string(pair.GetValue())
	}
	lines := make([]string, 0, len(variables))
	for _, key := range slices.Sorted(maps.Keys(variables)) {
		lines = append(lines, key+"="+variables[key])
	}
	return lines
}

// workingDirectory is where a container's process starts.
func workingDirectory(image spec.Image, config *runtimeapi.ContainerConfig) string {
	for _, directory := range []string{config.GetWorkingDir(), image.WorkingDir} {
		if directory != "" {
			return directory
		}
	}
	return "/"
}

// variable is the value of a variable in a list of KEY=value.
func variable(environment []string, key string) string {
	for _, line := range environment {
		if value, ok := strings.CutPrefix(line, key+"="); ok {
			return value
		}
	}
	return ""
}
