package cri

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"modelservice.dev/local/internal/spec"
)

// Images is the image service of a node. An image is an entry of the image map;
// nothing is ever pulled. The file is read at every call, so that an entry added
// to it can be used at once.
type Images struct {
	file string
	root string
}

// NewImages serves the image map in file. root is a path on the file system
// whose size is reported as that of the images.
func NewImages(file, root string) *Images {
	return &Images{file: file, root: root}
}

// find returns the image that a reference or an identifier stands for.
func (s *Images) find(reference string) (spec.Image, bool, error) {
	images, err := spec.LoadImages(s.file)
	if err != nil {
		return spec.Image{}, false, err
	}
	if strings.HasPrefix(reference, "sha256:") {
		for _, image := range images.All() {
			if imageID(image) == reference {
				return image, true, nil
			}
		}
		return spec.Image{}, false, nil
	}
	image, ok := images.Lookup(reference)
	return image, ok, nil
}

// imageID identifies what an entry of the image map says.
func imageID(image spec.Image) string {
	// An Image holds only strings, numbers, lists and maps of strings, which
	// always have a JSON form.
	data, _ := json.Marshal(image)
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func describeImage(image spec.Image, reference string) *runtimeapi.Image {
	return &runtimeapi.Image{
		Id:       imageID(image),
		RepoTags: []string{reference},
		Size:     1,
		Uid:      &runtimeapi.Int64Value{Value: image.User},
		Spec:     &runtimeapi.ImageSpec{Image: imageID(image)},
		Pinned:   true,
	}
}

// ListImages lists the entries of the image map, or the one that a filter names.
func (s *Images) ListImages(_ context.Context, filter *runtimeapi.ImageFilter) ([]*runtimeapi.Image, error) {
	if name := filter.GetImage().GetImage(); name != "" {
		image, ok, err := s.find(name)
		if err != nil || !ok {
			return nil, err
		}
		return []*runtimeapi.Image{describeImage(image, name)}, nil
	}
	images, err := spec.LoadImages(s.file)
	if err != nil {
		return nil, err
	}
	var list []*runtimeapi.Image
	for _, image := range images.All() {
		list = append(list, describeImage(image, image.Name))
	}
	return list, nil
}

// ImageStatus describes an image, and nothing if the image map does not know it.
func (s *Images) ImageStatus(_ context.Context, image *runtimeapi.ImageSpec, _ bool) (*runtimeapi.ImageStatusResponse, error) {
	found, ok, err := s.find(image.GetImage())
	if err != nil {
		return nil, err
	}
	if !ok {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	return &runtimeapi.ImageStatusResponse{Image: describeImage(found, image.GetImage())}, nil
}

// PullImage finds an image in the image map.
func (s *Images) PullImage(_ context.Context, image *runtimeapi.ImageSpec, _ *runtimeapi.AuthConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	found, ok, err := s.find(image.GetImage())
	if err != nil {
		return "", err
	}
	if !ok {
		return "", fmt.Errorf("localcluster pulls no images and its image map %s has no entry for %q: add one", s.file, image.GetImage())
	}
	return imageID(found), nil
}

// RemoveImage does nothing: images take no room.
func (s *Images) RemoveImage(context.Context, *runtimeapi.ImageSpec) error {
	return nil
}

// ImageFsInfo reports the use of the file system that holds the node's files.
func (s *Images) ImageFsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(s.root, &stat); err != nil {
		return nil, fmt.Errorf("cannot measure the file system of %s: %w", s.root, err)
	}
	usage := []*runtimeapi.FilesystemUsage{{
		Timestamp:  time.Now().UnixNano(),
		FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: s.root},
		UsedBytes:  &runtimeapi.UInt64Value{Value: 0},
		InodesUsed: &runtimeapi.UInt64Value{Value: 0},
	}}
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: usage, ContainerFilesystems: usage}, nil
}

// Close does nothing: there is no connection.
func (s *Images) Close(context.Context) error {
	return nil
}
