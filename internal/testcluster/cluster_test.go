package testcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/spec"
)

// start starts a cluster that the end of the test closes.
func start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v\n%s", err, c.Log())
		}
	})
	return c
}

// dial connects a client to the bucket default.
func dial(t testing.TB, c *Cluster) *client.Conn {
	t.Helper()
	conn, err := client.Dial(t.Context(), client.Options{
		Addr: fmt.Sprintf("127.0.0.1:%d", c.Node(1).Ports().KV), User: config.AdminUser, Password: c.Password(), Bucket: "default", Agent: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func set(t testing.TB, conn *client.Conn, key, value string, w client.With) client.Written {
	t.Helper()
	out, err := conn.Set(t.Context(), key, []byte(value), w)
	if err != nil {
		t.Fatalf("set %s: %v", key, err)
	}
	return out
}

func wantDoc(t testing.TB, c *Cluster, key, value string) {
	t.Helper()
	d, found, err := c.Doc(t.Context(), "default", "", key)
	if err != nil || !found || string(d.Value) != value {
		t.Errorf("%s: %q, found %v, %v; want %q", key, d.Value, found, err, value)
	}
}

func wantNoDoc(t testing.TB, c *Cluster, key string) {
	t.Helper()
	if d, found, err := c.Doc(t.Context(), "default", "", key); err != nil || found {
		t.Errorf("%s: %q, found %v, %v; want none", key, d.Value, found, err)
	}
}

// TestFresh: a new cluster is empty, has no history and no operations, and what clients write is seen.
func TestFresh(t *testing.T) {
	c := start(t, Options{})
	if ops := c.Ops(0); len(ops) != 0 {
		t.Errorf("operations before anybody came: %v", ops)
	}
	conn := dial(t, c)
	set(t, conn, "k", `{"a":1}`, client.With{Flags: 7})
	wantDoc(t, c, "k", `{"a":1}`)
	wantNoDoc(t, c, probeKey)
	ops := c.Ops(1)
	if len(ops) != 1 || ops[0].Op != "set" || ops[0].Key != "k" || ops[0].Agent != "test" || ops[0].Status != 0 || ops[0].Collection != "_default" {
		t.Errorf("operations %v", ops)
	}
	if text := ops[0].String(); !strings.Contains(text, `set default/_default._default/"k" SUCCESS`) {
		t.Errorf("as text %q", text)
	}
	if _, err := Start(t.Context(), Options{Nodes: 3}); !errors.Is(err, ErrOneNode) {
		t.Errorf("three nodes: %v", err)
	}
	if _, err := Start(t.Context(), Options{Buckets: "a b"}); err == nil {
		t.Error("a bucket with a blank in its name")
	}
}

// TestAdvance: expiry and locks follow the clock at once, the count of documents too, and CAS values rise.
func TestAdvance(t *testing.T) {
	for _, o := range []Options{{Standing: true}, {}, {Standing: true, Disk: MemoryDisk}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			c := start(t, o)
			conn := dial(t, c)
			set(t, conn, "stays", "1", client.With{})
			set(t, conn, "goes", "1", client.With{Expiry: 60})
			last := set(t, conn, "locked", "1", client.With{})
			if _, err := conn.Lock(t.Context(), "locked", 15, client.With{}); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Set(t.Context(), "locked", nil, client.With{}); !errors.Is(err, client.ErrLocked) {
				t.Errorf("write to a locked document: %v", err)
			}
			before := c.Now()
			if n, err := c.Advance(t.Context(), 24*time.Hour); n != 1 || err != nil {
				t.Errorf("%d expired, %v; want 1", n, err)
			}
			if passed := c.Now().Sub(before); passed < 24*time.Hour {
				t.Errorf("the clock moved by %v", passed)
			}
			if _, err := conn.Get(t.Context(), "goes", client.With{}); !errors.Is(err, client.ErrNotFound) {
				t.Errorf("an expired document: %v", err)
			}
			wantDoc(t, c, "stays", "1")
			w := set(t, conn, "locked", "2", client.With{})
			if at := time.Unix(0, int64(w.CAS)); w.CAS <= last.CAS || at.Before(before.Add(24*time.Hour-time.Second)) {
				t.Errorf("CAS %d of %v after %d, the clock shows %v", w.CAS, at, last.CAS, c.Now())
			}
			if _, err := c.Advance(t.Context(), -1); !errors.Is(err, ErrBackwards) {
				t.Errorf("back in time: %v", err)
			}
		})
	}
}

// TestSnapshots: documents go back to what they were, buckets that were made since are emptied, and one that is gone is named.
func TestSnapshots(t *testing.T) {
	for _, kind := range []Disk{NoDisk, MemoryDisk} {
		c := start(t, Options{Disk: kind})
		conn := dial(t, c)
		kept := set(t, conn, "kept", "1", client.With{})
		s, err := c.Snapshot(t.Context())
		if err != nil || s.Documents() != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		for range 2 {
			set(t, conn, "kept", "2", client.With{})
			set(t, conn, "new", "1", client.With{})
			if err := c.Restore(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			wantNoDoc(t, c, "new")
			if d, err := conn.Get(t.Context(), "kept", client.With{}); err != nil || string(d.Value) != "1" || d.CAS != kept.CAS {
				t.Errorf("kept: %+v, %v", d, err)
			}
		}
	}
}

// TestBucketsSince: a snapshot knows nothing of buckets that were made after it, and needs those that it has.
func TestBucketsSince(t *testing.T) {
	c := start(t, Options{Buckets: "default:100MiB,other:100MiB"})
	s, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rest, err := client.NewREST(client.RESTOptions{
		URL: fmt.Sprintf("http://127.0.0.1:%d", c.Node(1).Ports().Mgmt), User: c.User(), Password: c.Password(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer rest.Close()
	if err := rest.CreateBucket(t.Context(), spec.Bucket{Name: "later", QuotaBytes: 100 << 20, Type: spec.Ephemeral, NumVBuckets: 16}); err != nil {
		t.Fatal(err)
	}
	for err = errors.ErrUnsupported; err != nil; { // the bucket is made in a moment
		err = c.Put(t.Context(), "later", "", "k", Document{Value: []byte("1")})
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	if err := c.Restore(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, found, err := c.Doc(t.Context(), "later", "", "k"); found || err != nil {
		t.Errorf("a bucket that the snapshot does not know: found %v, %v", found, err)
	}
	if err := rest.DropBucket(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; err = c.Restore(t.Context(), s) {
		if t.Context().Err() != nil {
			t.Fatal("restored into a bucket that is gone")
		}
	}
	if !strings.Contains(err.Error(), "restore bucket other") {
		t.Errorf("without a bucket: %v", err)
	}
}

// TestRestart: the ports stay; what is kept depends on the disk; clients of before meet a closed connection.
func TestRestart(t *testing.T) {
	for _, c := range []struct {
		o    Options
		keep bool
	}{{Options{}, false}, {Options{Disk: MemoryDisk}, true}, {Options{Disk: Directory}, true}} {
		t.Run(fmt.Sprint(c.o.Disk), func(t *testing.T) {
			if c.o.Disk == Directory {
				c.o.Dir = t.TempDir()
			}
			cluster := start(t, c.o)
			ports := cluster.Node(1).Ports()
			conn := dial(t, cluster)
			set(t, conn, "k", "v", client.With{})
			for range 2 {
				if err := cluster.Node(1).Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := cluster.Node(1).Ports(); got != ports {
					t.Errorf("ports %+v, before %+v", got, ports)
				}
				<-conn.Done()
				if c.keep {
					wantDoc(t, cluster, "k", "v")
				} else {
					wantNoDoc(t, cluster, "k")
				}
				set(t, dial(t, cluster), "k", "v", client.With{})
			}
		})
	}
}

// TestKill: connections break at once, nobody answers until the restart, and what was durable is there then.
func TestKill(t *testing.T) {
	for _, kind := range []Disk{NoDisk, MemoryDisk, Directory} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			o := Options{Disk: kind}
			if kind == Directory {
				o.Dir = t.TempDir()
			}
			c := start(t, o)
			n := c.Node(1)
			conn := dial(t, c)
			with := client.With{}
			if kind != NoDisk {
				with.Level = spec.PersistToMajority
			}
			set(t, conn, "durable", "v", with)
			n.Kill()
			n.Kill() // once more is nothing
			<-conn.Done()
			if n.State() != Down {
				t.Errorf("state %s", n.State())
			}
			var d net.Dialer
			if socket, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", n.Ports().KV)); err == nil {
				_ = socket.Close()
				t.Error("a killed node takes connections")
			}
			for what, err := range map[string]error{
				"pause": n.Pause(), "resume": n.Resume(), "snapshot": second(c.Snapshot(t.Context())), "put": c.Put(t.Context(), "default", "", "k", Document{}),
			} {
				if !errors.Is(err, ErrDown) {
					t.Errorf("%s of a node that is down: %v", what, err)
				}
			}
			if err := n.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if kind != NoDisk {
				wantDoc(t, c, "durable", "v")
			}
			set(t, dial(t, c), "again", "v", with)
		})
	}
}

func second[T any](_ T, err error) error { return err }

// TestPause: a paused node answers nobody and loses nothing; what was sent is answered when it goes on. It can be killed,
// restarted and closed while it is paused.
func TestPause(t *testing.T) {
	c := start(t, Options{})
	n := c.Node(1)
	conn := dial(t, c)
	set(t, conn, "k", "1", client.With{})
	if err := n.Pause(); err != nil {
		t.Fatal(err)
	}
	if n.State() != Paused {
		t.Errorf("state %s", n.State())
	}
	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := conn.Get(short, "k", client.With{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused node answered: %v", err)
	}
	wantDoc(t, c, "k", "1") // not through the network
	answer := make(chan error, 1)
	go func() { answer <- second(conn.Set(t.Context(), "k", []byte("2"), client.With{})) }()
	if err := n.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("after it went on: %v", err)
	}
	wantDoc(t, c, "k", "2")
	for _, end := range []func() error{
		func() error { n.Kill(); return n.Restart(t.Context()) }, func() error { return n.Restart(t.Context()) },
	} {
		if err := errors.Join(n.Pause(), end()); err != nil {
			t.Fatal(err)
		}
		set(t, dial(t, c), "k", "3", client.With{})
	}
	if err := n.Pause(); err != nil { // and the end of the test closes it so
		t.Fatal(err)
	}
}

// TestSeed loads every form, and complains of what cannot be loaded with file and line.
func TestSeed(t *testing.T) {
	c := start(t, Options{Buckets: "default:100MiB,other:100MiB"})
	files := fstest.MapFS{
		"one.json":       {Data: []byte("{\"a\":1}\n")},
		"README.md":      {Data: []byte("no document")},
		"more.ndjson":    {Data: []byte("{\"key\":\"two\",\"value\":[2],\"flags\":5}\n\n{\"key_base64\":\"/w==\",\"base64\":\"AAE=\"}\n")},
		"other/far.json": {Data: []byte(`"x"`)},
	}
	n, err := c.Seed(t.Context(), files, "default")
	if err != nil || n != 4 {
		t.Fatalf("%d loaded, %v", n, err)
	}
	for _, want := range []struct {
		bucket, key, value string
		flags              uint32
	}{{"default", "one", `{"a":1}`, JSONFlags}, {"default", "two", "[2]", 5}, {"default", "\xff", "\x00\x01", 0}, {"other", "far", `"x"`, JSONFlags}} {
		d, found, err := c.Doc(t.Context(), want.bucket, "_default._default", want.key)
		if err != nil || !found || string(d.Value) != want.value || d.Flags != want.flags {
			t.Errorf("%q: %+v, found %v, %v", want.key, d, found, err)
		}
	}
	for name, content := range map[string]string{
		"a.json": "{", "views.design.json": "{}", "b.ndjson": "{\"key\":\"k\",\"value\":1}\n{\"key\":\"k\"}", "c.ndjson": "no", "none/d.json": "1",
		"other/s.c/e.json": "1", "f.ndjson": `{"key":"","value":1}`, "g.ndjson": `{"key":"k","base64":"?"}`,
	} {
		_, err := c.Seed(t.Context(), fstest.MapFS{name: {Data: []byte(content)}}, "default")
		if !errors.Is(err, ErrSeed) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLeak: a goroutine that the cluster has begun and that does not end is found, one of somebody else is not.
func TestLeak(t *testing.T) {
	c := &Cluster{name: randomName()}
	stay := make(chan struct{})
	defer close(stay)
	go func() { <-stay }()
	if stacks := c.leaked(10 * time.Millisecond); stacks != "" {
		t.Errorf("found %s", stacks)
	}
	c.labelled(t.Context(), func(context.Context) { go func() { <-stay }() })
	if stacks := c.leaked(10 * time.Millisecond); !strings.Contains(stacks, "TestLeak") {
		t.Errorf("found %q", stacks)
	}
}

// BenchmarkStart starts and closes a cluster.
func BenchmarkStart(b *testing.B) {
	for _, kind := range []Disk{NoDisk, MemoryDisk} {
		b.Run(fmt.Sprint("disk=", kind), func(b *testing.B) {
			var closing time.Duration
			for b.Loop() {
				c, err := Start(b.Context(), Options{Disk: kind, Standing: true})
				if err != nil {
					b.Fatal(err)
				}
				begun := time.Now()
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
				closing += time.Since(begun)
			}
			b.ReportMetric(float64(closing.Microseconds())/1000/float64(b.N), "ms-closing/op")
		})
	}
}
