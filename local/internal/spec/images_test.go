package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func loadImages(t *testing.T, text string) *Images {
	t.Helper()
	images, err := LoadImages(writeFile(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return images
}

func TestAnImageIsFoundByNameOrByNameAndTag(t *testing.T) {
	images := loadImages(t, `
images:
  - {name: worker, cmd: [any]}
  - {name: "worker:2", cmd: [second]}
  - {name: "only:1", cmd: [one]}
  - {name: registry.example.com:5000/team/app, cmd: [app]}
`)
	cases := map[string]string{
		"worker":                                "any",
		"worker:1":                              "any",
		"worker:2":                              "second",
		"docker.io/library/worker:2":            "second",
		"localhost/worker":                      "any",
		"worker:1@sha256:0123":                  "any",
		"only:1":                                "one",
		"only:2":                                "",
		"only":                                  "",
		"registry.example.com:5000/team/app":    "app",
		"registry.example.com:5000/team/app:v1": "app",
		"other.example.com:5000/team/app:v1":    "",
		"team/worker":                           "",
		"registry.example.com:5000/team/app/more": "",
	}
	for ref, want := range cases {
		image, ok := images.Lookup(ref)
		got := ""
		if ok {
			got = image.Cmd[0]
		}
		if got != want {
			t.Errorf("%s is %q, want %q", ref, got, want)
		}
	}
}

func TestTheRepositoryIsTheNearestDirectoryUnderGit(t *testing.T) {
	repo := t.TempDir()
	deep := filepath.Join(repo, "a", "b")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(deep, "images.yaml")
	text := `
images:
  - name: app
    path: ["${REPO}/bin", /bin]
    env: {HOME: "${REPO}/home"}
    entrypoint: ["${REPO}/run"]
    cmd: ["--data=${REPO}"]
    workingDir: ${REPO}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(want string) {
		t.Helper()
		images, err := LoadImages(path)
		if err != nil {
			t.Fatal(err)
		}
		image, _ := images.Lookup("app")
		got := []string{image.Path[0], image.Env["HOME"], image.Entrypoint[0], image.Cmd[0], image.WorkingDir}
		for i, expected := range []string{want + "/bin", want + "/home", want + "/run", "--data=" + want, want} {
			if got[i] != expected {
				t.Errorf("got %q, want %q", got[i], expected)
			}
		}
	}
	check(filepath.Join(repo, "a"))
	if err := os.Mkdir(filepath.Join(repo, ".git"), 0o700); err != nil {
		t.Fatal(err)
	}
	check(repo)
}

func TestABrokenImagesFileIsRefusedInOneSentence(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"not yaml":          {"images: {", "is not valid"},
		"unknown field":     {"images: [{name: a, command: [b]}]", "command"},
		"no name":           {"images: [{cmd: [b]}]", "the name is missing"},
		"digest":            {"images: [{name: 'a@sha256:00'}]", "repository or repository:tag"},
		"same name":         {"images: [{name: a}, {name: a}]", `lists the image "a" twice`},
		"relative path":     {"images: [{name: a, path: [bin]}]", `the path "bin" of a must be absolute`},
		"relative work dir": {"images: [{name: a, workingDir: x}]", "must be an absolute path"},
		"negative user":     {"images: [{name: a, user: -1}]", "must not be negative"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, c.text)
			_, err := LoadImages(path)
			if err == nil {
				t.Fatal("the file was accepted")
			}
			if text := err.Error(); !strings.Contains(text, c.want) || !strings.Contains(text, path) || strings.Contains(text, "\n") {
				t.Errorf("the error is %q, want one line with %q and the path", text, c.want)
			}
		})
	}
}
