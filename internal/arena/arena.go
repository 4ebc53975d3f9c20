// Package arena keeps the documents of a bucket outside Go's heap, so that the garbage collector never looks at them.
//
// Address space is reserved once; memory is committed in extents of 2 MiB as it is needed, backed by huge pages where the
// system has them. An extent holds 32 slabs of 64 KiB. A slab belongs to one size class and hands out slots of that size; or
// it is cut into pages of 4 KiB for allocations between 16 and 64 KiB; or it is part of a run of slabs for one allocation up
// to 2 MiB. Larger ones take runs of extents. Free slots are linked inside their slab, so that a slab that became empty goes
// back to the extent and serves any class, and an extent that became empty goes back to the system.
//
// # Invariants
//
//   - A Ref is the offset of an allocation in units of 16 bytes and fits 36 bits. Offset 0 is never given.
//   - Allocations do not overlap. What was asked for is there until Free; its contents at first are whatever was there.
//   - Free zeroes the second 8 bytes of an allocation, where the engine keeps the version of an item: who looks at a freed
//     place never takes what is there for the item that was.
//   - Live bytes are exact: the sum of the rounded sizes of all allocations.
//
// # Concurrency
//
// Alloc, Free and Stats may be called from any goroutine. Locks: one a size class, then one for the extents; both leaves.
// Bytes, Pointer and Fetch take no lock: whoever holds a Ref knows why it is live. Fetch alone may be given a stale Ref.
//
// Under the race detector and with the build tag "heaparena" the extents are Go memory, because the race detector is blind
// outside Go's heap.
//
// Read this file first, then slab.go (classes), pages.go, extent.go and reserve_*.go.
package arena

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/charpoy/charpoy/internal/invariant"
)

// Ref is the place of an allocation: its offset in units of 16 bytes. 0 is no place.
type Ref uint64

// Units of an arena.
const (
	Unit       = 16 // bytes of a Ref's step, and the granularity of sizes
	RefBits    = 36
	slabBytes  = 64 << 10
	extentSize = 2 << 20
	pageBytes  = 4 << 10

	unitShift   = 4
	slabShift   = 16 - unitShift // from a Ref to the number of its slab
	extentShift = 21 - unitShift
	extentSlabs = extentSize / slabBytes
	slabPages   = slabBytes / pageBytes

	maxReserve = 1 << (RefBits + unitShift) // 1 TiB
	minReserve = 64 << 30
)

// MaxAlloc is the largest single allocation, in bytes.
const MaxAlloc = 64 << 20

// ErrReserve says that the address space for an arena could not be reserved.
var ErrReserve = errors.New("cannot reserve address space for documents; look at the limit of virtual memory (ulimit -v) " +
	"and at vm.overcommit_memory")

// Arena is off-heap memory for the items of one bucket.
type Arena struct {
	space   space // platform memory, see reserve_*.go
	extents []atomic.Pointer[extent]
	limit   atomic.Int64 // bytes of committed extents that Alloc stays within
	classes [numClasses]class
	pages   pageSlabs
	mu      struct { // of the extents; taken after a class's lock
		sync.Mutex
		extentMap
	}
	large     atomic.Int64 // live bytes in runs of slabs and extents
	closeOnce sync.Once
}

// New reserves an arena for a bucket of quota bytes: at least four times as much and 64 GiB, so that the quota can be raised
// later, less if the system refuses. It returns ErrReserve if not even a quarter above the quota can be had.
func New(quota int64) (*Arena, error) {
	want := min(max(4*quota, minReserve), maxReserve)
	least := min(quota+quota/4+extentSize, maxReserve)
	for {
		a := &Arena{}
		size := roundUp(want, extentSize)
		if err := a.space.reserve(size); err == nil {
			a.setUp(size)
			return a, nil
		} else if want == least {
			return nil, fmt.Errorf("%w: %d bytes: %w", ErrReserve, size, err)
		}
		want = max(want/2, least)
	}
}

func (a *Arena) setUp(size int64) {
	a.extents = make([]atomic.Pointer[extent], size/extentSize)
	a.limit.Store(size)
	for c := range a.classes {
		a.classes[c].size = classSizes[c]
		a.classes[c].slots = slabBytes / classSizes[c]
	}
	a.mu.extentMap = newExtentMap(len(a.extents))
	runtime.AddCleanup(a, func(s space) { s.release() }, a.space)
}

