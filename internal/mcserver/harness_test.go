package mcserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/network"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// world is a server on a memory network over a data plane of ephemeral buckets, with a clock that stands still.
type world struct {
	t      testing.TB
	node   *data.Node
	auth   *auth.Directory
	clock  *hlc.Source
	net    network.Net
	server *Server
	assign vbucket.Assignment // the one that was applied last
	stop   func()             // ends server and node, and waits for them
}

const testVBuckets = 64

// users of every world; each one's password is its name.
func testUsers(t testing.TB) []spec.User {
	t.Helper()
	user := func(name string, domain spec.Domain, roles ...spec.Role) spec.User {
		c, err := auth.NewCredentialsAt(name, auth.CheapCost())
		if err != nil {
			t.Fatal(err)
		}
		return spec.User{ID: name, Domain: domain, Roles: roles, Credentials: c}
	}
	return []spec.User{
		user("admin", spec.DomainAdmin, spec.Role{Name: "admin"}),
		user("app", spec.DomainLocal, spec.Role{Name: "bucket_full_access", Bucket: "*"}),
		user("elsewhere", spec.DomainLocal, spec.Role{Name: "data_reader", Bucket: "default", Scope: "shop"}),
		user("monitor", spec.DomainLocal, spec.Role{Name: "data_monitoring", Bucket: "default"}),
		user("nobody", spec.DomainLocal),
		user("other", spec.DomainLocal, spec.Role{Name: "data_reader", Bucket: "other"}),
		user("reader", spec.DomainLocal, spec.Role{Name: "data_reader", Bucket: "default"}),
		user("writer", spec.DomainLocal, spec.Role{Name: "data_writer", Bucket: "default"}),
	}
}

// testBucket is an ephemeral bucket of which this node holds all vBuckets but the last.
func testBucket(name string) vbucket.BucketAssignment {
	b := vbucket.BucketAssignment{
		Spec: spec.Bucket{
			Name: name, UUID: "uuid-of-" + name, Type: spec.Ephemeral, QuotaBytes: 16 << 20, NumVBuckets: testVBuckets,
		}.WithDefaults(),
		Manifest: spec.NewManifest(),
	}
	for range testVBuckets - 1 {
		b.Rows = append(b.Rows, vbucket.Row{Epoch: 1, Chain: []int16{0}})
	}
	b.Rows = append(b.Rows, vbucket.Row{Epoch: 1, Chain: []int16{1}})
	return b
}

func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	w := &world{
		t: t, clock: hlc.NewManual(time.Unix(1_700_000_000, 0)), net: network.NewMemory(),
		auth: auth.NewDirectory(auth.Options{}),
	}
	w.node = data.New(data.Options{Clock: w.clock})
	w.auth.Replace(testUsers(t), nil)
	o := Options{Node: w.node, Auth: w.auth, Clock: w.clock, Net: w.net, Addr: "127.0.0.1:0", Version: "7.6.4-0000-test"}
	for _, f := range change {
		f(&o)
	}
	var err error
	if w.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	if err := w.server.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.node.Subscribe(w.server.publish)) // Run does so as well, but nobody can tell when; once more does no harm
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := w.node.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("data plane: %v", err)
		}
	})
	serving, endServing := context.WithCancel(context.Background())
	group.Go(func() {
		if err := w.server.Run(serving); err != nil {
			t.Errorf("server: %v", err)
		}
		cancel()
	})
	w.stop = sync.OnceFunc(func() { endServing(); group.Wait() })
	t.Cleanup(w.stop)
	node := func(name string) vbucket.Node {
		return vbucket.Node{UUID: name, Data: true, Ports: map[string]int{"kv": 11210, "mgmt": 8091}}
	}
	w.assign = vbucket.Assignment{
		RevEpoch: 1, Rev: 1, ClusterName: "test", ClusterUUID: "c0ffee", Nodes: []vbucket.Node{node("n0"), node("n1")},
		Buckets: []vbucket.BucketAssignment{testBucket("default"), testBucket("other")},
	}
	w.apply()
	return w
}

