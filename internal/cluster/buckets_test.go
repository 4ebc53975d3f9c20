package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// A bucket can be used when it is created, changed while it lives, and its name again when it is dropped.
func TestBucketLife(t *testing.T) {
	ctx := within(t)
	c, data, _ := start(t, store.NewMemory(), firstBoot())
	b := spec.Bucket{Name: "Shop", QuotaBytes: 10 * mib, NumVBuckets: 8, NumReplicas: 2}
	rev := c.State().Rev
	if err := c.CreateBucket(ctx, b); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitBucketReady(ctx, "Shop"); err != nil {
		t.Fatal(err)
	}
	made := c.State().Bucket("Shop")
	if made == nil || c.State().Rev <= rev {
		t.Fatalf("created: %+v, revision %d, before %d", made, c.State().Rev, rev)
	}
	if diff := cmp.Diff([]int16{0, -1, -1}, made.Rows[7].Chain); diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}
	for _, name := range []string{"Shop", "shop"} {
		b.Name = name
		if err := c.CreateBucket(ctx, b); !errors.Is(err, ErrBucketExists) {
			t.Errorf("creating %s again: %v, want ErrBucketExists", name, err)
		}
	}
	err := c.UpdateBucket(ctx, "Shop", func(b *spec.Bucket) error {
		b.QuotaBytes, b.NumReplicas, b.FlushEnabled = 20*mib, 0, true
		b.UUID, b.NumVBuckets, b.Name, b.FlushCount, b.Type = "x", 16, "y", 9, spec.Ephemeral
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := made.Spec
	want.QuotaBytes, want.NumReplicas, want.FlushEnabled = 20*mib, 0, true
	if diff := cmp.Diff(want, c.State().Bucket("Shop").Spec); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if got := c.State().Bucket("Shop").Rows[0].Chain; len(got) != 1 {
		t.Errorf("chain without replicas: %v", got)
	}
	rev = c.State().Rev
	if err := c.UpdateBucket(ctx, "Shop", func(*spec.Bucket) error { return nil }); err != nil || c.State().Rev != rev {
		t.Errorf("changing nothing: %v, revision %d to %d", err, rev, c.State().Rev)
	}
	testDrop(ctx, t, c, data, made.Spec)
}

func testDrop(ctx context.Context, t *testing.T, c *Cluster, data *fakeData, old spec.Bucket) {
	t.Helper()
	data.set("Shop", "")
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := c.DropBucket(short, "Shop"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dropping what the data plane holds on to: %v", err)
	}
	if s := c.State(); s.Bucket("Shop") != nil || s.Assignment.Bucket("Shop") != nil {
		t.Error("a bucket being dropped is still served")
	}
	b := spec.Bucket{Name: "Shop", QuotaBytes: mib, NumVBuckets: 4}
	if err := c.CreateBucket(ctx, b); !errors.Is(err, ErrBucketDropping) {
		t.Errorf("creating while dropping: %v, want ErrBucketDropping", err)
	}
	for _, err := range []error{
		c.DropBucket(ctx, "Shop"), c.FlushBucket(ctx, "Shop"), c.WaitBucketReady(ctx, "Shop"),
		c.UpdateBucket(ctx, "Shop", func(*spec.Bucket) error { return nil }),
	} {
		if !errors.Is(err, ErrNoBucket) {
			t.Errorf("using a bucket that is being dropped: %v, want ErrNoBucket", err)
		}
	}
	data.set("", "")
	data.apply(c.State().Assignment)
	c.Observe(data.report())
	if err := c.await(ctx, func() (bool, error) { return c.State().named("Shop") == nil, nil }); err != nil {
		t.Fatal(err)
	}
	keys, _, err := c.store.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.Key == keyName("Shop") || k.Key == keyBucket(old.UUID) || k.Key == keyRows(old.UUID, 0) || k.Key == keyMan(old.UUID) {
			t.Errorf("key %s was left", k.Key)
		}
	}
	if err := c.CreateBucket(ctx, b); err != nil {
		t.Fatalf("creating again: %v", err)
	}
	if got := c.State().Bucket("Shop").Spec.UUID; got == old.UUID {
		t.Error("the new bucket has the UUID of the old one")
	}
}

// A report that was made before the drop was known does not finish it.
func TestDropNeedsNewReport(t *testing.T) {
	c := New(store.NewMemory(), Options{})
	if _, err := c.Bootstrap(t.Context(), firstBoot()); err != nil {
		t.Fatal(err)
	}
	s := c.State()
	c.Observe(&vbucket.Report{RevEpoch: s.RevEpoch, Rev: s.Rev - 1})
	if c.dropped(s.Buckets[0].Spec.UUID) {
		t.Error("an old report finishes a drop")
	}
	c.Observe(&vbucket.Report{RevEpoch: s.RevEpoch, Rev: s.Rev, Buckets: []vbucket.BucketReport{{UUID: s.Buckets[0].Spec.UUID}}})
	if c.dropped(s.Buckets[0].Spec.UUID) {
		t.Error("a report that has the bucket finishes its drop")
	}
	c.Observe(&vbucket.Report{RevEpoch: s.RevEpoch, Rev: s.Rev})
	if !c.dropped(s.Buckets[0].Spec.UUID) {
		t.Error("a new report without the bucket does not finish its drop")
	}
}

