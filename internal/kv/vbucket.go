package kv

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/arena"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/invariant"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// vBucket is one shard of a bucket: a table of items, the window of their latest changes, and one history.
type vBucket struct {
	id        vbucket.ID
	table     atomic.Pointer[table] // changed under mu; the touch pass reads it without
	persisted atomic.Uint64         // copy of mu.persisted for who only looks
	mu        struct {
		sync.Mutex

		state     vbucket.State
		epoch     vbucket.Epoch
		ready     bool          // loaded
		warm      chan struct{} // closed when it becomes ready
		closed    bool
		failovers vbucket.FailoverLog
		uuid      vbucket.UUID // failovers.Current()

		items      int   // live documents
		tombstones int   // in memory
		ejected    int   // live documents whose value is not in memory
		bytes      int64 // of items, as the arena rounds them
		unfolded   int64 // part of bytes that Bucket.used does not know yet
		valueBytes int64 // of values in memory
		docBytes   int64 // keys and values of live documents, in memory or not

		high          vbucket.Seqno // of the latest change
		claimed       vbucket.Seqno // end of the flusher's newest run: up to here everything is on disk or will be (kv.md 9)
		persisted     vbucket.Seqno // up to here everything survives a crash
		snapStart     vbucket.Seqno // of the newest snapshot on disk
		snapEnd       vbucket.Seqno
		purge         vbucket.Seqno // highest seqno of a tombstone that was purged
		clock         hlc.Clock
		maxDeletedRev uint64

		window  window
		cursors []*cursor // never changed in place: who holds the slice may walk it without the lock.
		runs    []*run    // snapshots that readers are copying; usually none
		locks   map[vbucket.Seqno]lock
		waiters []*waiter // durable writes that wait for persisted, in seqno order

		peak   int       // most slots that were needed since peakAt
		peakAt time.Time // see shrink
		ops    opCounts

		disk diskState // see persist.go
	}
	_ [64]byte // neighbours share no cache line
}

func (vb *vBucket) init(b *Bucket, id vbucket.ID) {
	vb.id = id
	t := newTable(firstTable)
	vb.table.Store(t)
	b.tables.Add(int64(t.bytes()))
	vb.mu.state = vbucket.Dead
	vb.mu.warm = make(chan struct{})
	vb.mu.clock.Observe(uint64(b.options.CASCeiling))
	if b.store == nil {
		vb.mu.ready = true
		close(vb.mu.warm)
	}
}

// newUUID makes up the name of a branch of history. It has 48 bits, because tools keep it in JSON numbers.
func newUUID() vbucket.UUID {
	for {
		var raw [8]byte
		_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
		if id := binary.LittleEndian.Uint64(raw[:]) & low48; id != 0 {
			return vbucket.UUID(id)
		}
	}
}

// beginBranch starts a new branch of history after the present seqno. Call it with the lock held.
func (vb *vBucket) beginBranch() {
	vb.mu.failovers = vb.mu.failovers.Begin(newUUID(), vb.mu.high)
	vb.mu.uuid = vb.mu.failovers.Current()
	vb.mu.disk.stale = true
}

// find looks a key up, tombstones included. Call it with the lock held. The index is that of its slot.
func (vb *vBucket) find(b *Bucket, k *Key) (uint32, *header) {
	t := vb.table.Load()
	for i := k.hash & t.mask; ; i = (i + 1) & t.mask {
		s := t.slots[i]
		if s == 0 {
			return 0, nil
		}
		if slotHash(s) == k.hash {
			if h := b.at(slotRef(s)); h.is(k) {
				return i, h
			}
		}
	}
}

// version is what put makes of a document.
type version struct {
	flags    uint32
	expiry   uint32
	state    uint16 // deleted, expired, and those of stateMemory
	datatype value.Datatype
	level    spec.Durability
	value    []byte
	urgent   bool // goes on when writes are refused: it frees memory in the end
}

// bits is the state of an item with this version.
func (v *version) bits() uint16 {
	return v.state | uint16(v.datatype) | uint16(v.level)<<stateLevelShift
}

