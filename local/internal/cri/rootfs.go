package cri

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// action is what a step of a root file system plan does.
type action string

const (
	actTmpfs     action = "tmpfs"     // an empty file system at Target
	actBind      action = "bind"      // Source with all below it at Target
	actSymlink   action = "symlink"   // a symbolic link at Target to Source
	actProc      action = "proc"      // the processes of the PID namespace at Target
	actDevices   action = "devices"   // a minimal /dev at Target
	actDirectory action = "directory" // a directory at Target
	actSeal      action = "seal"      // the file system at Target becomes read-only
)

// step is one change on the way to a container's root file system. Source is a
// path of the host, Target one of the new root.
type step struct {
	Action   action `json:"action"`
	Source   string `json:"source,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	// Directory says what to make where Target does not exist.
	Directory bool `json:"directory,omitempty"`
	// Optional steps are skipped when Source has vanished.
	Optional bool   `json:"optional,omitempty"`
	Mode     uint32 `json:"mode,omitempty"`
}

// volume is a mount that the kubelet asks for.
type volume struct {
	source, target string
	readOnly       bool
	directory      bool
}

// host is the part of a file system that plans are made from.
type host interface {
	Lstat(name string) (fs.FileInfo, error)
	Readlink(name string) (string, error)
	ReadDir(name string) ([]fs.DirEntry, error)
}

// hostFS is the file system that this process sees.
type hostFS struct{}

func (hostFS) Lstat(name string) (fs.FileInfo, error)     { return os.Lstat(name) }
func (hostFS) Readlink(name string) (string, error)       { return os.Readlink(name) }
func (hostFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// privateDirectories are empty in every container but for the roots of its image
// and its volumes. Everything else of the host is there, read-only.
var privateDirectories = []step{
	{Action: actProc, Target: "/proc"},
	{Action: actBind, Source: "/sys", Target: "/sys", ReadOnly: true, Directory: true},
	{Action: actDevices, Target: "/dev"},
	{Action: actTmpfs, Target: "/run", Mode: 0o755},
	{Action: actTmpfs, Target: "/tmp", Mode: 0o1777},
	{Action: actTmpfs, Target: "/var/tmp", Mode: 0o1777},
}

// planner works out the steps that make a container's root file system.
type planner struct {
	host host
	// covered are targets whose content is not the host's.
	covered []string
	// rebuilt are directories of the host that need entries it does not have:
	// an empty file system with all old entries bound back.
	rebuilt []string
}

// planRoot returns the steps for a container with these volumes, whose programs
// need the host's directories roots. The new root is an empty file system in
// which the host's entries are bound. A volume at a path
// that the host does not have gets its directories in a rebuilt one. The working
// directory is made if it is missing. A readOnly root is sealed at the end.
func planRoot(host host, roots []string, volumes []volume, workingDirectory string, readOnly bool) ([]step, error) {
	p := &planner{host: host, rebuilt: []string{"/"}}
	mounts, err := p.placePrivate()
	if err != nil {
		return nil, err
	}
	kept, err := p.placeRoots(roots)
	if err != nil {
		return nil, err
	}
	placed, err := p.placeVolumes(volumes)
	if err != nil {
		return nil, err
	}
	mounts = slices.Concat(mounts, kept, placed)
	directory, err := p.place(workingDirectory)
	if err != nil {
		return nil, fmt.Errorf("cannot use the working directory %s: %w", workingDirectory, err)
	}
	mounts = append(mounts, step{Action: actDirectory, Target: directory})
	if readOnly {
		mounts = append(mounts, p.seals(mounts)...)
	}
	base, err := p.rebuild()
	if err != nil {
		return nil, err
	}
	return append(base, mounts...), nil
}

func (p *planner) placePrivate() ([]step, error) {
	steps := slices.Clone(privateDirectories)
	for i := range steps {
		target, err := p.place(steps[i].Target)
		if err != nil {
			return nil, fmt.Errorf("cannot prepare %s: %w", steps[i].Target, err)
		}
		steps[i].Target = target
		p.covered = append(p.covered, target)
	}
	return steps, nil
}

// placeRoots binds the roots back that a private directory hides.
func (p *planner) placeRoots(roots []string) ([]step, error) {
	var steps []step
	for _, root := range roots {
		target, err := p.place(root)
		if err != nil {
			return nil, fmt.Errorf("cannot show the root %s of the image: %w", root, err)
		}
		if p.isCovered(target) {
			steps = append(steps, step{Action: actBind, Source: root, Target: target, ReadOnly: true, Directory: true})
		}
	}
	return steps, nil
}

func (p *planner) placeVolumes(volumes []volume) ([]step, error) {
	volumes = slices.Clone(volumes)
	slices.SortStableFunc(volumes, func(a, b volume) int {
		return strings.Count(path.Clean(a.target), "/") - strings.Count(path.Clean(b.target), "/")
	})
	var steps []step
	for _, v := range volumes {
		target, err := p.place(v.target)
		if err != nil {
			return nil, fmt.Errorf("cannot mount a volume at %s: %w", v.target, err)
		}
		if target == "/" {
			return nil, errors.New("cannot mount a volume at /")
		}
		p.covered = append(p.covered, target)
		steps = append(steps, step{Action: actBind, Source: v.source, Target: target, ReadOnly: v.readOnly, Directory: v.directory})
	}
	return steps, nil
}

// maxLinks is how many symbolic links a path may lead through.
const maxLinks = 40

// place returns where target is once the host's symbolic links are followed. If
// the host has no such path, the deepest directory it has is to be rebuilt.
func (p *planner) place(target string) (string, error) {
	if !path.IsAbs(target) {
		return "", errors.New("the path is not absolute")
	}
	at, pending, links := "/", names(target), 0
	for len(pending) > 0 {
		next := path.Join(at, pending[0])
		rest := path.Join(pending[1:]...)
		if p.isCovered(next) {
			return path.Join(next, rest), nil
		}
		info, err := p.host.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if !slices.Contains(p.rebuilt, at) {
				p.rebuilt = append(p.rebuilt, at)
			}
			return path.Join(next, rest), nil
		case err != nil:
			return "", err
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", errors.New("too many symbolic links")
			}
			link, err := p.host.Readlink(next)
			if err != nil {
				return "", err
			}
			if path.IsAbs(link) {
				at = "/"
			}
			pending = append(names(link), pending[1:]...)
		case !info.IsDir() && len(pending) > 1:
			return "", fmt.Errorf("%s is not a directory", next)
		default:
			at, pending = next, pending[1:]
		}
	}
	return at, nil
}

func names(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

func (p *planner) isCovered(name string) bool {
	return slices.ContainsFunc(p.covered, func(covered string) bool {
		return name == covered || strings.HasPrefix(name, covered+"/")
	})
}

// rebuild returns the steps that make the new root and the rebuilt directories.
func (p *planner) rebuild() ([]step, error) {
	slices.Sort(p.rebuilt)
	var steps []step
	for _, directory := range p.rebuilt {
		entries, err := p.host.ReadDir(directory)
		if err != nil {
			return nil, fmt.Errorf("cannot rebuild %s: %w", directory, err)
		}
		steps = append(steps, step{Action: actTmpfs, Target: directory, Mode: 0o755})
		for _, entry := range entries {
			name := path.Join(directory, entry.Name())
			if slices.Contains(p.covered, name) {
				continue
			}
			kept, err := p.keep(name, entry)
			if err != nil {
				return nil, fmt.Errorf("cannot rebuild %s: %w", directory, err)
			}
			steps = append(steps, kept)
		}
	}
	return steps, nil
}

func (p *planner) keep(name string, entry fs.DirEntry) (step, error) {
	if entry.Type()&fs.ModeSymlink == 0 {
		return step{Action: actBind, Source: name, Target: name, ReadOnly: true, Directory: entry.IsDir(), Optional: true}, nil
	}
	link, err := p.host.Readlink(name)
	return step{Action: actSymlink, Source: link, Target: name}, err
}

// seals makes every empty file system read-only that no volume hides.
func (p *planner) seals(mounts []step) []step {
	top := map[string]action{}
	for _, directory := range p.rebuilt {
		top[directory] = actTmpfs
	}
	for _, mount := range mounts {
		if mount.Action != actDirectory {
			top[mount.Target] = mount.Action
		}
	}
	var steps []step
	for _, target := range slices.Sorted(maps.Keys(top)) {
		if top[target] == actTmpfs {
			steps = append(steps, step{Action: actSeal, Target: target})
		}
	}
	return steps
}
