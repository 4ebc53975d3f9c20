package kv

import (
	"context"
	"errors"
	"sync"

	"github.com/charpoy/charpoy/internal/arena"
	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// fetchBuffers keeps memory for rows that are on their way from disk into memory.
type fetchBuffers struct{ sync.Pool }

func (f *fetchBuffers) get() *[]byte {
	if b, ok := f.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

func (f *fetchBuffers) put(b *[]byte) {
	if cap(*b) <= keptScratch {
		*b = (*b)[:0]
		f.Put(b)
	}
}

// fetch brings the value of the version seqno of a document into memory, which is on disk only. It is called without a
// lock, and the operation that needs the value looks again afterwards: nil says that this is worth while, also if the
// version is not the present one any more. ErrBusy if there is no memory for it; *storage.CorruptionError if the row is
// damaged, and then the vBucket is quarantined.
func (b *Bucket) fetch(ctx context.Context, vb *vBucket, k *Key, seqno vbucket.Seqno) error {
	if b.store == nil {
		return errNoStore
	}
	if trace.CacheMiss.On() {
		trace.CacheMiss.Fire(b.shard(vb.id), b.observed.name, uint16(vb.id), trace.KeyOf(k.Name))
	}
	f := fetching{begun: b.clock.Now().Mono}
	err := b.read(ctx, vb, k, seqno, &f)
	b.fetched(ctx, vb, &f, err)
	return err
}

// read is fetch without the clock.
func (b *Bucket) read(ctx context.Context, vb *vBucket, k *Key, seqno vbucket.Seqno, f *fetching) error {
	waiting := b.observed.fetches.enter(b, vb.id, trace.QueueFetch, f.begun)
	select {
	case b.persist.fetches <- struct{}{}:
	case <-ctx.Done():
		waiting.leave(b.clock.Now().Mono)
		return ErrBusy
	}
	defer func() { <-b.persist.fetches }()
	f.got = b.clock.Now().Mono
	waiting.leave(f.got)
	if !vb.misses(b, k, seqno) {
		return nil // another one has fetched it while this one waited
	}
	buf := b.rows.get()
	defer b.rows.put(buf)
	m, row, err := b.store.Get(vb.id, seqno, (*buf)[:0])
	*buf = row
	switch {
	case errors.Is(err, storage.ErrNotFound) && !vb.misses(b, k, seqno):
		return nil // it was replaced, and the new row was written
	case err != nil:
		return b.unreadable(vb, err)
	case string(m.Key) != string(k.Name) || m.Collection != k.Coll:
		return b.unreadable(vb, &storage.CorruptionError{
			Bucket: b.store.UUID(), VB: vb.id, Seqno: seqno, Reason: "a row holds another document",
		})
	}
	f.bytes = len(m.Value)
	return vb.fill(b, k, &m, true)
}

// misses reports whether that version of a document is still the present one and still not in memory.
func (vb *vBucket) misses(b *Bucket, k *Key, seqno vbucket.Seqno) bool {
	vb.mu.Lock()
	defer vb.mu.Unlock()
	_, h := vb.find(b, k)
	return h != nil && h.seqno() == seqno && h.ejected()
}

// fill puts a value from disk into memory, if its document has not changed meanwhile: an old value must never replace a new
// one. asked tells whether somebody waits for it, and how it is treated when memory runs short.
func (vb *vBucket) fill(b *Bucket, k *Key, m *change.Mutation, asked bool) error {
	conf := b.config.Load()
	vb.mu.Lock()
	defer vb.mu.Unlock()
	i, h := vb.find(b, k)
	if h == nil || h.seqno() != m.Seqno || !h.ejected() {
		return nil
	}
	if int(h.vlen) != len(m.Value) || h.cas != uint64(m.CAS) {
		return nil // the seqno was given again after the vBucket was emptied: what was read is void
	}
	size := headerBytes + len(k.Name) + len(m.Value)
	r := b.arena.Alloc(size, asked)
	if r == 0 {
		b.wakePager()
		return ErrBusy
	}
	t := vb.table.Load()
	old := slotRef(t.slots[i])
	next := b.at(r)
	*next = *h
	copy(next.name(), k.Name)
	vb.uncount(h)
	next.setState(0, stateEjected)
	next.setAccess(b.persist.welcome(h.access()))
	copy(next.body(), m.Value)
	t.put(i, slotOf(slotHash(t.slots[i]), r))
	vb.count(b, conf, next, arena.Round(size)-arena.Round(headerBytes+len(k.Name)))
	b.arena.Free(old)
	if asked {
		vb.mu.ops.Fetched++
		if b.estimate() > conf.high {
			b.wakePager()
		}
	}
	return nil
}

// fetchMeta describes a tombstone that is on disk only. ErrNotFound if there is none, which most keys are known for without
// a look at the disk.
func (b *Bucket) fetchMeta(ctx context.Context, vb *vBucket, k *Key) (Meta, error) {
	if b.store == nil {
		return Meta{}, ErrNotFound
	}
	vb.mu.Lock()
	dead, uuid := vb.mu.disk.dead, vb.mu.uuid
	vb.mu.Unlock()
	if !dead.has(k.hash) {
		return Meta{}, ErrNotFound
	}
	select {
	case b.persist.fetches <- struct{}{}:
	case <-ctx.Done():
		return Meta{}, ErrBusy
	}
	defer func() { <-b.persist.fetches }()
	r, err := b.store.GetMeta(vb.id, k.Coll, k.Name)
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && !r.Op.Deleted():
		return Meta{}, ErrNotFound
	case err != nil:
		return Meta{}, b.unreadable(vb, err)
	}
	return Meta{
		CAS: r.CAS, Seqno: r.Seqno, UUID: uuid, Rev: r.Rev, Flags: r.Flags, Expiry: r.Expiry, Datatype: r.Datatype, Deleted: true,
		ValueLen: int(r.ValueLen),
	}, nil
}
