package kv

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Keys lists up to most live documents of a collection in one vBucket, from the key from on, in order. What is written or
// deleted meanwhile may or may not be listed. The keys belong to the caller. ErrNotFound for none, and the errors of Get.
func (b *Bucket) Keys(at hlc.Time, id vbucket.ID, c docid.Collection, from []byte, most int) ([][]byte, error) {
	conf := b.config.Load()
	vb, err := b.enter(context.Background(), conf, &Key{VB: id, Coll: c})
	if err != nil {
		return nil, err
	}
	slots := vb.slots()
	vb.mu.Unlock()
	now := at.Unix()
	var keys [][]byte
	for part := range slices.Chunk(slots, walkSlots) {
		vb.mu.Lock()
		vb.each(b, part, func(_ uint64, h *header) {
			if h.cid == uint32(c) && !h.deleted() && !h.expired(now) && bytes.Compare(h.name(), from) >= 0 {
				keys = append(keys, bytes.Clone(h.name()))
			}
		})
		vb.mu.Unlock()
	}
	if len(keys) == 0 {
		return nil, ErrNotFound
	}
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	return keys[:min(len(keys), most)], nil
}

// slots copies the slots of the table that are in use. Call it with the lock held.
func (vb *vBucket) slots() []uint64 {
	slots := make([]uint64, 0, vb.mu.items+vb.mu.tombstones)
	for _, s := range vb.table.Load().slots {
		if s != 0 {
			slots = append(slots, s)
		}
	}
	return slots
}

// each calls f for the items that slots copied earlier lead to now: those with the same hash, wherever they have moved. An
// item may come twice, if its hash is that of another one. Call it with the lock held.
func (vb *vBucket) each(b *Bucket, slots []uint64, f func(slot uint64, h *header)) {
	t := vb.table.Load()
	for _, s := range slots {
		for i := slotHash(s) & t.mask; t.slots[i] != 0; i = (i + 1) & t.mask {
			if slotHash(t.slots[i]) == slotHash(s) {
				f(t.slots[i], b.at(slotRef(t.slots[i])))
			}
		}
	}
}

// Random gives some live document of a collection: from a random place on, the first one that is there. ErrNotFound if there
// is none, and the errors of Get.
func (b *Bucket) Random(ctx context.Context, at hlc.Time, c docid.Collection) (*Document, error) {
	conf := b.config.Load()
	begin := rand.IntN(len(b.vbs))
	served := false
	var refusal error
	for i := range b.vbs {
		id := vbucket.ID((begin + i) % len(b.vbs))
		vb, err := b.enter(ctx, conf, &Key{VB: id, Coll: c})
		if err != nil {
			refusal = err
			continue
		}
		served = true
		name := vb.someName(b, c, at)
		vb.mu.Unlock()
		if name == nil {
			continue
		}
		m, v, err := b.Get(ctx, at, b.Key(id, c, name), nil)
		if err == nil {
			return &Document{Meta: m, Key: name, Value: v}, nil
		}
	}
	if !served {
		return nil, refusal
	}
	return nil, ErrNotFound
}

// someName finds a live document from a random slot on. Call it with the lock held.
func (vb *vBucket) someName(b *Bucket, c docid.Collection, at hlc.Time) []byte {
	if vb.mu.items == 0 {
		return nil
	}
	t := vb.table.Load()
	begin := rand.Uint32()
	for i := range uint32(len(t.slots)) {
		s := t.slots[(begin+i)&t.mask]
		if s == 0 {
			continue
		}
		if h := b.at(slotRef(s)); h.cid == uint32(c) && !h.deleted() && !h.expired(at.Unix()) {
			return bytes.Clone(h.name())
		}
	}
	return nil
}
