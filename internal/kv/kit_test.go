package kv

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// kit is a bucket with a clock that stands still, for tests.
type kit struct {
	*Bucket

	t     testing.TB
	clock *hlc.Source
}

// newKit opens an ephemeral bucket of 4 vBuckets, all active, after changes to its settings.
func newKit(tb testing.TB, change ...func(*Options)) *kit {
	tb.Helper()
	k := openKit(tb, change...)
	tb.Cleanup(func() {
		if err := k.Close(); err != nil {
			tb.Error(err)
		}
	})
	return k
}

// openKit is newKit without the end: for tests that make so many buckets that their address space must be given back.
func openKit(tb testing.TB, change ...func(*Options)) *kit {
	tb.Helper()
	clock := hlc.NewManual(time.Unix(1_700_000_000, 0))
	o := Options{
		Spec: spec.Bucket{
			Name: "b", UUID: "0123456789abcdef0123456789abcdef", Type: spec.Ephemeral, QuotaBytes: 64 << 20, NumVBuckets: 4,
		},
		Clock: clock,
	}
	for _, f := range change {
		f(&o)
	}
	b, err := Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	for vb := range b.vbs {
		b.Assign(vbucket.ID(vb), vbucket.Active, 1)
	}
	return &kit{Bucket: b, t: tb, clock: clock}
}

func (k *kit) now() hlc.Time { return k.clock.Now() }

// key names a document in vBucket 0.
func (k *kit) key(name string) Key { return k.Key(0, docid.Default, []byte(name)) }

func (k *kit) set(name, body string) Written {
	k.t.Helper()
	w, err := k.Set(k.t.Context(), k.now(), k.key(name), &Write{Value: []byte(body)})
	if err != nil {
		k.t.Fatalf("Set(%q): %v", name, err)
	}
	return w
}

func (k *kit) get(name string) (Meta, string, error) {
	m, v, err := k.Get(k.t.Context(), k.now(), k.key(name), nil)
	return m, string(v), err
}

// wants checks what a document holds.
func (k *kit) wants(name, body string) Meta {
	k.t.Helper()
	m, got, err := k.get(name)
	if err != nil || got != body {
		k.t.Errorf("Get(%q) = %q, %v, want %q", name, got, err, body)
	}
	return m
}

func (k *kit) wantErr(got, want error) {
	k.t.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		k.t.Errorf("got error %v, want %v", got, want)
	}
}

// wantBooks holds every counter of the bucket against a walk over all items.
func (k *kit) wantBooks() {
	k.t.Helper()
	var total, tables int64
	for i := range k.vbs {
		vb := &k.vbs[i]
		vb.mu.Lock()
		items, tombstones, ejected, values := 0, 0, 0, int64(0)
		for _, s := range vb.table.Load().slots {
			if s == 0 {
				continue
			}
			h := k.at(slotRef(s))
			if h.deleted() {
				tombstones++
			} else {
				items++
			}
			if h.ejected() {
				ejected++
			}
			values += int64(h.resident())
			if h.seqVB>>48 != uint64(i) || h.seqno() == 0 || h.seqno() > vb.mu.high {
				k.t.Errorf("vb %d: an item says vb %d, seqno %d of %d", i, h.seqVB>>48, h.seqno(), vb.mu.high)
			}
		}
		bytes := vb.roundedItems(k.Bucket)
		if items != vb.mu.items || tombstones != vb.mu.tombstones || ejected != vb.mu.ejected || bytes != vb.mu.bytes ||
			values != vb.mu.valueBytes {
			k.t.Errorf("vb %d: counted %d items, %d tombstones, %d ejected, %d bytes, %d of values; there are %d, %d, %d, %d, %d", i,
				vb.mu.items, vb.mu.tombstones, vb.mu.ejected, vb.mu.bytes, vb.mu.valueBytes, items, tombstones, ejected, bytes, values)
		}
		total += bytes
		tables += int64(vb.table.Load().bytes())
		if vb.mu.disk.dead != nil {
			tables += deadBytes
		}
		k.used.Add(vb.mu.unfolded)
		vb.mu.unfolded = 0
		vb.mu.Unlock()
	}
	if live := k.arena.Live(); live != total || k.used.Load() != total || k.tables.Load() != tables {
		k.t.Errorf("arena holds %d bytes, the bucket counted %d, items take %d; tables %d, counted %d", live, k.used.Load(), total,
			tables, k.tables.Load())
	}
}

func openOptions(name string) change.Options { return change.Options{Name: name} }

// next takes one batch. Its bytes are good until the next call.
func (k *kit) next(r change.Reader) *change.Batch {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Second)
	defer cancel()
	b := &change.Batch{}
	if err := r.Next(ctx, b); err != nil {
		k.t.Fatalf("Next: %v", err)
	}
	return b
}

// next1 does something and takes the batch that comes of it.
func (k *kit) next1(r change.Reader, f func()) change.Snapshot {
	k.t.Helper()
	f()
	return k.next(r).Snapshot
}

// wantBatches takes n batches with mutations.
func (k *kit) wantBatches(r change.Reader, n int) {
	k.t.Helper()
	for range n {
		if b := k.next(r); b.End != nil || len(b.Mutations) == 0 {
			k.t.Fatalf("got %+v, want a batch of mutations", b)
		}
	}
}

// wantEnd takes a batch that tells the reader to roll back.
func (k *kit) wantEnd(r change.Reader, to vbucket.Seqno) {
	k.t.Helper()
	if e := k.rollback(k.next(r).End); e.To != to {
		k.t.Errorf("rollback to %d, want %d", e.To, to)
	}
}

func (k *kit) rollback(err error) *change.RollbackError {
	k.t.Helper()
	var e *change.RollbackError
	if !errors.As(err, &e) {
		k.t.Fatalf("got %v, want a rollback", err)
	}
	return e
}
