package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/node"
	"github.com/charpoy/charpoy/internal/spec"
)

const password = "correct horse"

// running is a node in this process, on free ports.
type running struct {
	*node.Node
	stop func() error
}

func settings(t *testing.T, data string) *config.Settings {
	t.Helper()
	flags := map[string]string{"data": data}
	for _, port := range []string{"kv-port", "kv-tls-port", "http-port", "http-tls-port", "views-port", "memcached-port"} {
		flags[port] = "0"
	}
	s, _, err := config.Resolve(config.Sources{Flags: flags, Env: func(name string) (string, bool) {
		return password, name == "CHARPOY_PASSWORD"
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t *testing.T, o node.Options) *running {
	t.Helper()
	n, err := node.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case <-n.Ready():
	case err := <-done:
		t.Fatalf("the node ended before it was ready: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("the node is not ready")
	}
	stopped := false
	r := &running{Node: n, stop: func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return r
}

func (r *running) dial(t *testing.T, bucket string) *client.Conn {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Options{
		Addr: fmt.Sprintf("127.0.0.1:%d", r.Ports().KV), User: config.AdminUser, Password: password, Bucket: bucket, Agent: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *running) rest(t *testing.T) *client.REST {
	t.Helper()
	c, err := client.NewREST(client.RESTOptions{
		URL: fmt.Sprintf("http://127.0.0.1:%d", r.Ports().Mgmt), User: config.AdminUser, Password: password,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestMemory: a node without a directory serves documents at once and ends cleanly.
func TestMemory(t *testing.T) {
	n := start(t, node.Options{Settings: settings(t, "")})
	c := n.dial(t, "default")
	if _, err := c.Set(t.Context(), "k", []byte(`{"a":1}`), client.With{}); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Get(t.Context(), "k", client.With{}); err != nil || string(d.Value) != `{"a":1}` || !d.JSON() {
		t.Errorf("read %+v, %v", d, err)
	}
	if !n.Fresh() || !strings.HasPrefix(n.ConnectionString(), "couchbase://127.0.0.1:") {
		t.Errorf("fresh %v, connection string %q", n.Fresh(), n.ConnectionString())
	}
	if _, err := c.Set(t.Context(), "k", nil, client.With{Level: spec.PersistToMajority}); !errors.Is(err, client.ErrDurabilityInvalid) {
		t.Errorf("a persist level without a disk: %v", err)
	}
}

// TestRestart: what was written before an orderly stop is there after the next start, with its CAS, on the same history.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	n := start(t, node.Options{Settings: settings(t, dir)})
	c := n.dial(t, "default")
	written := map[string]client.Written{}
	for i := range 500 {
		key := fmt.Sprintf("key-%d", i)
		w, err := c.Set(t.Context(), key, []byte(fmt.Sprintf(`{"n":%d}`, i)), client.With{Flags: uint32(i)})
		if err != nil {
			t.Fatal(err)
		}
		written[key] = w
	}
	if _, err := c.Delete(t.Context(), "key-7", client.With{}); err != nil {
		t.Fatal(err)
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = start(t, node.Options{Settings: settings(t, dir)})
	if n.Fresh() {
		t.Error("the second start made a new cluster")
	}
	c = n.dial(t, "default")
	for key, w := range written {
		d, err := c.Get(t.Context(), key, client.With{})
		if key == "key-7" {
			if !errors.Is(err, client.ErrNotFound) {
				t.Errorf("the deleted document: %+v, %v", d, err)
			}
			continue
		}
		if err != nil || d.CAS != w.CAS {
			t.Errorf("%s: CAS %d, %v; want %d", key, d.CAS, err, w.CAS)
		}
		log, err := c.FailoverLog(t.Context(), w.VB)
		if err != nil || log.Current() != w.Token.UUID {
			t.Errorf("vb %d: history %x after an orderly stop, %v; want %x", w.VB, log.Current(), err, w.Token.UUID)
		}
	}
}

// TestBuckets makes, flushes and drops a bucket over REST and watches its documents.
func TestBuckets(t *testing.T) {
	n := start(t, node.Options{Settings: settings(t, t.TempDir())})
	rest := n.rest(t)
	shop := spec.Bucket{Name: "shop", QuotaBytes: 100 << 20, NumVBuckets: 16, FlushEnabled: true}.WithDefaults()
	for range 2 { // the name can be used again after a drop, and nothing of the first comes back
		if err := rest.CreateBucket(t.Context(), shop); err != nil {
			t.Fatal(err)
		}
		c := n.await(t, "shop")
		if _, err := c.Get(t.Context(), "k", client.With{}); !errors.Is(err, client.ErrNotFound) {
			t.Fatalf("a new bucket: %v", err)
		}
		if _, err := c.Set(t.Context(), "k", []byte("1"), client.With{Level: spec.PersistToMajority}); err != nil {
			t.Fatal(err)
		}
		if err := rest.FlushBucket(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), "k", client.With{}); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("after a flush: %v", err)
		}
		if _, err := c.Set(t.Context(), "k", []byte("2"), client.With{Level: spec.PersistToMajority}); err != nil {
			t.Fatal(err)
		}
		if err := rest.DropBucket(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		<-c.Done() // connections of a dropped bucket end or are refused
	}
}

// await connects to a bucket that is being made.
func (r *running) await(t *testing.T, bucket string) *client.Conn {
	t.Helper()
	for {
		c, err := client.Dial(t.Context(), client.Options{
			Addr: fmt.Sprintf("127.0.0.1:%d", r.Ports().KV), User: config.AdminUser, Password: password, Bucket: bucket, Agent: "test",
		})
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		if !errors.Is(err, client.ErrNoBucket) && !errors.Is(err, client.ErrNotFound) && !errors.Is(err, client.ErrAccess) && !errors.Is(err, client.ErrTemporary) {
			t.Fatal(err)
		}
	}
}

// TestTwoOnOneDirectory: the second node is refused and says why.
func TestTwoOnOneDirectory(t *testing.T) {
	dir := t.TempDir()
	start(t, node.Options{Settings: settings(t, dir)})
	if _, err := node.Open(t.Context(), node.Options{Settings: settings(t, dir)}); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("a second node on the directory: %v", err)
	}
}

// TestForeignDocuments: documents of one cluster under the state of another are not touched.
func TestForeignDocuments(t *testing.T) {
	fs := disk.NewMemory()
	options := func() node.Options { return node.Options{Settings: settings(t, "data"), FS: fs} }
	n := start(t, options())
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove("data/cluster.state"); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Open(t.Context(), options()); err == nil || !strings.Contains(err.Error(), "belong to cluster") {
		t.Errorf("documents without their cluster state: %v", err)
	}
}

// TestNoMadePasswordInTheOpen: even settings that package config would refuse do not open a node with a password that nobody
// chose to other machines.
func TestNoMadePasswordInTheOpen(t *testing.T) {
	s := *settings(t, "")
	s.Bind, s.Password = "0.0.0.0", ""
	if n, err := node.Open(t.Context(), node.Options{Settings: &s}); err == nil {
		_ = n.Close()
		t.Error("the node was opened")
	}
}
