// Command go shows that the Couchbase Go SDK (gocb) works with Charpoy unchanged, and how each operation is written: insert,
// upsert, get, replace with CAS, remove, counters, append, touch, locks, exists, bulk, expiry, durable writes, then buckets and
// users, each with the errors that it gives. It checks every answer and ends with code 1 at the first difference.
//
// Start a server and run it from this directory:
//
//	charpoy dev &
//	CHARPOY_PASSWORD=password go run . --connect couchbase://127.0.0.1
//
// With TLS, give the certificate that the server made: --connect couchbases://127.0.0.1 --ca charpoy-data/tls/ca.pem.
// The documents it makes have keys that begin with "example-go::"; it removes them, and the bucket and the user that it makes.
package main

import (
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/couchbase/gocb/v2"
)

// arguments say which server, and as whom.
type arguments struct {
	connect   string
	user      string
	password  string
	bucket    string
	ca        string
	ephemeral bool
}

func main() {
	var a arguments
	flag.StringVar(&a.connect, "connect", env("CHARPOY_CONNECT", "couchbase://127.0.0.1"), "connection string; couchbases:// for TLS")
	flag.StringVar(&a.user, "user", env("CHARPOY_USER", "Administrator"), "user name")
	flag.StringVar(&a.bucket, "bucket", env("CHARPOY_BUCKET", "default"), "bucket")
	flag.StringVar(&a.ca, "ca", env("CHARPOY_CA", ""), "file with the certificate to trust, in PEM form")
	flag.BoolVar(&a.ephemeral, "ephemeral", false, "the bucket is in memory only, so that writes to disk must be refused")
	flag.Parse()
	// A password in an argument would be visible to every user of the machine.
	a.password = env("CHARPOY_PASSWORD", "password")
	begin := time.Now()
	if err := run(a); err != nil {
		fmt.Fprintln(os.Stderr, "DIFFERENCE:", err)
		os.Exit(1)
	}
	fmt.Printf("All as expected, in %s.\n", time.Since(begin).Round(time.Millisecond))
}

func env(name, otherwise string) string {
	if v, ok := os.LookupEnv(name); ok {
		return v
	}
	return otherwise
}

// session is what the checks need.
type session struct {
	docs      *gocb.Collection
	prefix    string // of the keys of this run
	ephemeral bool
}

// key makes a key of this run.
func (s *session) key(name string) string { return s.prefix + name }

func run(a arguments) error {
	cluster, err := connect(a)
	if err != nil {
		return err
	}
	defer cluster.Close(nil)
	bucket := cluster.Bucket(a.bucket)
	if err := bucket.WaitUntilReady(20*time.Second, nil); err != nil {
		return fmt.Errorf("WaitUntilReady: %w", err)
	}
	s := &session{
		docs:   bucket.DefaultCollection(),
		prefix: fmt.Sprintf("example-go::%d::", time.Now().UnixNano()), ephemeral: a.ephemeral,
	}
	for _, part := range []struct {
		name  string
		check func(*session) error
	}{
		{"insert", insert},
		{"upsert", upsert},
		{"get", get},
		{"replace with CAS", replace},
		{"remove", remove},
		{"values", values},
		{"counters", counters},
		{"append and prepend", appending},
		{"touch and expiry", touch},
		{"locks", locks},
		{"exists", exists},
		{"bulk", bulk},
		{"durable writes", durable},
	} {
		if err := part.check(s); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Println("ok", part.name)
	}
	for _, part := range []struct {
		name  string
		check func() error
	}{
		{"ping and diagnostics", func() error { return health(cluster, bucket) }},
		{"buckets", func() error { return buckets(cluster, a) }},
		{"users", func() error { return users(cluster, a, s) }},
		{"strangers", func() error { return strangers(a) }},
	} {
		if err := part.check(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Println("ok", part.name)
	}
	return nil
}

// connect makes the SDK's cluster object. It does not fail when the server is away: WaitUntilReady does.
func connect(a arguments) (*gocb.Cluster, error) {
	options := gocb.ClusterOptions{Authenticator: gocb.PasswordAuthenticator{Username: a.user, Password: a.password}}
	if a.ca != "" {
		pem, err := os.ReadFile(a.ca)
		if err != nil {
			return nil, err
		}
		options.SecurityConfig.TLSRootCAs = x509.NewCertPool()
		if !options.SecurityConfig.TLSRootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", a.ca)
		}
	}
	cluster, err := gocb.Connect(a.connect, options)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", a.connect, err)
	}
	return cluster, nil
}

// health asks the cluster what the SDK asks it about itself.
func health(cluster *gocb.Cluster, bucket *gocb.Bucket) error {
	services := []gocb.ServiceType{gocb.ServiceTypeKeyValue, gocb.ServiceTypeManagement}
	ping, err := bucket.Ping(&gocb.PingOptions{ServiceTypes: services})
	if err != nil {
		return err
	}
	for _, service := range services {
		endpoints := ping.Services[service]
		if len(endpoints) == 0 {
			return fmt.Errorf("ping: no endpoint of service %v", service)
		}
		for _, e := range endpoints {
			if e.State != gocb.PingStateOk {
				return fmt.Errorf("ping: %s is in state %v: %s", e.Remote, e.State, e.Error)
			}
		}
	}
	report, err := cluster.Diagnostics(nil)
	if err != nil {
		return err
	}
	if report.State != gocb.ClusterStateOnline {
		return fmt.Errorf("diagnostics: the cluster is in state %v", report.State)
	}
	return nil
}

// strangers tries a wrong password and a bucket that does not exist: neither may become ready.
func strangers(a arguments) error {
	wrong, missing := a, a
	wrong.password += "-wrong"
	missing.bucket = "no-such-bucket"
	for _, a := range []arguments{wrong, missing} {
		cluster, err := connect(a)
		if err != nil {
			return err
		}
		err = cluster.Bucket(a.bucket).WaitUntilReady(time.Second, nil)
		if closing := cluster.Close(nil); closing != nil {
			return closing
		}
		if !errors.Is(err, gocb.ErrTimeout) && !errors.Is(err, gocb.ErrAuthenticationFailure) {
			return fmt.Errorf("bucket %s became ready for a stranger: %w", a.bucket, err)
		}
	}
	return nil
}
