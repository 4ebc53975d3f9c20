package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

var errNoCertificate = errors.New("the node's certificate could not be made")

// TLSOptions say where certificates come from.
type TLSOptions struct {
	Dir   string   // for the self-made ones; it is made if it is missing
	Hosts []string // names and addresses that the self-made certificate is for; loopback is always among them
	// CertFile and KeyFile are given files in PEM form. With them nothing is made; they are read again when they change.
	CertFile, KeyFile string
	// Lazy leaves the self-made certificates unmade until the first client or CA needs them: for nodes that live for a test.
	Lazy bool
	Now  func() time.Time // nil = time.Now
}

// Names of the files in TLSOptions.Dir. CAFile is what clients are given to trust.
const (
	CAFile      = "ca.pem"
	caKeyFile   = "ca.key"
	nodeFile    = "node.pem"
	nodeKeyFile = "node.key"
)

const (
	caLife      = 10 * 365 * 24 * time.Hour
	nodeLife    = 365 * 24 * time.Hour
	renewBefore = 60 * 24 * time.Hour // the rest of its life at which a certificate is made anew
	backdated   = time.Hour           // clocks of clients may be behind
	recheck     = 10 * time.Second    // how often given files are looked at, at most
)

// TLS holds the node's certificate and keeps it fresh: a self-made one is renewed by its CA before it expires, given files
// are read again when they change. Both happen when a connection comes in, so no goroutine is needed.
type TLS struct {
	o  TLSOptions
	mu struct {
		sync.Mutex
		cert    *tls.Certificate
		renewAt time.Time // self-made: when to make the next one
		looked  time.Time // given: when the files were last looked at
		stamp   [2]time.Time
	}
}

// LoadOrCreateTLS loads the node's certificate, or makes a CA and a certificate in o.Dir if there is none. Key files are
// readable by their owner only.
func LoadOrCreateTLS(o TLSOptions) (*TLS, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("a certificate file and a key file must be given together")
	}
	t := &TLS{o: o}
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.CertFile != "" {
		return t, t.loadGivenLocked()
	}
	if o.Lazy {
		return t, nil
	}
	return t, t.loadOwnLocked()
}

// Config gives a server's TLS configuration. It is a copy: callers may change it.
func (t *TLS) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := t.certificate(); cert != nil {
				return cert, nil
			}
			return nil, errNoCertificate // it could not be made when it was needed
		},
	}
}

// CAPath gives the file that clients have to trust: the self-made CA, or the given certificate itself.
func (t *TLS) CAPath() string {
	if t.o.CertFile != "" {
		return t.o.CertFile
	}
	return filepath.Join(t.o.Dir, CAFile)
}

// CA gives what clients have to trust, in PEM form.
func (t *TLS) CA() ([]byte, error) {
	if t.o.Lazy {
		t.certificate() // makes them; what kept it from doing so is found below
	}
	text, err := os.ReadFile(t.CAPath())
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return text, nil
}

// certificate gives the present certificate after renewing it if that is due. If renewing does not work the old one is
// used: an expired certificate is told to the client by TLS itself.
func (t *TLS) certificate() *tls.Certificate {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.o.Now()
	switch {
	case t.o.CertFile != "":
		if now.Sub(t.mu.looked) >= recheck {
			_ = t.loadGivenLocked()
		}
	case now.After(t.mu.renewAt):
		if t.loadOwnLocked() != nil {
			t.mu.renewAt = now.Add(recheck) // try again, but not at each connection
		}
	}
	return t.mu.cert
}

func (t *TLS) loadGivenLocked() error {
	t.mu.looked = t.o.Now()
	var stamp [2]time.Time
	for i, name := range []string{t.o.CertFile, t.o.KeyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		stamp[i] = info.ModTime()
	}
	if t.mu.cert != nil && stamp == t.mu.stamp {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(t.o.CertFile, t.o.KeyFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	t.mu.cert, t.mu.stamp = &cert, stamp
	return nil
}

// loadOwnLocked takes the stored certificate if it is for our hosts and has time left, or has the CA make another one.
func (t *TLS) loadOwnLocked() error {
	if err := os.MkdirAll(t.o.Dir, 0o700); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	ca, err := loadOrCreateCA(t.o.Dir, t.o.Now())
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(t.o.Dir, nodeFile), filepath.Join(t.o.Dir, nodeKeyFile))
	if err != nil || !t.usable(cert.Leaf, ca) {
		if cert, err = ca.issue(t.o.Dir, t.hosts(), t.o.Now()); err != nil {
			return err
		}
	}
	t.mu.cert, t.mu.renewAt = &cert, cert.Leaf.NotAfter.Add(-renewBefore)
	return nil
}

func (t *TLS) usable(leaf *x509.Certificate, ca *authority) bool {
	if leaf.CheckSignatureFrom(ca.cert) != nil || !t.o.Now().Before(leaf.NotAfter.Add(-renewBefore)) {
		return false
	}
	for _, h := range t.hosts() {
		if leaf.VerifyHostname(h) != nil {
			return false
		}
	}
	return true
}

func (t *TLS) hosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, h := range t.o.Hosts {
		if h != "" && h != "0.0.0.0" && h != "::" {
			hosts = append(hosts, h)
		}
	}
	return hosts
}
