package cart_test

import (
	"errors"
	"maps"
	"testing"
	"testing/fstest"
	"time"

	"github.com/charpoy/charpoy/charpoytest"
	"github.com/couchbase/gocb/v2"

	cart "github.com/charpoy/charpoy/examples/go-testing"
)

// connect connects the SDK to a server of charpoytest. After a lost connection the SDK waits for five seconds by its own clock,
// which a test cannot move; server_wait_backoff (in milliseconds) makes it less.
func connect(t *testing.T, c *charpoytest.Cluster) *gocb.Collection {
	t.Helper()
	cluster, err := gocb.Connect(c.ConnStr()+"?server_wait_backoff=50", gocb.ClusterOptions{Username: c.Username(), Password: c.Password()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close(nil) })
	bucket := cluster.Bucket("default")
	if err := bucket.WaitUntilReady(20*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	return bucket.DefaultCollection()
}

func want(t *testing.T, s *cart.Store, customer string, wanted cart.Cart) {
	t.Helper()
	if got, err := s.Get(customer); err != nil || !maps.Equal(got, wanted) {
		t.Errorf("cart of %s: %v, %v; want %v", customer, got, err, wanted)
	}
}

// TestCart shares one server among its parts; each begins with the same documents.
func TestCart(t *testing.T) {
	c := charpoytest.StartWith(t, charpoytest.Options{Seed: fstest.MapFS{"cart::anna.json": {Data: []byte(`{"lamp":1}`)}}})
	store := &cart.Store{Docs: connect(t, c)}
	seeded := c.Snapshot(t)
	for name, part := range map[string]func(*testing.T){
		"adds": func(t *testing.T) {
			if err := store.Add("anna", "lamp", 2); err != nil {
				t.Fatal(err)
			}
			want(t, store, "anna", cart.Cart{"lamp": 3})
		},
		"begins": func(t *testing.T) {
			if err := store.Add("bert", "chair", 1); err != nil {
				t.Fatal(err)
			}
			want(t, store, "bert", cart.Cart{"chair": 1})
			if d, found := c.Doc(t, "default", "cart::bert"); !found || d.Expiry.Sub(c.Now()).Round(time.Hour) != cart.Life {
				t.Errorf("%+v, found %v", d, found)
			}
		},
		// A day later the cart is gone, without anybody waiting for it.
		"expires": func(t *testing.T) {
			if err := store.Add("bert", "chair", 1); err != nil {
				t.Fatal(err)
			}
			c.Advance(cart.Life)
			want(t, store, "bert", cart.Cart{})
			want(t, store, "anna", cart.Cart{"lamp": 1}) // it was loaded without an expiry
		},
		// Another customer service changes the cart between our read and our write, twice.
		"competes": func(t *testing.T) {
			id := c.Inject(charpoytest.Rule{Op: "replace", Key: "cart::*", Status: charpoytest.Exists, Times: 2})
			defer c.ClearRules()
			if err := store.Add("anna", "lamp", 2); err != nil {
				t.Fatal(err)
			}
			want(t, store, "anna", cart.Cart{"lamp": 3})
			if n := c.Acted(id); n != 2 {
				t.Errorf("the write was refused %d times, want 2", n)
			}
		},
		"gives up": func(t *testing.T) {
			c.Inject(charpoytest.Rule{Op: "replace", Status: charpoytest.Exists})
			defer c.ClearRules()
			if err := store.Add("anna", "lamp", 2); !errors.Is(err, cart.ErrBusy) {
				t.Errorf("got %v", err)
			}
		},
		// The SDK tries again by itself when the server is busy.
		"busy": func(t *testing.T) {
			c.ClearOps()
			c.Inject(charpoytest.Rule{Op: "get", Status: charpoytest.TempFail, Times: 3})
			defer c.ClearRules()
			want(t, store, "anna", cart.Cart{"lamp": 1})
			gets := 0
			for _, op := range c.Ops() {
				if op.Op == "get" {
					gets++
				}
			}
			if gets != 4 {
				t.Errorf("the SDK read %d times, want 4", gets)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.Restore(t, seeded)
			part(t)
		})
	}
}

// TestRestart: what was stored is there after the node comes back, and the SDK finds it again.
func TestRestart(t *testing.T) {
	t.Parallel()
	c := charpoytest.StartWith(t, charpoytest.Options{Disk: charpoytest.MemoryDisk})
	store := &cart.Store{Docs: connect(t, c)}
	if err := store.Add("anna", "lamp", 1); err != nil {
		t.Fatal(err)
	}
	c.Node(1).Restart(t)
	want(t, store, "anna", cart.Cart{"lamp": 1})
}
