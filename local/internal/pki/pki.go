// Package pki is the certificate authority of one cluster.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 365 * 24 * time.Hour
	clockTolerance  = time.Hour
)

// Authority signs certificates. Its certificate is in the file CertFile.
type Authority struct {
	CertFile string
	KeyFile  string
	cert     *x509.Certificate
	key      crypto.Signer
}

// Request describes a certificate. One with addresses or names can serve, and
// every certificate can be presented by a client.
type Request struct {
	CommonName    string
	Organizations []string
	Addresses     []string
	Names         []string
}

// OpenAuthority loads <name>.crt and <name>.key from dir. It creates them when
// they are missing.
func OpenAuthority(dir, name string) (*Authority, error) {
	authority := &Authority{
		CertFile: filepath.Join(dir, name+".crt"),
		KeyFile:  filepath.Join(dir, name+".key"),
	}
	err := authority.load()
	if errors.Is(err, os.ErrNotExist) {
		err = authority.create(name)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w", authority.CertFile, err)
	}
	return authority, nil
}

func (a *Authority) load() error {
	certPEM, err := os.ReadFile(a.CertFile)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return errors.New("the file holds no certificate")
	}
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		return err
	}
	a.key, err = readKey(a.KeyFile)
	return err
}

func (a *Authority) create(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "localcluster-" + name},
		NotBefore:             now.Add(-clockTolerance),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	a.key = key
	if err := writeKey(a.KeyFile, key); err != nil {
		return err
	}
	return os.WriteFile(a.CertFile, encodeCertificate(der), 0o644)
}

// CertPEM is the authority's own certificate.
func (a *Authority) CertPEM() []byte {
	return encodeCertificate(a.cert.Raw)
}

// Issue signs a certificate with a new key and returns both as PEM.
func (a *Authority) Issue(request Request) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: request.CommonName, Organization: request.Organizations},
		NotBefore:    now.Add(-clockTolerance),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames:     request.Names,
	}
	for _, text := range request.Addresses {
		address := net.ParseIP(text)
		if address == nil {
			return nil, nil, fmt.Errorf("%q is not an IP address", text)
		}
		template.IPAddresses = append(template.IPAddresses, address)
	}
	if len(request.Addresses)+len(request.Names) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = encodeKey(key)
	return encodeCertificate(der), keyPEM, err
}

// IssueFiles signs a certificate and writes it to <base>.crt and <base>.key.
func (a *Authority) IssueFiles(base string, request Request) error {
	certPEM, keyPEM, err := a.Issue(request)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", request.CommonName, err)
	}
	if err := os.WriteFile(base+".crt", certPEM, 0o644); err != nil {
		return err
	}
	return os.WriteFile(base+".key", keyPEM, 0o600)
}

// EnsureKey creates a signing key at path unless there is one.
func EnsureKey(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return writeKey(path, key)
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	data, err := encodeKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

func readKey(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key", path)
	}
	return x509.ParseECPrivateKey(block.Bytes)
}
