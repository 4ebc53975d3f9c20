package node

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/httpapi"
	"github.com/charpoy/charpoy/internal/mcserver"
	"github.com/charpoy/charpoy/internal/network"
	"github.com/charpoy/charpoy/internal/run"
	"github.com/charpoy/charpoy/internal/spec"
)

// Options of a Node.
type Options struct {
	Settings *config.Settings
	Logger   *slog.Logger // nil = nowhere
	Version  string       // of this build
	Clock    *hlc.Source  // nil = the machine's
	FS       disk.FS      // nil = the machine's; where Settings.Data lies

	// The rest is for tests and test servers.

	Net         network.Net        // the zero value stands for the machine's
	Interceptor *fault.Interceptor // of the key-value ports; nil = none
	VBuckets    int                // of the buckets of the first boot; 0 = as always
	// ShortLived makes a start as quick as it can be: passwords are hashed at the lowest cost that clients accept, and
	// certificates are made when the first client needs them.
	ShortLived bool
}

// FatalError says that the node cannot go on because of its disk. Nothing more was acknowledged after it; the next start
// recovers what was.
type FatalError struct{ Err error }

// Error says what failed and what to do.
func (e *FatalError) Error() string {
	return "the disk failed and this node stopped at once to lose nothing that it had acknowledged: " + e.Err.Error() +
		". Check the disk and start the node again"
}

// Unwrap gives what failed.
func (e *FatalError) Unwrap() error { return e.Err }

// Node is one node of a cluster, both planes in one process.
type Node struct {
	options  Options
	settings *config.Settings
	fs       disk.FS
	closers  []io.Closer // in order of opening; closed in reverse
	ready    chan struct{}
	fatal    chan error
	fresh    bool
	password string
	made     bool

	observation observation

	data     *data.Node
	cluster  *cluster.Cluster
	kvAuth   *auth.Directory // fed by assignments: the data plane's
	mgmtAuth *auth.Directory // fed by the cluster state: the manager's
	kv       *mcserver.Server
	http     *httpapi.Server
	views    *httpapi.ViewsPort // nil: switched off
	tls      *auth.TLS
}

