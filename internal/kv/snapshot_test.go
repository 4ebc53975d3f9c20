package kv

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// portrait is everything that a client can see of all documents of a bucket, by vBucket and key.
func (k *kit) portrait() map[string]string {
	k.t.Helper()
	all := map[string]string{}
	for i := range k.vbs {
		vb := &k.vbs[i]
		var names []string
		vb.mu.Lock()
		for _, s := range vb.table.Load().slots {
			if s != 0 {
				names = append(names, string(k.at(slotRef(s)).name()))
			}
		}
		vb.mu.Unlock()
		for _, name := range names {
			m, v, err := k.Get(k.t.Context(), k.now(), k.Key(vb.id, docid.Default, []byte(name)), nil)
			if err == nil {
				all[fmt.Sprint(i, "/", name)] = fmt.Sprintf("%s cas=%d flags=%d expiry=%d datatype=%v rev=%d", v, m.CAS, m.Flags, m.Expiry, m.Datatype, m.Rev)
			}
		}
	}
	return all
}

func (k *kit) wantPortrait(want map[string]string) {
	k.t.Helper()
	got := k.portrait()
	for name, w := range want {
		if got[name] != w {
			k.t.Errorf("%s: %q, want %q", name, got[name], w)
		}
	}
	if len(got) != len(want) {
		k.t.Errorf("%d documents, want %d", len(got), len(want))
	}
}

// fillAll writes documents of many kinds into all vBuckets.
func (k *kit) fillAll(n int) {
	k.t.Helper()
	for i := range n {
		name := []byte(fmt.Sprint("doc-", i))
		w := &Write{Flags: uint32(i), Value: []byte(strings.Repeat(fmt.Sprintf(`{"n":%d}`, i), 1+i%2))}
		if i%3 == 0 {
			w.Expiry = uint32(100 + i)
		}
		if _, err := k.Set(k.t.Context(), k.now(), k.Key(vbucket.ID(i%len(k.vbs)), docid.Default, name), w); err != nil {
			k.t.Fatal(err)
		}
	}
}

// scramble changes, deletes, adds and locks documents.
func (k *kit) scramble() {
	k.t.Helper()
	ctx := k.t.Context()
	for i := range len(k.vbs) * 3 {
		key := k.Key(vbucket.ID(i%len(k.vbs)), docid.Default, []byte(fmt.Sprint("doc-", i)))
		var err error
		switch i % 3 {
		case 0:
			_, err = k.Set(ctx, k.now(), key, &Write{Value: []byte("changed")})
		case 1:
			_, err = k.Delete(ctx, k.now(), key, &Write{})
		case 2:
			_, _, err = k.GetAndLock(ctx, k.now(), key, 10, nil)
		}
		k.wantErr(err, nil)
	}
	k.set("added", "new")
}

// TestRestoreEphemeral: after a restore every document is as it was, CAS and all, whatever happened since; new CAS values are
// above all old ones, readers have to start anew, and the books are right.
func TestRestoreEphemeral(t *testing.T) {
	k := newKit(t)
	k.fillAll(100)
	want := k.portrait()
	s, err := k.Snapshot(t.Context())
	if err != nil || s.Documents() != 100 || s.Bytes() == 0 {
		t.Fatalf("snapshot of %d documents, %d bytes, %v", s.Documents(), s.Bytes(), err)
	}
	for range 3 {
		k.scramble()
		last := k.set("last", "x")
		r, err := k.Open(openOptions("reader"))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.Add(0, vbucket.Position{}); err != nil {
			t.Fatal(err)
		}
		k.wantBatches(r, 1)
		before, _ := k.Seqnos(0)
		k.wantErr(k.Restore(t.Context(), s), nil)
		k.wantEnd(r, 0)
		k.wantPortrait(want)
		k.wantBooks()
		after, _ := k.Seqnos(0)
		if after.UUID == before.UUID || after.Items != 25 || after.High != 25 {
			t.Errorf("after the restore %+v, before %+v", after, before)
		}
		if next := k.set("next", "x"); next.CAS <= last.CAS {
			t.Errorf("CAS %d after %d", next.CAS, last.CAS)
		}
	}
}

