package cri

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const testImages = `
images:
  - name: shell
    entrypoint: [/bin/sh, -c]
    user: 65532
  - name: bare
`

func newTestImages(t *testing.T) *Images {
	t.Helper()
	file := filepath.Join(t.TempDir(), "images.yaml")
	if err := os.WriteFile(file, []byte(testImages), 0o600); err != nil {
		t.Fatal(err)
	}
	return NewImages(file, t.TempDir())
}

func TestAKnownImageIsThereWithItsUserAndIsFoundByItsID(t *testing.T) {
	images := newTestImages(t)
	status, err := images.ImageStatus(t.Context(), &runtimeapi.ImageSpec{Image: "docker.io/library/shell:1.2"}, false)
	if err != nil {
		t.Fatal(err)
	}
	if uid := status.GetImage().GetUid().GetValue(); uid != 65532 {
		t.Errorf("the user is %d", uid)
	}
	image, ok, err := images.find(status.GetImage().GetId())
	if err != nil || !ok || image.Name != "shell" {
		t.Fatalf("found %v %v %v", image, ok, err)
	}
}

func TestAnUnknownImageIsAbsentAndItsPullSaysWhatToDo(t *testing.T) {
	images := newTestImages(t)
	unknown := &runtimeapi.ImageSpec{Image: "nope:1"}
	status, err := images.ImageStatus(t.Context(), unknown, false)
	if err != nil || status.GetImage() != nil {
		t.Fatalf("got %v, %v", status, err)
	}
	_, err = images.PullImage(t.Context(), unknown, nil, nil)
	if err == nil || !strings.Contains(err.Error(), `has no entry for "nope:1": add one`) {
		t.Fatalf("got the error %v", err)
	}
}

func TestAnEntryAddedToTheImageMapCanBePulledAtOnce(t *testing.T) {
	images := newTestImages(t)
	if err := os.WriteFile(images.file, []byte(testImages+"  - name: nope\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := images.PullImage(t.Context(), &runtimeapi.ImageSpec{Image: "nope:1"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	list, err := images.ListImages(t.Context(), nil)
	if err != nil || len(list) != 3 {
		t.Fatalf("got %d images, %v", len(list), err)
	}
}
