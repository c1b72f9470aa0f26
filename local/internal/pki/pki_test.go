package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

func open(t *testing.T, dir string) *Authority {
	t.Helper()
	authority, err := OpenAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func issue(t *testing.T, authority *Authority, request Request) *x509.Certificate {
	t.Helper()
	certPEM, keyPEM, err := authority.Issue(request)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func verify(authority *Authority, leaf *x509.Certificate, name string, usage x509.ExtKeyUsage) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.CertPEM())
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

func TestAServerCertificateHoldsForItsNamesAndAddressesOnly(t *testing.T) {
	authority := open(t, t.TempDir())
	leaf := issue(t, authority, Request{CommonName: "api", Addresses: []string{"127.0.0.1"}, Names: []string{"kubernetes"}})
	for name, accepted := range map[string]bool{"kubernetes": true, "127.0.0.1": true, "10.0.0.1": false, "other": false} {
		if err := verify(authority, leaf, name, x509.ExtKeyUsageServerAuth); (err == nil) != accepted {
			t.Errorf("for %s: %v", name, err)
		}
	}
}

func TestAClientCertificateCannotServe(t *testing.T) {
	authority := open(t, t.TempDir())
	leaf := issue(t, authority, Request{CommonName: "admin", Organizations: []string{"system:masters"}})
	if err := verify(authority, leaf, "", x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("as a client: %v", err)
	}
	if err := verify(authority, leaf, "", x509.ExtKeyUsageServerAuth); err == nil {
		t.Error("it may serve")
	}
	if leaf.Subject.CommonName != "admin" || leaf.Subject.Organization[0] != "system:masters" {
		t.Errorf("the subject is %s", leaf.Subject)
	}
}

func TestAnAuthorityOutlivesItsProcess(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	leaf := issue(t, first, Request{CommonName: "admin"})
	second := open(t, dir)
	if !bytes.Equal(first.CertPEM(), second.CertPEM()) {
		t.Error("the certificate changed")
	}
	if err := verify(second, leaf, "", x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	if err := verify(second, issue(t, second, Request{CommonName: "b"}), "", x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("its key no longer fits: %v", err)
	}
}

func TestAnotherAuthorityIsNotTrusted(t *testing.T) {
	leaf := issue(t, open(t, t.TempDir()), Request{CommonName: "admin"})
	if err := verify(open(t, t.TempDir()), leaf, "", x509.ExtKeyUsageClientAuth); err == nil {
		t.Error("it is trusted")
	}
}

func TestADamagedAuthorityIsAnErrorAndStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir, "ca"); err == nil {
		t.Error("it was accepted")
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "nonsense" {
		t.Errorf("the file is now %q, %v", data, err)
	}
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	if _, _, err := open(t, t.TempDir()).Issue(Request{CommonName: "a", Addresses: []string{"localhost"}}); err == nil {
		t.Error("it was accepted")
	}
}

func TestKeysAreReadableByTheirOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	authority := open(t, dir)
	if err := authority.IssueFiles(filepath.Join(dir, "leaf"), Request{CommonName: "leaf"}); err != nil {
		t.Fatal(err)
	}
	if err := EnsureKey(filepath.Join(dir, "signing.key")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.key", "leaf.key", "signing.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestASigningKeyIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signing.key")
	var versions [2][]byte
	for i := range versions {
		if err := EnsureKey(path); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		versions[i] = data
	}
	if !bytes.Equal(versions[0], versions[1]) {
		t.Error("the key changed")
	}
}