// Open builds a node and binds its ports; nothing is served before Run. On an error everything that was opened is closed.
func Open(ctx context.Context, o Options) (*Node, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = hlc.New()
	}
	if o.FS == nil {
		o.FS = disk.OS()
	}
	n := &Node{options: o, settings: o.Settings, fs: o.FS, ready: make(chan struct{}), fatal: make(chan error, 1)}
	for _, step := range []func(context.Context) error{
		n.openObservation, n.openDirectory, n.openData, n.openCluster, n.openTLS, n.openFaces, n.bootstrap,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// Close releases what Open took. Run does it by itself.
func (n *Node) Close() error {
	var errs []error
	for _, c := range slices.Backward(n.closers) {
		errs = append(errs, c.Close())
	}
	n.closers = nil
	return errors.Join(errs...)
}

type closer func() error

func (c closer) Close() error { return c() }

// port gives up a face's listeners. One that has run has closed them already.
func port(close func() error) io.Closer {
	return closer(func() error {
		if err := close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
}

func (n *Node) closeLater(c io.Closer) { n.closers = append(n.closers, c) }

// openDirectory locks the data directory, so that no second process touches it.
func (n *Node) openDirectory(context.Context) error {
	if n.settings.Data == "" {
		return nil
	}
	lock, err := disk.LockDir(n.fs, n.settings.Data)
	if err != nil {
		return err
	}
	n.closeLater(lock)
	return nil
}

// openTLS loads the certificates, or makes them. A node without a directory has them in a temporary one.
func (n *Node) openTLS(context.Context) error {
	dir := filepath.Join(n.settings.Data, "tls")
	if n.settings.Data == "" || disk.Root(n.fs) != disk.OS() {
		temporary, err := os.MkdirTemp("", "charpoy-tls-")
		if err != nil {
			return err
		}
		n.closeLater(closer(func() error { return os.RemoveAll(temporary) }))
		dir = temporary
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, h := range []string{n.settings.Bind, n.settings.Advertise} {
		if h != "" && h != "0.0.0.0" && h != "::" {
			hosts = append(hosts, h)
		}
	}
	if name, err := os.Hostname(); err == nil && !n.settings.Loopback() {
		hosts = append(hosts, name)
	}
	var err error
	n.tls, err = auth.LoadOrCreateTLS(auth.TLSOptions{
		Dir: dir, Hosts: hosts, CertFile: n.settings.TLSCert, KeyFile: n.settings.TLSKey, Lazy: n.options.ShortLived,
	})
	return err
}

// address gives what to listen on for a port setting; empty = not at all.
func (n *Node) address(port int) string {
	if port == config.Off {
		return ""
	}
	return net.JoinHostPort(n.settings.Bind, strconv.Itoa(port))
}

// openFaces binds the ports. What a port serves is known before it is announced.
func (n *Node) openFaces(ctx context.Context) error {
	numbers := n.observation.numbers
	var err error
	memcachedAuth := map[string]mcserver.MemcachedAuth{"sasl": mcserver.MemcachedSASL, "ascii": mcserver.MemcachedASCII}
	n.kv, err = mcserver.New(mcserver.Options{
		MemcachedAddr: n.address(n.settings.MemcachedPort), MemcachedBucket: n.settings.MemcachedBucket,
		MemcachedAuth: memcachedAuth[n.settings.MemcachedAuth], MemcachedItemSize: int(n.settings.MemcachedItemSize),
		MemcachedOptional: !n.settings.MemcachedGiven, Flush: n.cluster.FlushBucket, Resize: n.resizeBucket,
		Node: n.data, Auth: n.kvAuth, Clock: n.options.Clock, Logger: n.options.Logger, Metrics: numbers,
		Addr: n.address(n.settings.KVPort), TLSAddr: n.address(n.settings.KVTLSPort), TLSConfig: n.tls.Config(),
		PlainTLSOnly: n.settings.PlainTLSOnly, Net: n.options.Net, Interceptor: n.options.Interceptor,
		Trace: n.observation.trace, Slow: n.observation.slow,
	})
	if err != nil {
		return err
	}
	if err := n.kv.Listen(ctx); err != nil {
		return portError(err)
	}
	n.closeLater(port(n.kv.Close))
	base := httpapi.Options{Logger: n.options.Logger, TLSConfig: n.tls.Config(), Net: n.options.Net}
	management := base
	management.Cluster, management.Data, management.Auth = n.cluster, n.data, n.mgmtAuth
	documents := httpapi.NewDocuments(loopback(n.kv.Addr()), n.kvAuth.Internal)
	n.closeLater(documents)
	management.Documents = documents
	management.Metrics, management.Trace, management.Slow = numbers, n.observation.trace, n.observation.slow
	management.CA = n.tls.CA
	management.Addr, management.TLSAddr = n.address(n.settings.HTTPPort), n.address(n.settings.HTTPTLSPort)
	management.Version, management.PathData = n.options.Version, n.settings.Data
	management.MemoryBytes = MemoryLimit()
	if n.http, err = httpapi.New(ctx, management); err != nil {
		return portError(err)
	}
	n.closeLater(port(n.http.Close))
	if n.settings.ViewsPort == config.Off {
		return nil
	}
	base.Addr, base.TLSConfig = n.address(n.settings.ViewsPort), nil
	if n.views, err = httpapi.NewViewsPort(ctx, base); err != nil {
		return portError(err)
	}
	n.closeLater(port(n.views.Close))
	return nil
}

// resizeBucket gives a bucket another quota, for memcached clients that may ask for it.
func (n *Node) resizeBucket(ctx context.Context, bucket string, quotaBytes int64) error {
	return n.cluster.UpdateBucket(ctx, bucket, func(b *spec.Bucket) error {
		b.QuotaBytes = quotaBytes
		return nil
	})
}

// portError adds what to do to an error of binding a port.
func portError(err error) error {
	if strings.Contains(err.Error(), "address already in use") {
		return fmt.Errorf("%w. Another program has the port; choose another with --kv-port, --http-port, --views-port or "+
			"--memcached-port (0 = any free one), or end that program", err)
	}
	return err
}

// Ports are the ports that were bound.
func (n *Node) Ports() config.Ports {
	p := config.Ports{KV: portOf(n.kv.Addr()), KVTLS: portOf(n.kv.TLSAddr()), Mgmt: n.http.Port(), MgmtTLS: n.http.TLSPort()}
	if n.views != nil {
		p.Views = n.views.Port()
	}
	p.Memcached = portOf(n.kv.MemcachedAddr())
	return p
}

func portOf(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp != nil {
		return tcp.Port
	}
	return 0
}

// loopback is where this process reaches a port of its own that may be bound to every address.
func loopback(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
}

// Host is the name under which this machine's programs reach the node.
func (n *Node) Host() string {
	switch {
	case n.settings.Advertise != "":
		return n.settings.Advertise
	case n.settings.Bind == "0.0.0.0":
		return "127.0.0.1"
	case n.settings.Bind == "::":
		return "::1"
	}
	return n.settings.Bind
}

// ConnectionString is what SDKs are given to connect.
func (n *Node) ConnectionString() string {
	return "couchbase://" + net.JoinHostPort(n.Host(), strconv.Itoa(n.Ports().KV))
}

// Ready is closed when a key-value operation on any bucket would succeed.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Fresh reports whether this start made the cluster: the directory was empty, or there is none.
func (n *Node) Fresh() bool { return n.fresh }

// Password is that of config.AdminUser at the first boot, and whether it was made up. Afterwards it is empty: only hashes
// are kept.
func (n *Node) Password() (password string, made bool) { return n.password, n.made }

// CAFile is the certificate that clients have to trust, in PEM form.
func (n *Node) CAFile() ([]byte, error) { return n.tls.CA() }

// Run serves until ctx ends, then stops in order: faces first, then what they lean on; buckets are flushed and the clean
// mark is written. A *FatalError when the disk failed.
func (n *Node) Run(ctx context.Context) error {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	unsubscribe := []func(){
		n.data.Subscribe(n.learnUsers), n.cluster.Subscribe(n.learnManagers),
	}
	sequence := run.Sequence{Logger: n.options.Logger, Steps: n.steps()}
	done := make(chan error, 1)
	g := run.NewGroup(context.WithoutCancel(ctx))
	g.Go("node", func(context.Context) error { done <- sequence.Run(own); return nil })
	var err error
	select {
	case err = <-done:
	case failed := <-n.fatal:
		cancel()
		select { // what can end does so; the disk is not written any more
		case <-done: //nolint:errcheck // the disk's failure is what counts
		case <-time.After(fatalGrace):
		}
		return &FatalError{failed}
	}
	for _, f := range unsubscribe {
		f()
	}
	closing := n.Close()
	select {
	case failed := <-n.fatal:
		return &FatalError{failed}
	default:
	}
	return errors.Join(err, closing)
}

// fatalGrace is how long the faces get to end after the disk has failed.
const fatalGrace = 2 * time.Second

func (n *Node) steps() []run.Step {
	steps := []run.Step{
		{Name: "data plane", Actor: n.data, Stop: flushLimit},
		{Name: "cluster plane", Actor: n.cluster},
		{Name: "agent", Actor: &agent{n.cluster, n.data}},
		{Name: "readiness", Actor: run.Func(n.awaitReady)},
		{Name: "management port", Actor: n.http, Stop: faceLimit},
	}
	if n.views != nil {
		steps = append(steps, run.Step{Name: "views port", Actor: n.views, Stop: faceLimit})
	}
	return append(steps, run.Step{Name: "key-value port", Actor: n.kv, Stop: faceLimit})
}

// How long parts may take to stop.
const (
	flushLimit = 30 * time.Second
	faceLimit  = 6 * time.Second
)

// awaitReady closes the channel of Ready when all buckets serve, and then waits for the end.
func (n *Node) awaitReady(ctx context.Context) error {
	for {
		moved := n.cluster.Changed()
		if n.data.Check(ctx, false) == nil {
			break
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil
		}
	}
	close(n.ready)
	<-ctx.Done()
	return nil
}

// madePassword gives a password of 80 random bits that can be typed.
func madePassword() string {
	b := make([]byte, 10)
	_, _ = rand.Read(b) // never fails: the runtime ends the process first
	return strings.ToLower(base32.StdEncoding.EncodeToString(b))
}
