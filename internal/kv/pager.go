package kv

import (
	"context"
	"time"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// pagerInterval is how often the pager looks at the memory when nobody wakes it.
const pagerInterval = time.Second

// runPager keeps an ephemeral bucket below its high mark, as far as its policy allows: it purges tombstones early and, with
// nruEviction, deletes documents. A persistent bucket ejects values instead (see runStore).
func (b *Bucket) runPager(ctx context.Context) error {
	if b.store != nil {
		return nil
	}
	timer := time.NewTicker(pagerInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-b.pager:
		}
		if b.memoryNow() <= b.config.Load().high {
			continue
		}
		begun, before := time.Now(), b.memoryNow()
		n := b.evictPass(ctx)
		b.pagerRan(n, before, time.Since(begun))
		if f := b.options.Events.Evicted; f != nil {
			f(n, time.Since(begun))
		}
	}
}

// memoryNow is what counts against the quota, exactly.
func (b *Bucket) memoryNow() int64 { return b.arena.Live() + b.tables.Load() + b.window.Load() }

// evictRounds is how often the pager goes over a table at most: a document that was used as much as can be counted is as
// cold as any other after three rounds, and goes in the fourth.
const evictRounds = frequency + 1

// evictPass deletes the coldest documents until memory is at the low mark. It is a clock: each look at a document takes one
// from its count of uses, and who has none left goes.
func (b *Bucket) evictPass(ctx context.Context) int {
	conf := b.config.Load()
	b.compressPass(ctx, conf)
	total := 0
	for range evictRounds {
		for i := range b.vbs {
			if ctx.Err() != nil || b.memoryNow() <= conf.low {
				b.exhausted.Store(false)
				return total
			}
			total += b.evictVBucket(conf, &b.vbs[i])
		}
	}
	b.exhausted.Store(b.memoryNow() > conf.high)
	return total
}

// evictVBucket goes over one table once. What it deletes are deletions like any other, with seqnos of their own. Tombstones
// that every reader has passed are purged whatever their age: a reader that comes back from before has to begin again.
func (b *Bucket) evictVBucket(conf *config, vb *vBucket) int {
	at := b.clock.Now()
	total, freed := 0, int64(0)
	defer func() { b.evicted(vb, total, freed) }()
	for from := uint32(0); ; from += walkSlots {
		vb.mu.Lock()
		if vb.mu.state != vbucket.Active || vb.mu.closed {
			vb.mu.Unlock()
			return total
		}
		freed += vb.mu.bytes
		t := vb.table.Load()
		n := 0
		for i := from; i < min(from+walkSlots, uint32(len(t.slots))); {
			s := t.slots[i]
			if s == 0 {
				i++
				continue
			}
			h := b.at(slotRef(s))
			switch a := h.access(); {
			case h.deleted():
				if h.seqno() <= vb.lowest(b) && h.seqno() < vb.mu.high {
					vb.mu.purge = max(vb.mu.purge, h.seqno())
					vb.remove(b, conf, i, h)
					continue // another item may have moved here
				}
			case conf.spec.Eviction != spec.EvictNRU, h.datatype()&value.Xattr != 0, vb.locked(h, at):
			case a&frequency > 0:
				h.setAccess(a - 1)
			default:
				k := Key{VB: vb.id, Coll: docid.Collection(h.cid), Name: h.name(), hash: slotHash(s)}
				v := tombstone(at, 0)
				if _, err := vb.put(b, conf, &k, i, h, &v, at); err == nil {
					vb.mu.ops.Evicted++
					n++
				}
			}
			i++
		}
		done := from+walkSlots >= uint32(len(t.slots))
		freed -= vb.mu.bytes
		cursors := vb.mu.cursors
		vb.mu.Unlock()
		if n > 0 {
			notify(cursors, vb.id)
			total += n
		}
		if done || b.memoryNow() <= conf.low {
			return total
		}
	}
}
