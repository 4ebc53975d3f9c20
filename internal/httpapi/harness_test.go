package httpapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/door"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/network"
	"github.com/charpoy/charpoy/internal/run"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// fakeData is a data plane that does at once what it is told.
type fakeData struct {
	reports chan *vbucket.Report
	set     *metrics.Set
	ops     *metrics.Counters
	mu      sync.Mutex
	problem error         // of Check
	hang    chan struct{} // if set, deep checks wait for it
	broken  string        // a bucket that cannot be made
	checks  int           // deep ones so far
}

func newFakeData() *fakeData {
	f := &fakeData{reports: make(chan *vbucket.Report, 1), set: metrics.NewSet()}
	f.ops = f.set.Counters(metrics.Desc{
		Name: opsFamily, Help: "Operations.",
		Labels: []metrics.Label{{Name: "op"}, metrics.BucketLabel()},
	})
	f.ops.With("get", "default").Add(5)
	return f
}

func (f *fakeData) Apply(_ context.Context, a *vbucket.Assignment) {
	f.mu.Lock()
	broken := f.broken
	f.mu.Unlock()
	r := &vbucket.Report{Boot: "b", RevEpoch: a.RevEpoch, Rev: a.Rev}
	for _, b := range a.Buckets {
		one := vbucket.BucketReport{
			Name: b.Spec.Name, UUID: b.Spec.UUID, FlushCount: b.Spec.FlushCount, Ready: true,
			Items: 7, MemBytes: 1 << 20, DiskBytes: 4096,
		}
		if one.Name == broken {
			one.Ready, one.Problem = false, "the disk is full"
		}
		r.Buckets = append(r.Buckets, one)
	}
	select {
	case <-f.reports:
	default:
	}
	f.reports <- r
}

func (f *fakeData) Reports() <-chan *vbucket.Report { return f.reports }

func (f *fakeData) Metrics(context.Context) (*metrics.Snapshot, error) { return f.set.Snapshot(), nil }

func (f *fakeData) Stat(_ context.Context, bucket, group string) ([]door.Pair, error) {
	if group == "bad" {
		return nil, errors.New("no such group")
	}
	return []door.Pair{{Name: "bucket", Value: bucket}, {Name: "group", Value: group}}, nil
}

func (f *fakeData) Check(_ context.Context, deep bool) error {
	f.mu.Lock()
	problem, hang := f.problem, f.hang
	if deep {
		f.checks++
	}
	f.mu.Unlock()
	if deep && hang != nil {
		<-hang
	}
	return problem
}

// fakeDocuments keeps documents in a map and lets everybody but "reader" write.
type fakeDocuments struct {
	mu   sync.Mutex
	docs map[string]Document
	cas  uint64
}

func (f *fakeDocuments) Get(_ context.Context, _, bucket string, key []byte) (Document, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if bucket != "default" {
		return Document{}, cluster.ErrNoBucket
	}
	d, ok := f.docs[string(key)]
	if !ok {
		return Document{}, fmt.Errorf("get %s: %w", key, ErrNoDocument)
	}
	return d, nil
}

func (f *fakeDocuments) Put(_ context.Context, user, _ string, key []byte, d Document) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, ok := f.docs[string(key)]
	switch {
	case user == "reader":
		return 0, auth.ErrNotAllowed
	case string(key) == "full":
		return 0, ErrNoMemory
	case string(key) == "slow":
		return 0, context.DeadlineExceeded
	case len(d.Value) > 20<<20:
		return 0, ErrDocumentTooBig
	case d.Add && ok:
		return 0, ErrDocumentExists
	case d.CAS != 0 && !ok:
		return 0, ErrNoDocument
	case d.CAS != 0 && d.CAS != old.CAS:
		return 0, ErrDocumentChanged
	}
	f.cas++
	d.CAS, d.JSON = f.cas, len(d.Value) > 0 && d.Value[0] == '{'
	f.docs[string(key)] = d
	return d.CAS, nil
}

func (f *fakeDocuments) Delete(_ context.Context, _, _ string, key []byte, cas uint64) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.docs[string(key)]
	switch {
	case !ok:
		return 0, ErrNoDocument
	case cas != 0 && cas != d.CAS:
		return 0, ErrDocumentChanged
	}
	delete(f.docs, string(key))
	f.cas++
	return f.cas, nil
}

func (f *fakeDocuments) Close() error { return nil }

// world is a server with all that stands behind it.
type world struct {
	*Server
	data *fakeData
	net  network.Net
	dir  *auth.Directory
	now  time.Time
}

func testUser(t *testing.T, d spec.Domain, id, password, roles string) spec.User {
	t.Helper()
	u := spec.User{Domain: d, ID: id}
	var err error
	if u.Roles, err = auth.ParseRoles(roles); err != nil {
		t.Fatal(err)
	}
	if u.Credentials, err = auth.NewCredentialsAt(password, auth.CheapCost()); err != nil {
		t.Fatal(err)
	}
	return u
}

// newWorld makes a server over a memory store, a memory network and fakes. Its cluster runs; the server itself runs only if
// serve is set.
func newWorld(t *testing.T, change func(*Options), serve bool) *world {
	t.Helper()
	w := &world{
		data: newFakeData(), net: network.NewMemory(), dir: auth.NewDirectory(auth.Options{}),
		now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
	}
	c := cluster.New(store.NewMemory(), cluster.Options{})
	o := Options{
		Cluster: c, Data: w.data, Auth: w.dir, Documents: &fakeDocuments{docs: map[string]Document{}}, Net: w.net,
		Addr: "127.0.0.1:0", Version: "1.2.3", MemoryBytes: 8 << 30, PathData: "/data", Now: func() time.Time { return w.now },
	}
	if change != nil {
		change(&o)
	}
	var err error
	if w.Server, err = New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	c.Subscribe(func(s *cluster.State) { w.dir.Replace(s.Users, s.Groups) })
	_, err = c.Bootstrap(t.Context(), cluster.Boot{
		Self: vbucket.Node{
			UUID: "00000000000000000000000000000001", Data: true,
			Ports: map[string]int{"kv": 11210, "mgmt": 8091, "capi": 8092},
		},
		Users: []spec.User{
			testUser(t, spec.DomainAdmin, "Administrator", "password", "admin"),
			testUser(t, spec.DomainLocal, "reader", "password", "data_reader[default]"),
			testUser(t, spec.DomainLocal, "useradmin", "password", "user_admin_local"),
			testUser(t, spec.DomainLocal, "stats", "password", "external_stats_reader,data_monitoring[default]"),
		},
		Buckets: []spec.Bucket{{Name: "default", QuotaBytes: 100 << 20, NumVBuckets: 4}},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := run.NewGroup(context.Background())
	g.Go("cluster", c.Run)
	g.Go("agent", func(ctx context.Context) error { return w.agent(ctx, c) })
	if serve {
		g.Go("server", w.Run)
	} else {
		g.Go("deep", w.deep.run)
	}
	t.Cleanup(func() {
		g.Stop()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil && !serve {
			t.Error(err)
		}
	})
	ready, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.WaitBucketReady(ready, "default"); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) agent(ctx context.Context, c *cluster.Cluster) error {
	for {
		select {
		case a := <-c.Assignments():
			w.data.Apply(ctx, a)
		case r := <-w.data.Reports():
			c.Observe(r)
		case <-ctx.Done():
			return nil
		}
	}
}
