package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/client"
)

// The ports that are meant where an address names none.
const (
	defaultServer  = "127.0.0.1:8091"
	portKV         = "11210"
	portKVTLS      = "11207"
	portManagement = "8091"
	portHTTPS      = "18091"
)

// remote is the part of a command that names a server and who asks.
type remote struct {
	Server string `placeholder:"HOST:PORT" help:"Management address; else CHARPOY_SERVER, else 127.0.0.1:8091. https://… for TLS."`
	User   string `short:"u" placeholder:"NAME" help:"Who asks; else CHARPOY_USER, else Administrator. The password comes from CHARPOY_PASSWORD, CHARPOY_PASSWORD_FILE or a prompt."`
	CA     string `name:"tls-ca" placeholder:"FILE" type:"path" help:"Certificate to trust for TLS (PEM); else CHARPOY_TLS_CA, else those of the system."`
}

// documents is a remote and the bucket whose documents are meant.
type documents struct {
	remote
	KV     string `name:"kv" placeholder:"couchbase://HOST:PORT" help:"Key-value address; else what the server tells. couchbases://… for TLS."`
	Bucket string `short:"b" placeholder:"NAME" help:"The bucket; else CHARPOY_BUCKET, else default."`
}

// place is an address and how to speak to it.
type place struct {
	addr string // host:port
	tls  bool
}

// target gives the management address: from the flag, the variable, or the default.
func (r *remote) target(a *app) (place, error) {
	text, origin := r.Server, "--server"
	if text == "" {
		text, origin = a.env("CHARPOY_SERVER"), "CHARPOY_SERVER"
	}
	if text == "" {
		text, origin = defaultServer, "default"
	}
	p, err := parsePlace(text, "http", portManagement, portHTTPS)
	if err != nil {
		return place{}, fail(exitUsage, "%s: %w", origin, err).do("Give it as host:port or https://host:port.")
	}
	a.detail("server %s (%s)", p.addr, origin)
	return p, nil
}

// parsePlace reads an address: [SCHEME[s]://]HOST[:PORT].
func parsePlace(text, scheme, port, securePort string) (place, error) {
	p := place{addr: text}
	if before, rest, found := strings.Cut(text, "://"); found {
		switch before {
		case scheme:
		case scheme + "s":
			p.tls, port = true, securePort
		default:
			return place{}, fmt.Errorf("%q: want %s:// or %ss://", text, scheme, scheme)
		}
		p.addr = strings.TrimSuffix(rest, "/")
	}
	if strings.ContainsAny(p.addr, ", /?@") || p.addr == "" {
		return place{}, fmt.Errorf("%q is not one host with one port", text)
	}
	if _, _, err := net.SplitHostPort(p.addr); err != nil {
		p.addr = net.JoinHostPort(strings.Trim(p.addr, "[]"), port)
	}
	if _, _, err := net.SplitHostPort(p.addr); err != nil {
		return place{}, err
	}
	return p, nil
}

// login gives name and password.
func (r *remote) login(a *app) (user, password string, err error) {
	user = r.User
	if user == "" {
		user = a.env("CHARPOY_USER")
	}
	if user == "" {
		user = "Administrator"
	}
	password, err = a.secret("CHARPOY_PASSWORD", "Password of "+user)
	return user, password, err
}

// trust gives what TLS needs; nil if TLS is not asked for.
func (r *remote) trust(a *app, p place) (*tls.Config, error) {
	if !p.tls {
		return nil, nil
	}
	file := r.CA
	if file == "" {
		file = a.env("CHARPOY_TLS_CA")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return config, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fail(exitUsage, "certificate to trust: %w", err).do("Check --tls-ca (CHARPOY_TLS_CA).")
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fail(exitUsage, "certificate to trust: %s holds no certificate in PEM form", file)
	}
	return config, nil
}

// rest gives a client of the management port.
func (r *remote) rest(a *app) (*client.REST, error) {
	p, err := r.target(a)
	if err != nil {
		return nil, err
	}
	user, password, err := r.login(a)
	if err != nil {
		return nil, err
	}
	return r.restAt(a, p, user, password)
}