// TestRestoredFeed: a reader that starts after a restore gets each document once, in the order in which it was written.
func TestRestoredFeed(t *testing.T) {
	k := newKit(t)
	for _, name := range []string{"c", "a", "b", "a"} {
		k.set(name, name)
	}
	s, err := k.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k.wantErr(k.Flush(1), nil)
	k.wantErr(k.Restore(t.Context(), s), nil)
	r, err := k.Open(change.Options{Name: "late"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Add(0, vbucket.Position{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range k.next(r).Mutations {
		got = append(got, string(m.Key))
	}
	if fmt.Sprint(got) != "[c b a]" {
		t.Errorf("read %v, want c, b, a", got)
	}
}

// TestRestorePersistent: the same with a store, where values may be on disk only, and what was restored survives a crash at
// once.
func TestRestorePersistent(t *testing.T) {
	memory := disk.NewMemory()
	l := live(t, memory)
	l.fillAll(100)
	l.saved()
	want := l.portrait()
	if l.ejectAll() == 0 {
		t.Fatal("no value has left memory")
	}
	s, err := l.Snapshot(t.Context())
	if err != nil || s.Documents() != 100 {
		t.Fatalf("snapshot %+v, %v", s, err)
	}
	l.scramble()
	l.wantErr(l.Restore(t.Context(), s), nil)
	crashed := memory.Crash(0, 1)
	l.wantPortrait(want)
	l.wantBooks()
	l.whole()
	l.end()
	again := live(t, crashed)
	again.wantPortrait(want)
	again.whole()
}

// TestSnapshotElsewhere: a snapshot fits a bucket with as many vBuckets, such as the same one after a restart, and no other.
func TestSnapshotElsewhere(t *testing.T) {
	k := newKit(t)
	k.fillAll(20)
	s, err := k.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := newKit(t)
	other.wantErr(other.Restore(t.Context(), s), nil)
	other.wantPortrait(k.portrait())
	more := newKit(t, func(o *Options) { o.Spec.NumVBuckets = 8 })
	more.wantErr(more.Restore(t.Context(), s), ErrSnapshot)
	k.wantErr(k.Close(), nil)
	_, err = k.Snapshot(t.Context())
	k.wantErr(err, ErrClosed)
	k.wantErr(k.Restore(t.Context(), s), ErrClosed)
}

// TestSnapshotIsOneMoment: a writer that writes pairs in two vBuckets, one after the other, is never caught with the second
// ahead of the first, nor more than one behind.
func TestSnapshotIsOneMoment(t *testing.T) {
	k := newKit(t)
	first, second := k.Key(0, docid.Default, []byte("n")), k.Key(3, docid.Default, []byte("n"))
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	write := func(i uint32) {
		for _, key := range []Key{first, second} {
			if _, err := k.Set(t.Context(), k.now(), key, &Write{Flags: i}); err != nil {
				t.Error(err)
			}
		}
	}
	write(1)
	wait.Go(func() {
		for i := uint32(2); ctx.Err() == nil; i++ {
			write(i)
		}
	})
	for range 200 {
		s, err := k.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if a, b := s.vbs[0].docs[0].flags, s.vbs[3].docs[0].flags; b > a || a > b+1 {
			t.Fatalf("caught the pair at %d and %d", a, b)
		}
	}
	cancel()
	wait.Wait()
}

// TestRestoreWithoutMemory: what does not fit is an error, and the bucket goes on with what it has.
func TestRestoreWithoutMemory(t *testing.T) {
	large := newKit(t, func(o *Options) { o.Spec.QuotaBytes = 128 << 20 })
	for i := range 60 {
		large.set(fmt.Sprint("k", i), strings.Repeat("x", 1<<20))
	}
	s, err := large.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	small := newKit(t, func(o *Options) { o.Spec.QuotaBytes = 16 << 20 })
	small.wantErr(small.Restore(t.Context(), s), ErrBusy)
	small.wantBooks()
	k, _ := small.Seqnos(0)
	if k.Items == 0 {
		t.Error("nothing was restored before memory ran out")
	}
}

// TestSweep: documents whose time has come are tombstones afterwards, and old tombstones are gone.
func TestSweep(t *testing.T) {
	k := newKit(t)
	k.fillAll(30)
	k.clock.Advance(time.Hour)
	if n := k.Sweep(t.Context()); n != 10 {
		t.Errorf("%d have expired, want 10", n)
	}
	if s := k.Stats(); s.Items != 20 || s.Tombstones != 10 {
		t.Errorf("%d documents and %d tombstones, want 20 and 10", s.Items, s.Tombstones)
	}
	k.clock.Advance(spec.DefaultPurgeAge * time.Second)
	k.set("newest", "1") // the newest change of a vBucket is never purged
	k.Sweep(t.Context())
	if s := k.Stats(); s.Tombstones > 3 {
		t.Errorf("%d tombstones are left", s.Tombstones)
	}
}

// BenchmarkSnapshot copies 1,000 documents of 200 bytes, and BenchmarkRestore brings them back.
func BenchmarkSnapshot(b *testing.B) { benchmarkSnapshot(b, false) }
func BenchmarkRestore(b *testing.B)  { benchmarkSnapshot(b, true) }

func benchmarkSnapshot(b *testing.B, restore bool) {
	for _, vbs := range []int{64, 1024} {
		b.Run(fmt.Sprint("vbuckets=", vbs), func(b *testing.B) {
			k := newKit(b, func(o *Options) { o.Spec.NumVBuckets = vbs })
			value := []byte(strings.Repeat("v", 200))
			for i := range 1000 {
				name := fmt.Appendf(nil, "key:%04d", i)
				if _, err := k.Set(b.Context(), k.now(), k.Key(vbucket.Of(name, vbs), docid.Default, name), &Write{Value: value}); err != nil {
					b.Fatal(err)
				}
			}
			s, err := k.Snapshot(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if restore {
					err = k.Restore(b.Context(), s)
				} else {
					_, err = k.Snapshot(b.Context())
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