// apply has the data plane carry out w.assign and waits until the server knows of it and all buckets answer.
func (w *world) apply() {
	w.t.Helper()
	a := w.assign
	a.Buckets = append([]vbucket.BucketAssignment(nil), w.assign.Buckets...)
	done := make(chan struct{})
	once := sync.OnceFunc(func() { close(done) })
	cancel := w.node.Subscribe(func(got *vbucket.Assignment) {
		if got.RevEpoch == a.RevEpoch && got.Rev == a.Rev {
			once()
		}
	})
	w.node.Apply(w.t.Context(), &a)
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		w.t.Fatal("the assignment was not carried out")
	}
	cancel() // returns when all subscribers have been told, the server among them
	if p := w.server.current.Load(); p == nil || p.assignment.Rev != a.Rev {
		w.t.Fatal("the server does not know of the assignment")
	}
	for i := range a.Buckets {
		if b, err := w.node.Bucket(a.Buckets[i].Spec.Name); err != nil || !b.KV().Report().Ready {
			w.t.Fatalf("bucket %s is not ready: %v", a.Buckets[i].Spec.Name, err)
		}
	}
}

// peer is a client of the test: raw frames over one connection.
type peer struct {
	t    testing.TB
	conn net.Conn
	buf  []byte

	pushed []mcbp.Frame // requests of the server that came while a reply was awaited
}

func (w *world) dial() *peer {
	w.t.Helper()
	c, err := w.net.Dial(w.t.Context(), w.server.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return &peer{t: w.t, conn: c}
}

func (w *world) dialTLS(config *tls.Config) *peer {
	w.t.Helper()
	c, err := w.net.Dial(w.t.Context(), w.server.TLSAddr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return &peer{t: w.t, conn: tls.Client(c, config)}
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// next reads one frame. io.EOF: the server has closed the connection.
func (p *peer) next() (mcbp.Frame, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		f, n, err := mcbp.Decode(p.buf)
		if err == nil {
			p.buf = p.buf[n:]
			return f, nil
		}
		if !errors.Is(err, mcbp.ErrIncomplete) {
			return f, err
		}
		chunk := make([]byte, 64<<10)
		n, err = p.conn.Read(chunk)
		p.buf = append(slices.Clip(p.buf), chunk[:n]...)
		if n == 0 && err != nil {
			return f, err
		}
	}
}

// call sends one request and reads one reply.
func (p *peer) call(f mcbp.Frame) *mcbp.Frame {
	p.t.Helper()
	p.write(mcbp.AppendRequest(nil, &f))
	for {
		got, err := p.next()
		if err != nil {
			p.t.Fatalf("reply to %v: %v", f.Opcode, err)
		}
		if got.Magic != mcbp.MagicServerRequest {
			return &got
		}
		p.pushed = append(p.pushed, got)
	}
}

// must is call for requests that have to succeed.
func (p *peer) must(f mcbp.Frame) *mcbp.Frame {
	p.t.Helper()
	got := p.call(f)
	if got.Status() != mcbp.StatusSuccess {
		p.t.Fatalf("%v: %v %s", f.Opcode, got.Status(), got.Value)
	}
	return got
}

// closed checks that the server has ended the connection.
func (p *peer) closed() {
	p.t.Helper()
	if f, err := p.next(); !errors.Is(err, io.EOF) {
		p.t.Errorf("expected the connection to be closed, got %+v, %v", f, err)
	}
}

// enter negotiates features, logs in and selects a bucket; an empty user or bucket leaves that out.
func (p *peer) enter(user, bucket string, features ...mcbp.Feature) *peer {
	p.t.Helper()
	p.must(mcbp.Frame{Opcode: mcbp.OpHello, Key: []byte("test"), Value: mcbp.AppendFeatures(nil, features...)})
	return p.login(user, bucket)
}

// login is enter without HELLO.
func (p *peer) login(user, bucket string) *peer {
	p.t.Helper()
	if user != "" {
		p.must(mcbp.Frame{Opcode: mcbp.OpSASLAuth, Key: []byte("PLAIN"), Value: []byte("\x00" + user + "\x00" + user)})
	}
	if bucket != "" {
		p.must(mcbp.Frame{Opcode: mcbp.OpSelectBucket, Key: []byte(bucket)})
	}
	return p
}

// discard is a logger for servers whose complaints are part of the test.
func discard(o *Options) { o.Logger = slog.New(slog.DiscardHandler) }

// usual are the features that SDKs ask for and get.
func usual() []mcbp.Feature {
	return []mcbp.Feature{
		mcbp.FeatureMutationToken, mcbp.FeatureXError, mcbp.FeatureSnappy, mcbp.FeatureJSON, mcbp.FeatureTracing,
		mcbp.FeatureAltRequest, mcbp.FeatureSyncReplication, mcbp.FeatureCollections, mcbp.FeaturePreserveExpiry,
	}
}

func storeFrame(op mcbp.Opcode, vb uint16, key, value string) mcbp.Frame {
	return mcbp.Frame{Opcode: op, VB: vb, Extras: make([]byte, 8), Key: []byte(key), Value: []byte(value)}
}
