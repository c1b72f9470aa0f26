package cri

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const stamp = "2030-01-02T03:04:05.000000006Z"

func fixedTime() time.Time {
	return time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
}

func TestLogLinesHaveTheFormatOfTheKubelet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pod", "0.log")
	log, err := openLog(path, fixedTime)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", maxLogLine)
	for stream, text := range map[string]string{"stdout": "one\n\n" + long + "y\nrest"} {
		if err := log.copyFrom(stream, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	log.close()
	want := strings.Join([]string{
		stamp + " stdout F one", stamp + " stdout F ", stamp + " stdout P " + long, stamp + " stdout F y", stamp + " stdout P rest", "",
	}, "\n")
	if got := read(t, path); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestAReopenedLogContinuesInANewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	log, err := openLog(path, fixedTime)
	if err != nil {
		t.Fatal(err)
	}
	defer log.close()
	if err := log.copyFrom("stderr", strings.NewReader("old\n")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := log.reopen(); err != nil {
		t.Fatal(err)
	}
	if err := log.copyFrom("stderr", strings.NewReader("new\n")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path+".1") + read(t, path); got != stamp+" stderr F old\n"+stamp+" stderr F new\n" {
		t.Fatalf("got %q", got)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
