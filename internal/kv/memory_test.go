package kv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// fill sets documents of so many bytes until one is refused.
func (k *kit) fill(bytes int) (n int, err error) {
	w := &Write{Value: make([]byte, bytes)}
	for ; ; n++ {
		if _, err = k.Set(k.t.Context(), k.now(), k.key(fmt.Sprint("doc", n)), w); err != nil {
			return n, err
		}
	}
}

func small(o *Options) { o.Spec.QuotaBytes = 4 << 20 }

// TestFullWithoutEviction: a bucket that may give up nothing refuses what would take it above 93 %, and takes deletions.
func TestFullWithoutEviction(t *testing.T) {
	k := newKit(t, small)
	n, err := k.fill(1000)
	k.wantErr(err, ErrNoMemory)
	m := k.Memory()
	if share := float64(m.Used()) / float64(m.Quota); share < 0.90 || share > 0.935 {
		t.Errorf("full at %.3f of the quota (%+v)", share, m)
	}
	if m.Held() > m.Quota+overheadBytes {
		t.Errorf("the bucket holds %d bytes, quota %d", m.Held(), m.Quota)
	}
	k.wants("doc0", string(make([]byte, 1000)))
	_, err = k.Append(t.Context(), k.now(), k.key("doc0"), &Write{Value: make([]byte, 1000)})
	k.wantErr(err, ErrNoMemory)
	k.wants("doc0", string(make([]byte, 1000))) // untouched
	for i := range n / 2 {
		if _, err := k.Delete(t.Context(), k.now(), k.key(fmt.Sprint("doc", i)), &Write{}); err != nil {
			t.Fatalf("delete %d of %d: %v", i, n, err)
		}
	}
	k.set("again", "x")
	if got := k.Stats(); got.NoMemory != 2 || got.Items != uint64(n-n/2+1) {
		t.Errorf("stats %+v", got)
	}
	k.wantBooks()
}

// TestHugeDocument: one that the quota can never hold is refused for good, one that is too large for the limit before.
func TestHugeDocument(t *testing.T) {
	k := newKit(t, func(o *Options) { small(o); o.Spec.Eviction = spec.EvictNRU })
	_, err := k.Set(t.Context(), k.now(), k.key("x"), &Write{Value: make([]byte, 5<<20)})
	k.wantErr(err, ErrNoMemory)
	_, err = k.Set(t.Context(), k.now(), k.key("x"), &Write{Value: make([]byte, 21<<20)})
	k.wantErr(err, ErrTooBig)
	k.set("x", string(make([]byte, 3<<20)))
	k.wantBooks()
}

