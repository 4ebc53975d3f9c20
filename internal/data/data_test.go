package data_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

const vBuckets = 4

// assignment makes one of a revision with the named buckets, all active here. A name may carry a UUID: "shop=2".
func assignment(rev int64, names ...string) *vbucket.Assignment {
	a := &vbucket.Assignment{RevEpoch: 1, Rev: rev, Nodes: []vbucket.Node{{Data: true}}}
	for _, n := range names {
		name, uuid, ok := strings.Cut(n, "=")
		if !ok {
			uuid = "1"
		}
		b := vbucket.BucketAssignment{
			Spec:     spec.Bucket{Name: name, UUID: name + uuid, QuotaBytes: 64 << 20, NumVBuckets: vBuckets}.WithDefaults(),
			Manifest: spec.NewManifest(),
		}
		for range vBuckets {
			b.Rows = append(b.Rows, vbucket.Row{Epoch: 1, Chain: []int16{0}})
		}
		a.Buckets = append(a.Buckets, b)
	}
	return a
}

// plane is a running data plane.
type plane struct {
	*data.Node
	t    *testing.T
	stop func()
}

func run(t *testing.T, fs disk.FS) *plane {
	t.Helper()
	n, err := data.Open(data.Options{Dir: "docs", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stopped := false
	p := &plane{n, t, func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-done, n.Close()); err != nil {
			t.Error(err)
		}
	}}
	t.Cleanup(p.stop)
	return p
}

// await reads reports until one satisfies holds.
func (p *plane) await(what string, holds func(*vbucket.Report) bool) {
	p.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case r := <-p.Reports():
			if holds(r) {
				return
			}
		case <-limit:
			p.t.Fatalf("no report says: %s", what)
		}
	}
}

func (p *plane) apply(a *vbucket.Assignment) {
	p.t.Helper()
	p.Apply(p.t.Context(), a)
	p.await("carried out", func(r *vbucket.Report) bool {
		for i := range r.Buckets {
			if !r.Buckets[i].Ready && r.Buckets[i].Problem == "" {
				return false
			}
		}
		return r.Rev >= a.Rev
	})
}

func (p *plane) set(bucket, key string) error {
	b, err := p.Bucket(bucket)
	if err != nil {
		return err
	}
	k := b.KV().Key(vbucket.Of([]byte(key), vBuckets), 0, []byte(key))
	_, err = b.KV().Set(p.t.Context(), hlc.New().Now(), k, &kv.Write{Value: []byte(key), Level: spec.PersistToMajority})
	return err
}

func (p *plane) get(bucket, key string) error {
	b, err := p.Bucket(bucket)
	if err != nil {
		return err
	}
	k := b.KV().Key(vbucket.Of([]byte(key), vBuckets), 0, []byte(key))
	_, _, err = b.KV().Get(p.t.Context(), hlc.New().Now(), k, nil)
	return err
}

