package kv

import (
	"github.com/charpoy/charpoy/internal/vbucket"
)

// opCounts counts operations. Each vBucket has its own, as plain fields under its lock: a counter that all connections share
// would cost more than the operations.
type opCounts struct {
	Gets          uint64 // documents read: with a value, whether or not they were touched or locked
	Metas         uint64 // descriptions of documents
	Misses        uint64 // operations that found no document
	Sets          uint64 // set, add and replace that wrote
	Appends       uint64 // appends and prepends
	Counters      uint64
	Deletes       uint64
	Touches       uint64 // by Touch, also those that changed nothing
	Locks         uint64 // GetAndLock
	CASMismatches uint64
	Expired       uint64 // documents that became tombstones because of their expiry
	Evicted       uint64 // documents that an ephemeral bucket gave up for want of memory
	Ejected       uint64 // values that left memory because they are on disk
	Fetched       uint64 // values that were read from disk
	LockWaits     uint64 // operations that found the lock of the vBucket taken
	LockWaitNanos uint64 // what they waited for it
}

func (o *opCounts) add(p *opCounts) {
	o.Gets += p.Gets
	o.Metas += p.Metas
	o.Misses += p.Misses
	o.Sets += p.Sets
	o.Appends += p.Appends
	o.Counters += p.Counters
	o.Deletes += p.Deletes
	o.Touches += p.Touches
	o.Locks += p.Locks
	o.CASMismatches += p.CASMismatches
	o.Expired += p.Expired
	o.Evicted += p.Evicted
	o.Ejected += p.Ejected
	o.Fetched += p.Fetched
	o.LockWaits += p.LockWaits
	o.LockWaitNanos += p.LockWaitNanos
}

// Ops counts operations since the bucket was opened.
type Ops = opCounts

// Stats describes a bucket in numbers. Counts are since it was opened.
type Stats struct {
	Memory Memory
	Ops    Ops

	Items      uint64 // live documents
	Tombstones uint64 // in memory
	Ejected    uint64 // live documents whose value is on disk only
	ValueBytes uint64 // of values in memory
	VBuckets   [vbucket.Dead + 1]int
	Warmed     int    // vBuckets that are loaded
	Damaged    int    // vBuckets that are quarantined
	ActiveHigh uint64 // sum of the high seqnos of active vBuckets: mutations, while no history is replaced
	Unsaved    uint64 // sum over active vBuckets of high − persisted; 0 in an ephemeral bucket
	Waiting    uint64 // durable writes that wait for the disk
	Locked     uint64 // documents with a lock, or with one that ended unnoticed

	Busy           uint64 // mutations refused with ErrBusy
	NoMemory       uint64 // mutations refused with ErrNoMemory
	CursorsDropped uint64 // readers that lost their place in the window
	RunsLost       uint64 // readers that lost it in the middle of a snapshot

	LowMark, HighMark, WriteLimit, WindowLimit int64 // bytes
	Readers                                    []ReaderStats
}

// ReaderStats describes one reader of the feed.
type ReaderStats struct {
	Name     string
	VBuckets int    // that it follows
	Behind   int    // of them, those for which it reads from disk, or from the table
	Lag      uint64 // sum of high − what it has acknowledged
}

// Stats counts. It takes each vBucket's lock for a moment, one after another.
func (b *Bucket) Stats() Stats {
	conf := b.config.Load()
	s := Stats{
		Memory: b.Memory(), Busy: b.refused.busy.Load(), NoMemory: b.refused.noMemory.Load(),
		CursorsDropped: b.dropped.cursors.Load(), RunsLost: b.dropped.runs.Load(),
		LowMark: conf.low, HighMark: conf.high, WriteLimit: conf.writes, WindowLimit: conf.window,
	}
	high := make([]vbucket.Seqno, len(b.vbs))
	for i := range b.vbs {
		vb := &b.vbs[i]
		vb.mu.Lock()
		high[i] = vb.mu.high
		s.Ops.add(&vb.mu.ops)
		s.Items += uint64(vb.mu.items)
		s.Tombstones += uint64(vb.mu.tombstones)
		s.Ejected += uint64(vb.mu.ejected)
		s.ValueBytes += uint64(vb.mu.valueBytes)
		s.VBuckets[vb.mu.state]++
		s.Waiting += uint64(len(vb.mu.waiters))
		s.Locked += uint64(len(vb.mu.locks))
		if vb.mu.ready {
			s.Warmed++
		}
		if vb.mu.disk.damage != nil {
			s.Damaged++
		}
		if vb.mu.state == vbucket.Active {
			s.ActiveHigh += uint64(vb.mu.high)
			if b.store != nil {
				s.Unsaved += uint64(vb.mu.high - vb.mu.persisted)
			}
		}
		vb.mu.Unlock()
	}
	b.meta.Lock()
	readers := b.meta.readers
	b.meta.Unlock()
	for _, r := range readers {
		s.Readers = append(s.Readers, r.stats(high))
	}
	return s
}

func (r *reader) stats(high []vbucket.Seqno) ReaderStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := ReaderStats{Name: r.name, VBuckets: len(r.mu.cursors)}
	for id, c := range r.mu.cursors {
		c.vb.mu.Lock()
		if c.behind {
			s.Behind++
		}
		c.vb.mu.Unlock()
		if acked := r.mu.acked[id]; high[id] > acked {
			s.Lag += uint64(high[id] - acked)
		}
	}
	return s
}