// TestEviction: with nruEviction the pager deletes the coldest documents down to the low mark, as changes that readers see.
func TestEviction(t *testing.T) {
	k := newKit(t, func(o *Options) { small(o); o.Spec.Eviction = spec.EvictNRU })
	r, err := k.Open(change.Options{Name: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n, err := k.fill(1000)
	k.wantErr(err, ErrBusy) // the pager has not had its turn
	for i := range n / 4 {
		for range 3 {
			if _, _, err := k.get(fmt.Sprint("doc", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	high := k.vbs[0].mu.high
	evicted := k.evictPass(t.Context())
	if used, c := k.memoryNow(), k.config.Load(); used > c.low || used < c.low-(256<<10) {
		t.Errorf("after the pass %d bytes are used, low mark %d", used, c.low)
	}
	if got := k.vbs[0].mu.high - high; int(got) != evicted || evicted == 0 {
		t.Errorf("evicted %d documents with %d seqnos", evicted, got)
	}
	for i := range n / 4 {
		if _, _, err := k.get(fmt.Sprint("doc", i)); err != nil {
			t.Errorf("document %d, which was in use, is gone", i)
		}
	}
	k.set("new", "x")
	k.wantBooks()
}

// TestPagerRuns: a full bucket that may evict takes writes again by itself, while Run works.
func TestPagerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := openKit(t, func(o *Options) { small(o); o.Spec.Eviction = spec.EvictNRU })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		done := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() { ended <- k.Run(ctx); close(done) })
		n, err := k.fill(1000)
		k.wantErr(err, ErrBusy)
		synctest.Wait()
		for i := range 10 * n {
			_, err := k.Set(t.Context(), k.now(), k.key(fmt.Sprint("more", i)), &Write{Value: make([]byte, 1000)})
			if errors.Is(err, ErrBusy) {
				synctest.Wait() // the pager works
				continue
			}
			k.wantErr(err, nil)
		}
		k.set("in the end", "x")
		cancel()
		<-done
		k.wantErr(<-ended, nil)
		k.wantBooks()
		k.wantErr(k.Close(), nil)
	})
}

// TestExpiryRuns: what has expired becomes a tombstone although nobody asks for it.
func TestExpiryRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes []int
		k := openKit(t, func(o *Options) {
			o.ExpiryInterval = time.Minute
			o.Events.Expired = func(n int, _ time.Duration) { passes = append(passes, n) }
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() { defer close(done); k.wantErr(k.Run(ctx), nil) })
		for i := range 2000 {
			if _, err := k.Set(t.Context(), k.now(), k.key(fmt.Sprint(i)), &Write{Expiry: uint32(1 + i%2)}); err != nil {
				t.Fatal(err)
			}
		}
		k.clock.Advance(time.Second)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if len(passes) != 1 || passes[0] != 1000 {
			t.Errorf("passes %v, want one of 1000", passes)
		}
		if s := k.Stats(); s.Items != 1000 || s.Tombstones != 1000 || s.Ops.Expired != 1000 {
			t.Errorf("%d items, %d tombstones, %d expired", s.Items, s.Tombstones, s.Ops.Expired)
		}
		cancel()
		<-done
		k.wantBooks()
		k.wantErr(k.Close(), nil)
	})
}

// TestNoAllocations holds the operations in memory to allocating nothing, with a reader and without.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	k := newKit(t)
	key, at, ctx := k.key("x"), k.now(), t.Context()
	k.set("n", "1")
	number := k.key("n")
	dst := make([]byte, 0, 4096)
	w, c := &Write{Value: make([]byte, 1000)}, &Count{Delta: 1}
	r, err := k.Open(change.Options{Name: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Add(0, vbucket.Position{}); err != nil {
		t.Fatal(err)
	}
	var b change.Batch
	for name, f := range map[string]func() error{
		"set":     func() error { _, err := k.Set(ctx, at, key, w); return err },
		"get":     func() error { _, _, err := k.Get(ctx, at, key, dst); return err },
		"meta":    func() error { _, err := k.GetMeta(ctx, at, key); return err },
		"counter": func() error { _, _, err := k.Counter(ctx, at, number, c); return err },
		"read":    func() error { _, err := k.Set(ctx, at, key, w); return errors.Join(err, r.Next(ctx, &b)) },
	} {
		if _, err := k.Set(ctx, at, key, w); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(2000, func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// TestManyItems: growing a table while items are found and removed keeps all of them, over many sizes.
func TestManyItems(t *testing.T) {
	k := newKit(t)
	const n = 20_000
	for i := range n {
		k.set(fmt.Sprint("key", i), fmt.Sprint(i))
	}
	for i := range n {
		k.wants(fmt.Sprint("key", i), fmt.Sprint(i))
	}
	for i := 0; i < n; i += 2 {
		if _, err := k.Delete(t.Context(), k.now(), k.key(fmt.Sprint("key", i)), &Write{}); err != nil {
			t.Fatal(err)
		}
	}
	k.clock.Advance(4 * 24 * time.Hour)
	k.expirePass(t.Context()) // purges the tombstones
	for i := range n {
		_, v, err := k.get(fmt.Sprint("key", i))
		if i%2 == 0 && !errors.Is(err, ErrNotFound) || i%2 == 1 && (err != nil || v != fmt.Sprint(i)) {
			t.Fatalf("key%d = %q, %v", i, v, err)
		}
	}
	if got := k.vbs[0].mu.tombstones; got != 1 {
		t.Errorf("%d tombstones are left, want the newest change only", got)
	}
	k.wantBooks()
}
