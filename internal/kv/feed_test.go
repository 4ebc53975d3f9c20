package kv

import (
	"testing"

	"github.com/charpoy/charpoy/internal/change/changetest"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// subject makes a bucket what changetest writes to.
func (k *kit) subject() *changetest.Subject {
	return &changetest.Subject{
		Feed:     k.Bucket,
		VBuckets: len(k.vbs),
		Set: func(vb vbucket.ID, key, value string) vbucket.Seqno {
			w, err := k.Set(k.t.Context(), k.now(), k.Key(vb, docid.Default, []byte(key)), &Write{Value: []byte(value)})
			if err != nil {
				k.t.Errorf("set %q: %v", key, err)
			}
			return w.Seqno
		},
		Delete: func(vb vbucket.ID, key string) vbucket.Seqno {
			w, err := k.Delete(k.t.Context(), k.now(), k.Key(vb, docid.Default, []byte(key)), &Write{})
			if err != nil {
				k.t.Errorf("delete %q: %v", key, err)
			}
			return w.Seqno
		},
		Fall: k.fall,
	}
}

// fall drops all readers of a vBucket from its window.
func (k *kit) fall(id vbucket.ID) {
	vb := &k.vbs[id]
	vb.mu.Lock()
	cursors := vb.mu.cursors
	for _, c := range cursors {
		if c.r != k.disk {
			vb.drop(k.Bucket, c)
		}
	}
	vb.mu.Unlock()
	notify(cursors, id)
}

// TestFeedOfEphemeralBucket holds the feed to the rules that every feed keeps.
func TestFeedOfEphemeralBucket(t *testing.T) {
	changetest.Run(t, func(t *testing.T) *changetest.Subject {
		t.Helper()
		return newKit(t).subject()
	})
}

// TestWindowIsFreed: nothing is kept of the window without readers, nor once they have read it.
func TestWindowIsFreed(t *testing.T) {
	k := newKit(t)
	for range 1000 {
		k.set("x", "1")
	}
	if got := k.window.Load(); got != 0 {
		t.Errorf("%d bytes of window without a reader", got)
	}
	s := k.subject()
	h := changetest.NewHistory()
	r, err := k.Open(openOptions("reader"))
	if err != nil {
		t.Fatal(err)
	}
	f := changetest.NewFollower(r, h)
	for range 1000 {
		h.Note(0, changetest.Version{Seqno: s.Set(0, "x", "2"), Key: "x", Value: "2"})
	}
	if err := f.Add(0); err != nil {
		t.Fatal(err)
	}
	if err := f.UntilHigh(t.Context(), 0, 2000); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		h.Note(0, changetest.Version{Seqno: s.Set(0, "x", "3"), Key: "x", Value: "3"})
	}
	if got := k.window.Load(); got < 1000*entryBytes {
		t.Errorf("%d bytes of window for 1000 entries", got)
	}
	if err := f.UntilHigh(t.Context(), 0, 3000); err != nil {
		t.Fatal(err)
	}
	if got := k.window.Load(); got != 0 {
		t.Errorf("%d bytes of window after all was read", got)
	}
	if all, disk := f.Snapshots(0); all != 2 || disk != 1 {
		t.Errorf("%d snapshots, %d from the table; want 2, 1", all, disk)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	k.wantBooks()
}

// TestSlowReaderIsDropped: a reader that does not read costs at most the window's limit, and misses nothing.
func TestSlowReaderIsDropped(t *testing.T) {
	var dropped int
	k := newKit(t, func(o *Options) {
		o.Spec.QuotaBytes = 4 << 20
		o.Events.CursorDropped = func(name string, vb vbucket.ID) {
			if name != "slow" || vb != 0 {
				t.Errorf("dropped %q of vb %d", name, vb)
			}
			dropped++
		}
	})
	s, h := k.subject(), changetest.NewHistory()
	r, err := k.Open(openOptions("slow"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f := changetest.NewFollower(r, h)
	if err := f.Add(0); err != nil {
		t.Fatal(err)
	}
	limit := k.config.Load().window
	for i := range 60_000 {
		value := string(rune('a' + i%26))
		h.Note(0, changetest.Version{Seqno: s.Set(0, value, value), Key: value, Value: value})
		if w := k.window.Load(); w > limit+bigChunk*entryBytes {
			t.Fatalf("the window holds %d bytes, limit %d", w, limit)
		}
	}
	if dropped != 1 {
		t.Errorf("dropped %d times, want once", dropped)
	}
	if err := f.UntilHigh(t.Context(), 0, 60_000); err != nil {
		t.Fatal(err)
	}
	if _, disk := f.Snapshots(0); disk != 1 {
		t.Errorf("%d snapshots from the table, want 1", disk)
	}
}

// TestFlushEndsStreams: a reader hears that it must go back to the beginning, in the middle of a snapshot and between two.
func TestFlushEndsStreams(t *testing.T) {
	for _, steps := range []int{1, 2} {
		k := newKit(t)
		k.set("a", "1")
		k.set("b", "2")
		r, err := k.Open(openOptions("reader"))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		r.(*reader).most = 1 // one document a batch
		if err := r.Add(0, vbucket.Position{}); err != nil {
			t.Fatal(err)
		}
		k.wantBatches(r, steps)
		k.wantErr(k.Flush(1), nil)
		k.set("c", "3")
		k.wantEnd(r, 0)
		if err := r.Add(0, vbucket.Position{}); err != nil {
			t.Fatal(err)
		}
		k.wantBatches(r, 1)
	}
}

// TestDeadVBucketEndsStreams: a reader hears that the vBucket is gone.
func TestDeadVBucketEndsStreams(t *testing.T) {
	k := newKit(t)
	k.set("a", "1")
	r, err := k.Open(openOptions("reader"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Add(0, vbucket.Position{}); err != nil {
		t.Fatal(err)
	}
	k.wantBatches(r, 1)
	k.Assign(0, vbucket.Dead, 2)
	b := k.next(r)
	k.wantErr(b.End, ErrVBucketState)
	if err := r.Add(0, vbucket.Position{}); err == nil {
		t.Error("a dead vBucket can be followed")
	}
}

// TestTombstonePurge: a tombstone leaves when it is old and every reader has passed it; readers from before begin again.
func TestTombstonePurge(t *testing.T) {
	k := newKit(t)
	k.set("a", "1")
	r, err := k.Open(openOptions("reader"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Add(0, vbucket.Position{}); err != nil {
		t.Fatal(err)
	}
	k.wantBatches(r, 1)
	at := k.next1(r, func() {
		if _, err := k.Delete(t.Context(), k.now(), k.key("a"), &Write{}); err != nil {
			t.Fatal(err)
		}
		k.set("b", "2")
		k.clock.Advance(1 << 52)
		if k.expirePass(t.Context()); k.vbs[0].mu.tombstones != 1 {
			t.Error("the tombstone went before the reader had it")
		}
	})
	if k.expirePass(t.Context()); k.vbs[0].mu.tombstones != 0 || k.vbs[0].mu.purge != 2 {
		t.Errorf("%d tombstones, purged up to %d", k.vbs[0].mu.tombstones, k.vbs[0].mu.purge)
	}
	rollback := k.rollback(r.Add(0, vbucket.Position{UUID: at.UUID, Seqno: 1}))
	if rollback.To != 0 {
		t.Errorf("rollback to %d", rollback.To)
	}
	k.set("a", "3")
	if m := k.wants("a", "3"); m.Rev != 3 {
		t.Errorf("revision %d of a document whose tombstone is gone, want 3", m.Rev)
	}
	k.wantBooks()
}
