package component

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"modelservice.dev/local/internal/layout"
)

func newDir(t *testing.T) layout.Dir {
	t.Helper()
	dir := layout.Dir(filepath.Join(t.TempDir(), "a directory"))
	for _, path := range []string{dir.PKI(""), dir.Config("")} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEveryFileThatArgumentsNameIsWritten(t *testing.T) {
	dir := newDir(t)
	if _, err := WriteCredentials(dir, 1234); err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, args := range [][]string{APIServerArgs(dir), ControllerManagerArgs(dir), SchedulerArgs(dir), ProxyArgs(dir, "a")} {
		for _, arg := range args {
			_, value, _ := strings.Cut(arg, "=")
			if !strings.HasPrefix(value, string(dir)) {
				continue
			}
			named++
			if info, err := os.Stat(value); err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s: %v", arg, err)
			}
		}
	}
	if named < 10 {
		t.Errorf("only %d arguments name files", named)
	}
}

func TestTheAdministratorsKubeconfigPointsAtTheForwardedPort(t *testing.T) {
	dir := newDir(t)
	if _, err := WriteCredentials(dir, 1234); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://127.0.0.1:1234" {
		t.Errorf("the server is %s", config.Host)
	}
	if info, err := os.Stat(dir.Kubeconfig()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
}

func TestAnotherStartKeepsTheAuthorityAndTheTokensKey(t *testing.T) {
	dir := newDir(t)
	read := func() (kept [][]byte, renewed []byte) {
		if _, err := WriteCredentials(dir, 1234); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ca.crt", "ca.key", "front-proxy-ca.crt", "serviceaccount.key", "apiserver.crt"} {
			data, err := os.ReadFile(dir.PKI(name))
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, data)
		}
		return kept[:4], kept[4]
	}
	before, oldServer := read()
	after, newServer := read()
	for i := range before {
		if !bytes.Equal(before[i], after[i]) {
			t.Errorf("file %d changed", i)
		}
	}
	if bytes.Equal(oldServer, newServer) {
		t.Error("the server's certificate was not renewed")
	}
}

func TestTheCorefileQuotesPaths(t *testing.T) {
	dir := layout.Dir("/some where")
	if text := Corefile(dir); !strings.Contains(text, `kubeconfig "/some where/config/coredns.kubeconfig"`) {
		t.Errorf("the Corefile is\n%s", text)
	}
}

func TestEveryServerHasACommandAndUnknownNamesHaveNone(t *testing.T) {
	for _, name := range []string{APIServer, ControllerManager, Scheduler, Proxy} {
		if command := commands[name](); command.Name() != name {
			t.Errorf("%s runs %s", name, command.Name())
		}
		if !Known(name) {
			t.Errorf("%s is not known", name)
		}
	}
	if Known("kubelet") {
		t.Error("kubelet is known, but nodes run it")
	}
}
