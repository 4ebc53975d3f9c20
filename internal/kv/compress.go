package kv

import (
	"bytes"
	"context"

	"github.com/charpoy/charpoy/internal/arena"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
)

// What is worth compressing (kv.md 16): values of some size that become a sixth smaller.
const (
	minCompressed   = 256
	compressedParts = 6
)

// compressVBucket makes Snappy blocks of the values of one vBucket that are in memory, in buckets that compress actively. It
// is no change of the documents: they keep seqno, CAS and revision. Reading and compressing happen without the lock; a
// document that has changed meanwhile is left for the next time. It returns how many bytes were saved.
func (b *Bucket) compressVBucket(ctx context.Context, vb *vBucket) int64 {
	conf := b.config.Load()
	if conf.spec.Compression != spec.CompressActive {
		return 0
	}
	sc := b.getScratch()
	defer b.putScratch(sc)
	vb.mu.Lock()
	slots := vb.slots()
	vb.mu.Unlock()
	saved := int64(0)
	for _, slot := range slots {
		if ctx.Err() != nil {
			break
		}
		n, again := b.compressSlot(ctx, conf, vb, slot, sc)
		if again { // the value was larger than the scratch, which has grown
			n, _ = b.compressSlot(ctx, conf, vb, slot, sc)
		}
		saved += n
	}
	return saved
}

// compressSlot compresses the value of the item in one slot.
func (b *Bucket) compressSlot(ctx context.Context, conf *config, vb *vBucket, slot uint64, sc *scratch) (saved int64, again bool) {
	vb.mu.Lock()
	if vb.table.Load().find(slot) < 0 || !compressible(b.at(slotRef(slot))) {
		vb.mu.Unlock()
		return 0, false
	}
	h := b.at(slotRef(slot))
	k := Key{VB: vb.id, Coll: docid.Collection(h.cid), Name: bytes.Clone(h.name()), hash: slotHash(slot)}
	cas, _, copied, err := b.takeOld(ctx, vb, &k, h, sc)
	if err != nil || !copied {
		return 0, err == nil
	}
	if _, smaller := sc.deflate(sc.old); !smaller {
		return 0, false
	}
	vb.mu.Lock()
	defer vb.mu.Unlock()
	return vb.squeeze(b, conf, &k, cas, sc.result), false
}

// compressesWrites reports whether values are made blocks when they are written. An ephemeral bucket does it when memory runs
// short instead; with a store the form in memory and the row on disk would differ then.
func (b *Bucket) compressesWrites(conf *config) bool {
	return b.store != nil && conf.spec.Compression == spec.CompressActive
}

// deflate makes a Snappy block of body, in sc.result, and reports whether that is worth while.
func (s *scratch) deflate(body []byte) (block []byte, smaller bool) {
	s.result = value.Deflate(s.result[:0], body)
	return s.result, len(s.result) <= len(body)-len(body)/compressedParts
}

func compressible(h *header) bool {
	return !h.deleted() && !h.ejected() && h.vlen >= minCompressed && h.datatype()&value.Snappy == 0
}

// squeeze replaces the value of a document by its block, if it is still the version cas. Call it with the lock held.
func (vb *vBucket) squeeze(b *Bucket, conf *config, k *Key, cas uint64, block []byte) int64 {
	i, h := vb.find(b, k)
	if h == nil || h.cas != cas || !compressible(h) {
		return 0
	}
	before, size := h.size(), headerBytes+len(k.Name)+len(block)
	grown := arena.Round(size) - arena.Round(before)
	if grown == 0 {
		return 0 // the same place in memory: nothing is won
	}
	r := b.arena.Alloc(size, true)
	if r == 0 {
		return 0
	}
	vb.uncount(h)
	next := b.at(r)
	*next = *h
	next.vlen = uint32(len(block))
	next.setState(uint16(value.Snappy), 0)
	copy(next.name(), k.Name)
	copy(next.body(), block)
	t := vb.table.Load()
	old := slotRef(t.slots[i])
	t.put(i, slotOf(k.hash, r))
	b.arena.Free(old)
	vb.count(b, conf, next, grown)
	return int64(-grown)
}

// compressPass compresses until memory is at the low mark, or everything was looked at.
func (b *Bucket) compressPass(ctx context.Context, conf *config) int64 {
	saved := int64(0)
	for i := range b.vbs {
		if ctx.Err() != nil || b.memoryNow() <= conf.low {
			break
		}
		saved += b.compressVBucket(ctx, &b.vbs[i])
	}
	return saved
}