// SetLimit bounds the memory of committed extents in bytes. It can be moved at any time; being above it only means that
// nothing more is committed for Alloc.
func (a *Arena) SetLimit(bytes int64) { a.limit.Store(bytes) }

// Reserved is how much address space there is, in bytes: the most that can ever be committed.
func (a *Arena) Reserved() int64 { return int64(len(a.extents)) * extentSize }

// Round gives the memory that an allocation of n bytes takes, without the slack of its slab.
func Round(n int) int {
	switch {
	case n <= maxClass:
		return int(classSizes[classOf(n)])
	case n <= slabBytes:
		return roundUp(n, pageBytes)
	case n <= extentSize:
		return roundUp(n, slabBytes)
	}
	return roundUp(n, extentSize)
}

// SamePlace reports whether allocations of n and m bytes take the same memory, so that one can be written over the other.
func SamePlace(n, m int) bool { return Round(n) == Round(m) }

// Alloc gives memory for n bytes, 1 ≤ n ≤ MaxAlloc. It returns 0 if the limit or the reservation is exhausted. With urgent
// set only the reservation counts: for what frees memory in the end, such as tombstones.
func (a *Arena) Alloc(n int, urgent bool) Ref {
	invariant.Check(n > 0 && n <= MaxAlloc, "arena: size of an allocation is out of range")
	switch {
	case n <= maxClass:
		return a.allocSlot(classOf(n), urgent)
	case n <= slabBytes:
		return a.allocPages((n+pageBytes-1)/pageBytes, urgent)
	case n <= extentSize:
		return a.allocSlabs((n+slabBytes-1)/slabBytes, urgent)
	}
	return a.allocExtents((n+extentSize-1)/extentSize, urgent)
}

// Free gives an allocation back.
func (a *Arena) Free(r Ref) {
	a.check(r)
	second := (*uint64)(unsafe.Add(a.Pointer(r), 8))
	atomic.StoreUint64(second, 0)
	slab := uint32(r >> slabShift)
	e := a.extents[slab/extentSlabs].Load()
	invariant.Check(e != nil, "arena: freed a place that was never allocated")
	d := &e.slabs[slab%extentSlabs]
	switch kind := d.kind; {
	case kind < kindPages:
		a.freeSlot(r, d, kind, slab)
	case kind == kindPages:
		a.freePages(r, d, slab)
	case kind == kindSlabs:
		a.freeSlabs(d, slab)
	case kind == kindExtents:
		a.freeExtents(e, slab)
	default:
		invariant.Violated("arena: freed %#x, which is not allocated", uint64(r)<<unitShift)
	}
}

// Bytes is the memory of an allocation of n bytes.
func (a *Arena) Bytes(r Ref, n int) []byte {
	a.check(r)
	return unsafe.Slice((*byte)(a.Pointer(r)), n)
}

// Pointer is where an allocation begins. It stays valid until Free: the memory does not move and, as long as the arena is
// reachable, stays mapped. The caller keeps the arena reachable.
func (a *Arena) Pointer(r Ref) unsafe.Pointer { return a.space.pointer(r) }

func (a *Arena) check(r Ref) {
	if invariant.Enabled && (r == 0 || r>>extentShift >= Ref(len(a.extents))) {
		invariant.Violated("arena: reference %#x is outside of %d extents", uint64(r), len(a.extents))
	}
}

// Close gives the memory back to the system. The caller has ended all use of references except Fetch. Address space is given
// back when nothing refers to the arena any more, because a Fetch may be under way.
func (a *Arena) Close() {
	a.closeOnce.Do(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.mu.closed = true
		for i := range a.mu.committed.words {
			for w := a.mu.committed.words[i]; w != 0; w &= w - 1 {
				first := i*64 + lowestBit(w)
				a.space.giveBack(first, 1)
			}
			a.mu.committed.words[i] = 0
		}
	})
}

func roundUp[T int | int64](n, unit T) T { return (n + unit - 1) / unit * unit }