// put writes a new version of a document and is the only place where a seqno is born. i and h are what find gave; h is nil
// for a document that has no item. All checks of the operation have been made: what fails here is memory, and then nothing
// has changed. Call it with the lock held; afterwards unlock and wake the cursors (see notify).
func (vb *vBucket) put(b *Bucket, conf *config, k *Key, i uint32, h *header, v *version, at hlc.Time) (Written, error) {
	size := headerBytes + len(k.Name) + len(v.value)
	before := 0
	if h != nil {
		before = h.size()
	}
	place := h != nil && arena.SamePlace(before, size)
	var r arena.Ref
	if !place {
		if h == nil && !vb.makeRoom(b) {
			return Written{}, ErrNoMemory
		}
		if r = b.arena.Alloc(size, v.urgent); r == 0 {
			b.wakePager()
			return Written{}, ErrBusy
		}
	}
	// From here on nothing fails.
	rev, onDisk, access := vb.mu.maxDeletedRev+1, vbucket.Seqno(0), b.fresh()
	if h != nil {
		vb.retire(b, h)
		rev, access = h.revision()+1, h.access()
		if onDisk = h.onDisk(); h.seqno() <= vb.mu.claimed {
			onDisk = h.seqno()
		}
	}
	vb.mu.high++
	invariant.Check(vb.mu.high < vbucket.MaxSeqno, "kv: a vBucket has used up its seqnos")
	cas := vb.mu.clock.Next(b.capped(at))
	next, old := h, arena.Ref(0)
	switch {
	case place:
	case h == nil:
		next = b.at(r)
		i = vb.table.Load().insert(slotOf(k.hash, r))
	default:
		t := vb.table.Load()
		old = slotRef(t.slots[i])
		next = b.at(r)
		t.put(i, slotOf(k.hash, r))
	}
	next.cas = cas
	next.seqVB = uint64(vb.mu.high) | uint64(vb.id)<<48
	next.disk = uint64(onDisk) | uint64(v.bits())<<48
	next.rev = rev&low48 | uint64(len(k.Name))<<48 | uint64(access)<<56
	next.flags, next.expiry, next.cid, next.vlen = v.flags, v.expiry, uint32(k.Coll), uint32(len(v.value))
	if !place {
		copy(next.name(), k.Name)
	}
	copy(next.body(), v.value)
	if old != 0 {
		b.arena.Free(old) // not before: k.Name may be the old item's own key
	}
	vb.count(b, conf, next, arena.Round(size)-roundOf(before))
	vb.append(b, vb.table.Load().slots[i])
	return Written{CAS: vbucket.CAS(cas), Seqno: vb.mu.high, UUID: vb.mu.uuid}, nil
}

func roundOf(size int) int {
	if size == 0 {
		return 0
	}
	return arena.Round(size)
}

// retire takes the version that is about to be replaced out of the books: it is saved for the runs that still want it, its
// lock ends, and it is not counted any more.
func (vb *vBucket) retire(b *Bucket, h *header) {
	if len(vb.mu.runs) != 0 {
		vb.save(b, h)
	}
	if h.state()&stateLocked != 0 {
		delete(vb.mu.locks, h.seqno())
	}
	vb.uncount(h)
}

// uncount takes an item out of the counts, but not out of the bytes.
func (vb *vBucket) uncount(h *header) {
	if h.deleted() {
		vb.mu.tombstones--
	} else {
		vb.mu.items--
		vb.mu.docBytes -= int64(h.keyLen()) + int64(h.vlen)
	}
	if h.ejected() {
		vb.mu.ejected--
	}
	vb.mu.valueBytes -= int64(h.resident())
}

// count enters an item into the counts. grown is by how much the memory of its place has changed.
func (vb *vBucket) count(b *Bucket, conf *config, h *header, grown int) {
	if h.deleted() {
		vb.mu.tombstones++
		vb.mu.maxDeletedRev = max(vb.mu.maxDeletedRev, h.revision())
	} else {
		vb.mu.items++
		vb.mu.docBytes += int64(h.keyLen()) + int64(h.vlen)
	}
	if h.ejected() {
		vb.mu.ejected++
	}
	vb.mu.valueBytes += int64(h.resident())
	vb.grow(b, conf, grown)
}

// grow notes that items take so many bytes more, and tells the bucket once in a while: an atomic that all vBuckets share
// would cost each operation more than the rest of its counting.
func (vb *vBucket) grow(b *Bucket, conf *config, bytes int) {
	vb.mu.bytes += int64(bytes)
	vb.mu.unfolded += int64(bytes)
	if vb.mu.unfolded > conf.fold || vb.mu.unfolded < -conf.fold {
		b.used.Add(vb.mu.unfolded)
		vb.mu.unfolded = 0
	}
}

// makeRoom sees to it that the table can take one more item.
func (vb *vBucket) makeRoom(b *Bucket) bool {
	t := vb.table.Load()
	n := vb.mu.items + vb.mu.tombstones
	if !t.full(n) {
		return true
	}
	if n >= maxItems {
		return false
	}
	vb.resize(b, 2*len(t.slots))
	return true
}

// resize replaces the table by one with so many slots.
func (vb *vBucket) resize(b *Bucket, slots int) {
	t := vb.table.Load()
	var begun time.Time
	if trace.TableGrow.On() {
		begun = time.Now()
	}
	next := t.resized(slots)
	vb.table.Store(next)
	b.tables.Add(int64(next.bytes() - t.bytes()))
	if !begun.IsZero() {
		trace.TableGrow.Fire(b.shard(vb.id), b.observed.name, uint16(vb.id), int64(vb.mu.items+vb.mu.tombstones), int64(slots),
			time.Since(begun))
	}
}

// remove takes an item out of memory. It is not a change: nobody reads of it. What may be removed is the caller's business.
func (vb *vBucket) remove(b *Bucket, conf *config, i uint32, h *header) {
	t := vb.table.Load()
	r := slotRef(t.slots[i])
	vb.uncount(h)
	vb.grow(b, conf, -arena.Round(h.size()))
	t.remove(i)
	b.arena.Free(r)
}

// close ends the vBucket with its bucket. Whoever waits for it is let go.
func (vb *vBucket) close(b *Bucket) {
	vb.mu.Lock()
	defer vb.mu.Unlock()
	vb.mu.closed = true
	vb.mu.state = vbucket.Dead
	if !vb.mu.ready {
		vb.mu.ready = true
		close(vb.mu.warm) // whoever waits looks again and finds it closed
	}
	vb.release(vbucket.MaxSeqno, ErrDurabilityAmbiguous)
	vb.clear(b, ErrClosed)
	vb.table.Store(newTable(firstTable))
}