func (r *remote) restAt(a *app, p place, user, password string) (*client.REST, error) {
	trust, err := r.trust(a, p)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if p.tls {
		scheme = "https"
	}
	return client.NewREST(client.RESTOptions{URL: scheme + "://" + p.addr, User: user, Password: password, TLS: trust})
}

// bucket is the name of the bucket meant.
func (d *documents) bucket(a *app) string {
	if d.Bucket != "" {
		return d.Bucket
	}
	if b := a.env("CHARPOY_BUCKET"); b != "" {
		return b
	}
	return "default"
}

// dial connects to the bucket. The caller closes the connection.
func (d *documents) dial(a *app) (*client.Conn, error) {
	o, err := d.options(a)
	if err != nil {
		return nil, err
	}
	return dialBucket(a.ctx, o)
}

// options finds out how to reach the bucket's key-value port.
func (d *documents) options(a *app) (client.Options, error) {
	user, password, err := d.login(a)
	if err != nil {
		return client.Options{}, err
	}
	p, err := d.place(a, user, password)
	if err != nil {
		return client.Options{}, err
	}
	trust, err := d.trust(a, p)
	if err != nil {
		return client.Options{}, err
	}
	return client.Options{
		Addr: p.addr, User: user, Password: password, TLS: trust, Bucket: d.bucket(a), Agent: "charpoy-cli/" + a.Version,
	}, nil
}

// place gives the key-value address: from the flag, else from the server's configuration.
func (d *documents) place(a *app, user, password string) (place, error) {
	if d.KV != "" {
		p, err := parsePlace(d.KV, "couchbase", portKV, portKVTLS)
		if err != nil {
			return place{}, fail(exitUsage, "--kv: %w", err).do("Give it as couchbase://host:port.")
		}
		a.detail("key-value %s (--kv)", p.addr)
		return p, nil
	}
	server, err := d.target(a)
	if err != nil {
		return place{}, err
	}
	rest, err := d.restAt(a, server, user, password)
	if err != nil {
		return place{}, err
	}
	defer rest.Close() //nolint:errcheck // it only ends idle connections
	var config struct {
		Nodes []struct {
			Hostname string         `json:"hostname"`
			Services map[string]int `json:"services"`
			This     bool           `json:"thisNode"`
		} `json:"nodesExt"`
	}
	if err := rest.Get(a.ctx, "/pools/default/nodeServices", &config); err != nil {
		return place{}, err
	}
	service := "kv"
	if server.tls {
		service = "kvSSL"
	}
	host, _, err := net.SplitHostPort(server.addr)
	if err != nil {
		return place{}, err
	}
	for _, n := range config.Nodes {
		if port := n.Services[service]; port > 0 && (n.This || len(config.Nodes) == 1) {
			p := place{addr: joinPort(host, port), tls: server.tls}
			a.detail("key-value %s (told by %s)", p.addr, server.addr)
			return p, nil
		}
	}
	return place{}, fail(exitFailed, "the server at %s tells of no key-value port", server.addr).do("Give one: --kv couchbase://host:port")
}

// warmLimit is how long a command waits for a bucket that is just being opened.
const warmLimit = 10 * time.Second

// dialBucket connects to a bucket, waiting a while for one that was made a moment ago.
func dialBucket(ctx context.Context, o client.Options) (*client.Conn, error) {
	limit, cancel := context.WithTimeout(ctx, warmLimit)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, err := client.Dial(ctx, o)
		switch {
		case err == nil:
			return c, nil
		case errors.Is(err, client.ErrNoBucket):
			return nil, noBucket(ctx, o, err)
		case !errors.Is(err, client.ErrTemporary) || !sleep(limit, pause):
			return nil, err
		}
	}
}

// noBucket tells which buckets there are.
func noBucket(ctx context.Context, o client.Options, err error) error {
	wanted := o.Bucket
	o.Bucket = ""
	f := fail(exitNotFound, "bucket %q does not exist, or %s may not use it: %w", wanted, o.User, err)
	c, err := client.Dial(ctx, o)
	if err != nil {
		return f
	}
	defer c.Close()
	names, err := c.Buckets(ctx)
	if err != nil || len(names) == 0 {
		return f
	}
	return f.do("Buckets: %s", strings.Join(names, ", "))
}

// sleep waits; false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
