package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Image says what an image name stands for on this machine. Name is a
// repository ("every tag") or repository:tag. Roots are directories of the host
// that its programs need; they are there even where a container has an empty
// directory of its own. Path holds the directories of PATH, in order. User is the uid the image declares, 0 if it declares none.
type Image struct {
	Name       string            `json:"name"`
	Roots      []string          `json:"roots,omitempty"`
	Path       []string          `json:"path,omitempty"`
	Env        map[string]string `json:"env,omitempty"`
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Cmd        []string          `json:"cmd,omitempty"`
	WorkingDir string            `json:"workingDir,omitempty"`
	User       int64             `json:"user,omitempty"`
}

// Images is a checked image map.
type Images struct {
	entries []Image
}

type imagesFile struct {
	Images []Image `json:"images"`
}

// LoadImages reads an image map. It expands ${REPO} in every path, environment
// value, entrypoint and argument to the repository that holds the file: the
// nearest directory above it with a .git entry, else the parent of its directory.
func LoadImages(path string) (*Images, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the images file: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the images file: %w", err)
	}
	var file imagesFile
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		return nil, fmt.Errorf("images file %s is not valid: %s", path, oneLine(err))
	}
	repo := repository(path)
	seen := map[string]bool{}
	for i := range file.Images {
		image := &file.Images[i]
		image.expand(repo)
		if err := image.check(); err != nil {
			return nil, fmt.Errorf("images file %s, entry %d: %w", path, i+1, err)
		}
		if seen[image.Name] {
			return nil, fmt.Errorf("images file %s lists the image %q twice", path, image.Name)
		}
		seen[image.Name] = true
	}
	return &Images{entries: file.Images}, nil
}

func repository(path string) string {
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
	}
	return filepath.Dir(filepath.Dir(path))
}

func (i *Image) expand(repo string) {
	replace := func(text string) string { return strings.ReplaceAll(text, "${REPO}", repo) }
	for _, list := range [][]string{i.Roots, i.Path, i.Entrypoint, i.Cmd} {
		for j := range list {
			list[j] = replace(list[j])
		}
	}
	for key, value := range i.Env {
		i.Env[key] = replace(value)
	}
	i.WorkingDir = replace(i.WorkingDir)
}

func (i *Image) check() error {
	switch {
	case i.Name == "":
		return fmt.Errorf("the name is missing")
	case strings.ContainsAny(i.Name, " @"):
		return fmt.Errorf("the name %q must be a repository or repository:tag", i.Name)
	case i.User < 0:
		return fmt.Errorf("the user of %s must not be negative", i.Name)
	case i.WorkingDir != "" && !filepath.IsAbs(i.WorkingDir):
		return fmt.Errorf("the workingDir %q of %s must be an absolute path", i.WorkingDir, i.Name)
	}
	for _, dir := range slices.Concat(i.Roots, i.Path) {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("the path %q of %s must be absolute", dir, i.Name)
		}
	}
	return nil
}

// Lookup finds the image a reference means: an entry with the same tag first,
// then the entry without a tag. Registry hosts docker.io and localhost, the
// library/ prefix and a digest behind a tag are ignored.
func (m *Images) Lookup(ref string) (Image, bool) {
	repository, tag := splitReference(ref)
	for _, entry := range m.entries {
		name, entryTag := splitReference(entry.Name)
		if entryTag != "" && name == repository && entryTag == tag {
			return entry, true
		}
	}
	for _, entry := range m.entries {
		name, entryTag := splitReference(entry.Name)
		if entryTag == "" && name == repository {
			return entry, true
		}
	}
	return Image{}, false
}

// All returns the images in the order of the file.
func (m *Images) All() []Image {
	return m.entries
}

func splitReference(ref string) (repository, tag string) {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndex(ref, ":"); i > strings.LastIndex(ref, "/") {
		ref, tag = ref[:i], ref[i+1:]
	}
	for _, prefix := range []string{"docker.io/", "localhost/", "library/"} {
		ref = strings.TrimPrefix(ref, prefix)
	}
	return ref, tag
}
