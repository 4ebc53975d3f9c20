package kv

import (
	"sync/atomic"

	"github.com/charpoy/charpoy/internal/arena"
	"github.com/charpoy/charpoy/internal/invariant"
)

// table is an open-addressing hash table of slots: 28 bits of hash and 36 bits of arena.Ref. 0 is an empty slot, since no
// item has the Ref 0.
//
// The hash in the slot serves three ends: a look-up compares it before it touches an item; growing reads no item; removing
// by backward shift reads none either, so there are no markers of deleted slots. The index is the hash's low bits.
//
// A table is changed under the lock of its vBucket. Slots are stored atomically, because the touch pass reads them without.
type table struct {
	mask  uint32
	slots []uint64
}

const (
	hashBits  = 28
	refMask   = 1<<arena.RefBits - 1
	slotBytes = 8
)

func newTable(slots int) *table { return &table{mask: uint32(slots - 1), slots: make([]uint64, slots)} }

func slotOf(hash uint32, r arena.Ref) uint64 { return uint64(hash)<<arena.RefBits | uint64(r) }
func slotRef(s uint64) arena.Ref             { return arena.Ref(s & refMask) }
func slotHash(s uint64) uint32               { return uint32(s >> arena.RefBits) }

func (t *table) bytes() int { return len(t.slots) * slotBytes }

// put replaces slot i. Its hash must stay the same, unless it was empty.
func (t *table) put(i uint32, s uint64) { atomic.StoreUint64(&t.slots[i], s) }

// insert adds a slot at the first empty place of its probe sequence and returns where. The caller keeps the table from
// filling up.
func (t *table) insert(s uint64) uint32 {
	i := slotHash(s) & t.mask
	for t.slots[i] != 0 {
		i = (i + 1) & t.mask
	}
	t.put(i, s)
	return i
}

// remove empties slot i and moves up what had to stand behind it, so that every probe sequence stays without gaps.
func (t *table) remove(i uint32) {
	invariant.Check(t.slots[i] != 0, "kv: removed an empty slot")
	for j := (i + 1) & t.mask; t.slots[j] != 0; j = (j + 1) & t.mask {
		home := slotHash(t.slots[j]) & t.mask
		// The slot at j may move to i only if i is not before its home, counted along the probe sequence.
		if (j-home)&t.mask >= (j-i)&t.mask {
			t.put(i, t.slots[j])
			i = j
		}
	}
	t.put(i, 0)
}

// find gives the index of slot s, or −1: whether a place is still that of an item with this hash.
func (t *table) find(s uint64) int {
	for i := slotHash(s) & t.mask; t.slots[i] != 0; i = (i + 1) & t.mask {
		if t.slots[i] == s {
			return int(i)
		}
	}
	return -1
}

// resized copies the slots into a table of another size.
func (t *table) resized(slots int) *table {
	next := newTable(slots)
	for _, s := range t.slots {
		if s != 0 {
			i := slotHash(s) & next.mask
			for next.slots[i] != 0 {
				i = (i + 1) & next.mask
			}
			next.slots[i] = s
		}
	}
	return next
}

// full reports whether a table with so many items needs to grow before the next one: at three quarters.
func (t *table) full(items int) bool { return (items+1)*4 > len(t.slots)*3 }
