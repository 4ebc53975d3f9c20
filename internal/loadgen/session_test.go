package loadgen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// TestLogin: name, password and bucket go to the server before the load; a refusal is an error with the server's words.
func TestLogin(t *testing.T) {
	for _, p := range []Protocol{Binary, BinaryQuiet, RESP} {
		s := &toy{protocol: p, user: "ada:secret"}
		o := Options{Addr: s.serve(t, nil), Protocol: p, User: "ada", Password: "secret", Conns: 3, Ops: 30, Depth: 2}
		if p != RESP {
			o.Bucket = "shop"
		}
		w := newTestWorkload(t, WorkloadOptions{})
		if r, err := newTestGenerator(t, w, o).Run(t.Context()); err != nil || r.Ops != 30 {
			t.Errorf("%s: %v, error %v", p, r, err)
		}
		if p != RESP && (s.bucket != "shop" || s.logins != 3) {
			t.Errorf("%s: bucket %q, %d logins; want shop, one login a connection", p, s.bucket, s.logins)
		}
		o.Password = "guess"
		_, err := newTestGenerator(t, w, o).Run(t.Context())
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "who?") || strings.Contains(err.Error(), "guess") {
			t.Errorf("%s, wrong password: error %v, want ErrRefused with the server's words and without the password", p, err)
		}
	}
}

// TestTLS: the load goes through TLS, the certificate is checked.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	s := &toy{protocol: Binary, user: "ada:secret"}
	addr := s.serve(t, func(c net.Conn) net.Conn { return tls.Server(c, config) })
	roots := x509.NewCertPool()
	o := Options{Addr: addr, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, User: "ada", Password: "secret", Conns: 2, Ops: 100}
	w := newTestWorkload(t, WorkloadOptions{})
	if _, err := newTestGenerator(t, w, o).Run(t.Context()); err == nil {
		t.Error("an unknown certificate was accepted")
	}
	roots.AddCert(parsed)
	if r, err := newTestGenerator(t, w, o).Run(t.Context()); err != nil || r.Ops != 100 {
		t.Errorf("%v, error %v", r, err)
	}
}

// TestNobodyThere: a port that nobody listens on is an error of the network.
func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = newTestGenerator(t, newTestWorkload(t, WorkloadOptions{}), Options{Addr: addr}).Run(t.Context())
	if _, ok := errors.AsType[*net.OpError](err); !ok {
		t.Errorf("error %v, want one of the network", err)
	}
}
