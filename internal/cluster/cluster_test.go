package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/run"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

const mib = 1 << 20

// fakeData carries out Assignments at once and reports, as the agent and a data plane would.
type fakeData struct {
	mu      sync.Mutex
	last    *vbucket.Assignment
	stuck   map[string]bool   // buckets that are neither loaded nor dropped
	problem map[string]string // buckets that cannot be made
	kept    map[string]vbucket.BucketReport
}

func (f *fakeData) run(ctx context.Context, c *Cluster) error {
	for {
		select {
		case a := <-c.Assignments():
			f.apply(a)
			c.Observe(f.report())
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *fakeData) apply(a *vbucket.Assignment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = a
	next := map[string]vbucket.BucketReport{}
	for name, r := range f.kept {
		if f.stuck[name] {
			next[name] = r
		}
	}
	for _, b := range a.Buckets {
		if _, ok := next[b.Spec.Name]; !ok {
			next[b.Spec.Name] = vbucket.BucketReport{
				Name: b.Spec.Name, UUID: b.Spec.UUID, FlushCount: b.Spec.FlushCount,
				Ready: !f.stuck[b.Spec.Name], Problem: f.problem[b.Spec.Name],
			}
		}
	}
	f.kept = next
}

func (f *fakeData) report() *vbucket.Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &vbucket.Report{Boot: "b", RevEpoch: f.last.RevEpoch, Rev: f.last.Rev}
	for _, b := range f.kept {
		r.Buckets = append(r.Buckets, b)
	}
	return r
}

func (f *fakeData) set(stuck, problem string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stuck, f.problem = map[string]bool{stuck: true}, map[string]string{problem: "the disk is full"}
}

func self() vbucket.Node {
	return vbucket.Node{Ports: map[string]int{"kv": 11210, "mgmt": 8091}, Data: true}
}

func firstBoot() Boot {
	return Boot{
		Self:    self(),
		Users:   []spec.User{{Domain: spec.DomainAdmin, ID: "Administrator", Roles: []spec.Role{{Name: "admin"}}}},
		Buckets: []spec.Bucket{{Name: "default", QuotaBytes: 100 * mib, NumVBuckets: 64}},
	}
}

// start runs a cluster over a store with a fake data plane; stop ends both.
func start(t *testing.T, s store.Store, boot Boot) (c *Cluster, data *fakeData, stop func()) {
	t.Helper()
	c, data = New(s, Options{}), &fakeData{}
	if _, err := c.Bootstrap(t.Context(), boot); err != nil {
		t.Fatal(err)
	}
	g := run.NewGroup(t.Context())
	g.Go("cluster", c.Run)
	g.Go("data", func(ctx context.Context) error { return data.run(ctx, c) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			g.Stop()
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return c, data, stop
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// An empty store becomes a working cluster of one node in one step.
func TestFirstBoot(t *testing.T) {
	c := New(store.NewMemory(), Options{})
	if err := c.Run(t.Context()); !errors.Is(err, ErrNotReady) {
		t.Errorf("Run before Bootstrap: %v, want ErrNotReady", err)
	}
	boot := firstBoot()
	boot.ClusterName = "prod"
	fresh, err := c.Bootstrap(t.Context(), boot)
	if err != nil || !fresh {
		t.Fatalf("Bootstrap: %v, %v", fresh, err)
	}
	s := c.State()
	if s.Rev < 1 || s.RevEpoch != 1 || len(s.UUID) != 32 || s.Name != "prod" || s.Self != 0 || len(s.Nodes) != 1 {
		t.Errorf("state: %+v", s)
	}
	if len(s.Nodes[0].UUID) != 32 || s.Nodes[0].Ports["kv"] != 11210 {
		t.Errorf("node: %+v", s.Nodes[0])
	}
	a := <-c.Assignments()
	if a != s.Assignment || a.Rev != s.Rev || len(a.Users) != 1 {
		t.Errorf("assignment: %+v", a)
	}
	b := a.Bucket("default")
	if b == nil || b.Spec.UUID == "" || b.Spec.Eviction != spec.EvictValues || len(b.Rows) != 64 || !b.Manifest.Has(0) {
		t.Fatalf("bucket: %+v", b)
	}
	for i, r := range b.Rows {
		if diff := cmp.Diff(vbucket.Row{Epoch: 1, Chain: []int16{0}}, r); diff != "" {
			t.Fatalf("row %d (-want +got):\n%s", i, diff)
		}
	}
}

// Wrong first-boot values leave the store empty.
func TestFirstBootRefused(t *testing.T) {
	f := func(change func(*Boot)) {
		t.Helper()
		s := store.NewMemory()
		boot := firstBoot()
		change(&boot)
		if _, err := New(s, Options{}).Bootstrap(t.Context(), boot); err == nil {
			t.Errorf("accepted: %+v", boot)
		}
		if keys, _, err := s.List(t.Context(), ""); err != nil || len(keys) > 0 {
			t.Errorf("keys were left: %v, %v", keys, err)
		}
	}
	f(func(b *Boot) { b.Users[0].ID = "a b/c" })
	f(func(b *Boot) { b.Buckets[0].Name = "no spaces" })
	f(func(b *Boot) { b.Buckets[0].QuotaBytes = 0 })
	f(func(b *Boot) { b.Buckets = append(b.Buckets, b.Buckets[0]) })
	f(func(b *Boot) { b.Buckets = make([]spec.Bucket, spec.MaxBuckets+1) })
}

// newDir gives a file system in memory with an empty data directory.
func newDir(t *testing.T) disk.FS {
	t.Helper()
	files := disk.NewMemory()
	if err := files.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	return files
}

// Over restarts the state stays, revisions never fall, and rise when the node has moved; first-boot values are ignored.
func TestRestart(t *testing.T) {
	files := newDir(t)
	open := func() store.Store {
		s, err := store.OpenSolo(files, "data")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s1 := open()
	c1, _, stop := start(t, s1, firstBoot())
	if err := c1.CreateBucket(within(t), spec.Bucket{Name: "b", QuotaBytes: mib, NumVBuckets: 4}); err != nil {
		t.Fatal(err)
	}
	stop()
	before := c1.State()
	if err := s1.Close(); err != nil {
		t.Fatal(err)
	}

	c2 := New(open(), Options{})
	if was, err := c2.Bootstrapped(t.Context()); err != nil || !was {
		t.Errorf("Bootstrapped = %v, %v", was, err)
	}
	other := firstBoot()
	other.ClusterName, other.Buckets, other.Users = "other", nil, nil
	if fresh, err := c2.Bootstrap(t.Context(), other); err != nil || fresh {
		t.Fatalf("Bootstrap again: %v, %v", fresh, err)
	}
	after := c2.State()
	if diff := cmp.Diff(before.Assignment, after.Assignment); diff != "" {
		t.Errorf("after a restart with the same ports (-before +after):\n%s", diff)
	}

	c3 := New(open(), Options{})
	other.Self.Ports = map[string]int{"kv": 1, "mgmt": 2}
	if _, err := c3.Bootstrap(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if s := c3.State(); s.Rev <= after.Rev || s.Nodes[0].Ports["kv"] != 1 || s.Nodes[0].UUID != after.Nodes[0].UUID || len(s.Buckets) != 2 {
		t.Errorf("after a restart with other ports: %+v, revision %d before", s, after.Rev)
	}
}

// Subscribers see states in order, the newest last; Assignments holds the newest only.
func TestSubscribe(t *testing.T) {
	ctx := within(t)
	s := store.NewMemory()
	c := New(s, Options{})
	if _, err := c.Bootstrap(ctx, firstBoot()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []int64
	cancel := c.Subscribe(func(s *State) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, s.Rev)
	})
	g := run.NewGroup(ctx)
	g.Go("cluster", c.Run)
	for _, name := range []string{"a", "b", "c"} {
		if err := c.SetClusterName(ctx, name); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		if got := seen[len(seen)-1]; got < c.State().Rev {
			t.Errorf("the operation ended at revision %d before the subscriber was told; it knows %d", c.State().Rev, got)
		}
		mu.Unlock()
	}
	cancel()
	last := c.State()
	if a := <-c.Assignments(); a != last.Assignment || a.ClusterName != "c" {
		t.Errorf("assignment %d, want %d", a.Rev, last.Rev)
	}
	if err := c.SetClusterName(ctx, "d"); err != nil {
		t.Fatal(err)
	}
	g.Stop()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) == 0 || !slices.IsSorted(seen) || seen[len(seen)-1] != last.Rev {
		t.Errorf("subscriber saw %v, the last one before cancel was %d", seen, last.Rev)
	}
}

// A store that holds what cannot be understood is an error that names the key, not a guess.
func TestUnreadableKeys(t *testing.T) {
	f := func(key, value string) {
		t.Helper()
		s := store.NewMemory()
		if _, err := New(s, Options{}).Bootstrap(t.Context(), firstBoot()); err != nil {
			t.Fatal(err)
		}
		uuid := ""
		keys, _, err := s.List(t.Context(), prefixBucket)
		if err != nil {
			t.Fatal(err)
		}
		uuid = keys[0].Key[len(prefixBucket):]
		switch key {
		case "rows":
			key = keyRows(uuid, 0)
		case "bucket":
			key = keyBucket(uuid)
		}
		if _, err := s.Txn(t.Context(), store.Txn{Puts: []store.Put{{Key: key, Value: []byte(value)}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := New(s, Options{}).Bootstrap(t.Context(), firstBoot()); err == nil {
			t.Errorf("%s = %q was accepted", key, value)
		}
	}
	f(keyMeta, "{")
	f(keyMeta, `{"clusterUUID":"x","compat":99}`)
	f(keySettings, "[]")
	f(keySelf, "")
	f("bucket", `{"spec":{"numVBuckets":3}}`)
	f("bucket", `{"spec":{"numVBuckets":128,"uuid":"other"}}`)
	f("rows", "\x02")
	f("rows", "\x01\x01\x01\x01")
	f("rows", "\x01\x01\x01\x01\x01")
	f(prefixUser+"local/x", "{")
	f(prefixGroup+"x", "1")
}