// A drop that was not finished before a restart is finished after it.
func TestDropOverRestart(t *testing.T) {
	ctx := within(t)
	files := newDir(t)
	s, err := store.OpenSolo(files, "data")
	if err != nil {
		t.Fatal(err)
	}
	c, data, stop := start(t, s, firstBoot())
	if err := c.WaitBucketReady(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	data.set("default", "")
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := c.DropBucket(short, "default"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("DropBucket: %v", err)
	}
	stop()
	again, err := store.OpenSolo(files, "data")
	if err != nil {
		t.Fatal(err)
	}
	c2, _, _ := start(t, again, firstBoot())
	if err := c2.await(ctx, func() (bool, error) { return len(c2.State().Buckets) == 0, nil }); err != nil {
		t.Errorf("the drop is not finished: %v", err)
	}
}

// Flush waits for the data plane; a bucket that cannot be made says why.
func TestFlushAndProblems(t *testing.T) {
	ctx := within(t)
	c, data, _ := start(t, store.NewMemory(), firstBoot())
	if err := c.FlushBucket(ctx, "default"); !errors.Is(err, ErrFlushDisabled) {
		t.Errorf("flush: %v, want ErrFlushDisabled", err)
	}
	if err := c.FlushBucket(ctx, "none"); !errors.Is(err, ErrNoBucket) {
		t.Errorf("flush: %v, want ErrNoBucket", err)
	}
	if err := c.UpdateBucket(ctx, "default", func(b *spec.Bucket) error { b.FlushEnabled = true; return nil }); err != nil {
		t.Fatal(err)
	}
	for want := uint64(1); want <= 2; want++ {
		if err := c.FlushBucket(ctx, "default"); err != nil {
			t.Fatal(err)
		}
		if r, _ := c.Report(); r.Bucket("default").FlushCount != want || c.State().Bucket("default").Spec.FlushCount != want {
			t.Errorf("flush %d: %+v", want, r)
		}
	}
	data.set("", "bad")
	if err := c.CreateBucket(ctx, spec.Bucket{Name: "bad", QuotaBytes: mib, NumVBuckets: 4}); err != nil {
		t.Fatal(err)
	}
	var problem *DataError
	if err := c.WaitBucketReady(ctx, "bad"); !errors.As(err, &problem) || problem.Problem != "the disk is full" {
		t.Errorf("a bucket that cannot be made: %v", err)
	}
	if err := c.UpdateBucket(ctx, "default", func(b *spec.Bucket) error { b.QuotaBytes = 1; return nil }); !errors.As(err, &spec.Invalid{}) {
		t.Errorf("a wrong change: %v, want a spec.Invalid", err)
	}
}

// Quotas and numbers are bounded also when many ask at once.
func TestBucketBounds(t *testing.T) {
	ctx := within(t)
	c, _, _ := start(t, store.NewMemory(), firstBoot())
	if err := c.SetMemoryQuota(ctx, 99); !errors.Is(err, ErrQuotaExceeded) {
		t.Errorf("a quota below the buckets': %v, want ErrQuotaExceeded", err)
	}
	if err := c.SetMemoryQuota(ctx, 104); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 8 {
		wait.Go(func() {
			err := c.CreateBucket(ctx, spec.Bucket{Name: string(rune('a' + i)), QuotaBytes: mib, NumVBuckets: 1})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if !errors.Is(err, ErrQuotaExceeded) {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if made != 4 {
		t.Errorf("%d buckets of 1 MiB were made in 4 MiB", made)
	}
	err := c.UpdateBucket(ctx, "default", func(b *spec.Bucket) error { b.QuotaBytes++; return nil })
	if !errors.Is(err, ErrQuotaExceeded) {
		t.Errorf("growing beyond the quota: %v", err)
	}
	if err := c.SetMemoryQuota(ctx, 0); err != nil {
		t.Fatal(err)
	}
	for i := len(c.State().Buckets); i < spec.MaxBuckets; i++ {
		if err := c.CreateBucket(ctx, spec.Bucket{Name: fmt.Sprintf("n%d", i), QuotaBytes: mib, NumVBuckets: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.CreateBucket(ctx, spec.Bucket{Name: "more", QuotaBytes: mib}); !errors.Is(err, ErrTooManyBuckets) {
		t.Errorf("one more: %v, want ErrTooManyBuckets", err)
	}
}
