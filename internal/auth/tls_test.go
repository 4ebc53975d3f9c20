package auth

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// handshake connects as a client that trusts the CA file and gives the server's certificate.
func handshake(t *testing.T, server *TLS, name string, now time.Time) (*x509.Certificate, error) {
	t.Helper()
	pemCA, err := server.CA()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pemCA) {
		t.Fatal("the CA file holds no certificate")
	}
	near, far := net.Pipe()
	done := make(chan error, 1)
	config := server.Config()
	config.Time = func() time.Time { return now }
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() {
		c := tls.Server(far, config)
		done <- c.Handshake()
		far.Close()
	})
	c := tls.Client(near, &tls.Config{RootCAs: pool, ServerName: name, Time: func() time.Time { return now }})
	err = c.Handshake()
	if err != nil {
		near.Close()
		<-done
		return nil, err
	}
	leaf := c.ConnectionState().PeerCertificates[0]
	err = <-done
	near.Close()
	return leaf, err
}

// A directory without certificates gets a CA and a certificate that clients can verify; the next start uses the same.
func TestSelfMadeTLS(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	c := newClock()
	first, err := LoadOrCreateTLS(TLSOptions{Dir: dir, Hosts: []string{"db1.example.com", "10.0.0.1", "0.0.0.0"}, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	var serial string
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "db1.example.com", "10.0.0.1"} {
		leaf, err := handshake(t, first, name, c.now())
		if err != nil {
			t.Fatalf("as %s: %v", name, err)
		}
		serial = leaf.SerialNumber.String()
	}
	if _, err := handshake(t, first, "evil.example.com", c.now()); err == nil {
		t.Error("the certificate is good for a name that was not asked for")
	}
	if runtime.GOOS != "windows" {
		for _, name := range []string{caKeyFile, nodeKeyFile} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, %v, want 0600", name, info.Mode(), err)
			}
		}
	}
	second, err := LoadOrCreateTLS(TLSOptions{Dir: dir, Hosts: []string{"10.0.0.1"}, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err := handshake(t, second, "localhost", c.now()); err != nil || leaf.SerialNumber.String() != serial {
		t.Errorf("the second start has another certificate: %v", err)
	}
	third, err := LoadOrCreateTLS(TLSOptions{Dir: dir, Hosts: []string{"db2.example.com"}, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err := handshake(t, third, "db2.example.com", c.now()); err != nil || leaf.SerialNumber.String() == serial {
		t.Errorf("a new host did not get a new certificate: %v", err)
	}
	matches, err := filepath.Glob(filepath.Join(dir, "*.tmp*"))
	if err != nil || len(matches) > 0 {
		t.Errorf("temporary files were left: %v, %v", matches, err)
	}
}

// A running server renews its certificate before it expires; the CA stays.
func TestRenewal(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	server, err := LoadOrCreateTLS(TLSOptions{Dir: dir, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(server.CAPath())
	if err != nil {
		t.Fatal(err)
	}
	before, err := handshake(t, server, "localhost", c.now())
	if err != nil {
		t.Fatal(err)
	}
	c.advance(nodeLife - renewBefore - time.Hour)
	if same, err := handshake(t, server, "localhost", c.now()); err != nil || !same.Equal(before) {
		t.Errorf("renewed too early: %v", err)
	}
	c.advance(2 * time.Hour)
	after, err := handshake(t, server, "localhost", c.now())
	if err != nil || after.Equal(before) || !after.NotAfter.After(before.NotAfter) {
		t.Errorf("not renewed: %v", err)
	}
	if now, err := os.ReadFile(server.CAPath()); err != nil || string(now) != string(ca) {
		t.Errorf("the CA has changed: %v", err)
	}
}

// A damaged CA is an error and is not overwritten; a node certificate that lost its key is made anew.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadOrCreateTLS(TLSOptions{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, nodeKeyFile)); err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreateTLS(TLSOptions{Dir: dir})
	if err != nil {
		t.Fatalf("without the node's key: %v", err)
	}
	if _, err := handshake(t, again, "localhost", time.Now()); err != nil {
		t.Errorf("without the node's key: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, CAFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateTLS(TLSOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), "certificate authority") {
		t.Errorf("with a damaged CA: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, CAFile)); err != nil || string(text) != "nonsense" {
		t.Errorf("the damaged CA was overwritten: %q, %v", text, err)
	}
}

// Given files are used, and read again when they change.
func TestGivenFiles(t *testing.T) {
	one, two, c := t.TempDir(), t.TempDir(), newClock()
	for _, dir := range []string{one, two} {
		if _, err := LoadOrCreateTLS(TLSOptions{Dir: dir, Now: c.now}); err != nil {
			t.Fatal(err)
		}
	}
	o := TLSOptions{CertFile: filepath.Join(one, nodeFile), KeyFile: filepath.Join(one, nodeKeyFile), Now: c.now}
	server, err := LoadOrCreateTLS(o)
	if err != nil {
		t.Fatal(err)
	}
	before, err := handshake(t, server, "localhost", c.now())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{nodeFile, nodeKeyFile} {
		text, err := os.ReadFile(filepath.Join(two, name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(one, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if same := server.certificate(); !same.Leaf.Equal(before) {
		t.Error("the files were looked at again at once")
	}
	c.advance(recheck)
	if after, err := handshake(t, server, "localhost", c.now()); err != nil || after.Equal(before) {
		t.Errorf("the changed files are not used: %v", err)
	}
	if _, err := LoadOrCreateTLS(TLSOptions{CertFile: o.CertFile}); err == nil {
		t.Error("a certificate without a key was accepted")
	}
	if _, err := LoadOrCreateTLS(TLSOptions{CertFile: o.CertFile, KeyFile: filepath.Join(two, "nothing")}); err == nil {
		t.Error("a missing key file was accepted")
	}
}

// TestLazyTLS: nothing is written until somebody needs a certificate, be it a client or who asks for the CA; then it is a
// good one. A directory that cannot be made is an error for both.
func TestLazyTLS(t *testing.T) {
	for what, ask := range map[string]func(*TLS) error{
		"CA": func(o *TLS) error { _, err := o.CA(); return err },
		"client": func(o *TLS) error {
			_, err := o.Config().GetCertificate(&tls.ClientHelloInfo{})
			return err
		},
	} {
		dir := filepath.Join(t.TempDir(), "tls")
		o, err := LoadOrCreateTLS(TLSOptions{Dir: dir, Lazy: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: something was made before it was needed", what)
		}
		if err := ask(o); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(filepath.Join(dir, CAFile)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if o, err = LoadOrCreateTLS(TLSOptions{Dir: file, Lazy: true}); err != nil {
			t.Fatal(err)
		}
		if err := ask(o); err == nil {
			t.Errorf("%s: a certificate in a directory that cannot be made", what)
		}
	}
}