// TestApply makes, keeps and drops buckets, and ignores what is old.
func TestApply(t *testing.T) {
	p := run(t, disk.NewMemory())
	if err := p.Check(t.Context(), false); err == nil {
		t.Error("healthy before the first assignment")
	}
	if _, err := p.Bucket("a"); !errors.Is(err, data.ErrNoBucket) {
		t.Errorf("a bucket that nobody assigned: %v", err)
	}
	p.apply(assignment(2, "a", "b"))
	for _, bucket := range []string{"a", "b"} {
		if err := p.set(bucket, "k"); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Check(t.Context(), true); err != nil {
		t.Errorf("not healthy: %v", err)
	}
	p.Apply(t.Context(), assignment(1)) // older: it would drop both
	p.apply(assignment(3, "a"))
	if err := p.get("a", "k"); err != nil {
		t.Errorf("the bucket that stayed: %v", err)
	}
	if err := p.get("b", "k"); !errors.Is(err, data.ErrNoBucket) {
		t.Errorf("the bucket that went: %v", err)
	}
	p.apply(assignment(4, "a", "b=2")) // the name again, another bucket
	if err := p.get("b", "k"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("a document of a dropped bucket: %v", err)
	}
}

// TestLeftovers: documents of a bucket whose drop was cut short are deleted at the next start, those of the others stay.
func TestLeftovers(t *testing.T) {
	fs := disk.NewMemory()
	p := run(t, fs)
	p.apply(assignment(1, "a", "b"))
	if err := errors.Join(p.set("a", "k"), p.set("b", "k")); err != nil {
		t.Fatal(err)
	}
	p.stop()
	p = run(t, fs)
	p.apply(assignment(2, "a"))
	p.apply(assignment(3, "a", "b")) // with the same UUID: what is left of it would show
	if err := p.get("a", "k"); err != nil {
		t.Errorf("the bucket that stayed: %v", err)
	}
	if err := p.get("b", "k"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("a document of a bucket that was no longer assigned: %v", err)
	}
}

// TestOneBadBucket: a bucket that cannot be opened is reported and does not keep the others from being served.
func TestOneBadBucket(t *testing.T) {
	p := run(t, disk.NewMemory())
	a := assignment(1, "bad", "good")
	a.Buckets[0].Spec.NumVBuckets = 3
	p.Apply(t.Context(), a)
	p.await("a problem of one bucket, and the other one ready", func(r *vbucket.Report) bool {
		bad, good := r.Bucket("bad"), r.Bucket("good")
		return bad != nil && bad.Problem != "" && good != nil && good.Ready
	})
	if err := p.set("good", "k"); err != nil {
		t.Error(err)
	}
	if _, err := p.Bucket("bad"); !errors.Is(err, data.ErrNotReady) {
		t.Errorf("the bad bucket: %v", err)
	}
}

// TestSubscribe: a subscriber hears of the present assignment at once and of newer ones until it cancels.
func TestSubscribe(t *testing.T) {
	p := run(t, disk.NewMemory())
	p.apply(assignment(1))
	revs := make(chan int64, 10)
	cancel := p.Subscribe(func(a *vbucket.Assignment) { revs <- a.Rev })
	if got := <-revs; got != 1 {
		t.Errorf("at once: revision %d, want 1", got)
	}
	p.apply(assignment(2))
	if got := <-revs; got != 2 {
		t.Errorf("then: revision %d, want 2", got)
	}
	cancel()
	p.apply(assignment(3))
	select {
	case got := <-revs:
		t.Errorf("after cancel: revision %d", got)
	default:
	}
}

// TestClaim: documents belong to the first cluster that claims them.
func TestClaim(t *testing.T) {
	p := run(t, disk.NewMemory())
	if err := errors.Join(p.Claim("one"), p.Claim("one")); err != nil {
		t.Error(err)
	}
	if err := p.Claim("two"); err == nil || !strings.Contains(err.Error(), "belong to cluster one") {
		t.Errorf("a second cluster: %v", err)
	}
}

// TestNumbers: metrics and statistics name a bucket's documents.
func TestNumbers(t *testing.T) {
	p := run(t, disk.NewMemory())
	p.apply(assignment(1, "a"))
	if err := p.set("a", "k"); err != nil {
		t.Fatal(err)
	}
	m, err := p.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f := m.Find("cache_items"); f == nil || len(f.Series) != 1 || f.Series[0].Value != 1 || f.Series[0].Labels[0] != "a" {
		t.Errorf("cache_items: %+v", f)
	}
	pairs, err := p.Stat(t.Context(), "a", "")
	if err != nil || len(pairs) == 0 {
		t.Errorf("statistics: %d pairs, %v", len(pairs), err)
	}
	if _, err := p.Stat(t.Context(), "a", "nonsense"); err == nil {
		t.Error("a group that does not exist was answered")
	}
	if _, err := p.Stat(t.Context(), "b", ""); !errors.Is(err, data.ErrNoBucket) {
		t.Errorf("statistics of a bucket that does not exist: %v", err)
	}
}
