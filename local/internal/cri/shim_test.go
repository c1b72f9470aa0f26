package cri

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProgramsAreFoundAsAShellWould(t *testing.T) {
	directory := t.TempDir()
	for name, mode := range map[string]os.FileMode{"first/tool": 0o755, "second/tool": 0o755, "second/data": 0o644} {
		file := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	first, second := filepath.Join(directory, "first"), filepath.Join(directory, "second")
	for name, c := range map[string]struct{ program, path, want, problem string }{
		"the first directory wins":                {program: "tool", path: first + ":" + second, want: first + "/tool"},
		"directories that are missing are passed": {program: "tool", path: "/no/such:" + second, want: second + "/tool"},
		"a path is taken as it is":                {program: second + "/tool", path: first, want: second + "/tool"},
		"a directory is not a program":            {program: "first", path: directory, problem: "not on PATH"},
		"a program that is nowhere":               {program: "none", path: first, problem: `"none" is not on PATH (` + first + ")"},
		"a file that cannot be executed":          {program: "data", path: second, problem: "cannot run " + second + "/data: permission denied"},
		"a path that does not exist":              {program: "/no/such", problem: "cannot run /no/such: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := findProgram(c.program, c.path)
			if c.problem == "" && (err != nil || got != c.want) {
				t.Fatalf("got %s, %v, want %s", got, err, c.want)
			}
			if c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
				t.Fatalf("got the error %v, want one with %q", err, c.problem)
			}
		})
	}
}
