package arena

import (
	"sync"
	"unsafe"

	"github.com/charpoy/charpoy/internal/invariant"
)

// Size classes: each an eighth larger than the one before, rounded up to a unit, so that on average 6 % and at most 12.5 %
// of a slot are wasted.
const (
	minClass   = 64
	maxClass   = 16 << 10
	numClasses = 43
)

// Kinds of slabs. Below kindPages the kind is the size class.
const (
	kindPages   = 250
	kindSlabs   = 251 // first slab of a run
	kindExtents = 252 // first slab of a run of extents
	kindTail    = 253 // further slabs of a run
	kindFree    = 254
)

//nolint:gochecknoglobals // constant tables: the classes' sizes, and the class of each size in units
var (
	classSizes = makeClasses()
	classTable = makeClassTable()
)

func makeClasses() (sizes [numClasses]uint32) {
	size := uint32(minClass)
	for i := range sizes {
		sizes[i] = size
		size = min(roundUpUnit(size+size/8), maxClass)
	}
	return sizes
}

func roundUpUnit(n uint32) uint32 { return (n + Unit - 1) &^ (Unit - 1) }

func makeClassTable() (t [maxClass/Unit + 1]uint8) {
	c := uint8(0)
	for units := range t {
		for int(classSizes[c]) < units*Unit {
			c++
		}
		t[units] = c
	}
	return t
}

func classOf(n int) uint8 { return classTable[(n+Unit-1)/Unit] }

// slab describes 64 KiB. It is pointer-free. Which lock guards it follows from its kind: the class's, the pages' or the
// extents'. The kind itself changes only while nothing in the slab is allocated.
type slab struct {
	kind uint8
	live uint16 // slots or allocations in use
	free uint16 // head of the list of freed slots, as number + 1; of page slabs: bit map of pages in use
	bump uint16 // slots that were ever given, counted from the front; of page slabs: bit map of last pages
	next uint32 // neighbours in the list of slabs with room, as number + 1; of runs: their length
	prev uint32
}

// class hands out slots of one size.
type class struct {
	mu struct {
		sync.Mutex
		partial uint32 // first slab with room, as number + 1
		slabs   uint32
		live    uint64 // slots
	}
	size, slots uint32
	_           [32]byte // one class a cache line
}

func (a *Arena) slab(n uint32) *slab { return &a.extents[n/extentSlabs].Load().slabs[n%extentSlabs] }

func (a *Arena) allocSlot(kind uint8, urgent bool) Ref {
	c := &a.classes[kind]
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.partial == 0 && !a.addSlab(c, kind, urgent) {
		return 0
	}
	n := c.mu.partial - 1
	d := a.slab(n)
	base := Ref(n) << slabShift
	var r Ref
	if d.free != 0 {
		r = base + Ref(d.free-1)*Ref(c.size/Unit)
		d.free = *(*uint16)(a.Pointer(r))
	} else {
		r = base + Ref(d.bump)*Ref(c.size/Unit)
		d.bump++
	}
	d.live++
	c.mu.live++
	if d.free == 0 && uint32(d.bump) == c.slots {
		a.unlink(&c.mu.partial, d)
	}
	return r
}

// addSlab gives class c an empty slab.
func (a *Arena) addSlab(c *class, kind uint8, urgent bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.takeSlabs(1, urgent)
	if !ok {
		return false
	}
	d := a.slab(n)
	*d = slab{kind: kind}
	c.mu.slabs++
	a.link(&c.mu.partial, n, d)
	return true
}

func (a *Arena) freeSlot(r Ref, d *slab, kind uint8, n uint32) {
	c := &a.classes[kind]
	c.mu.Lock()
	defer c.mu.Unlock()
	within := uint32(r) & (1<<slabShift - 1) * Unit
	invariant.Check(within%c.size == 0 && d.live > 0 && within/c.size < uint32(d.bump), "arena: freed no slot of its slab")
	if invariant.Enabled {
		a.poison(r, int(c.size))
	}
	if d.free == 0 && uint32(d.bump) == c.slots {
		a.link(&c.mu.partial, n, d)
	}
	*(*uint16)(a.Pointer(r)) = d.free
	d.free = uint16(within/c.size) + 1
	d.live--
	c.mu.live--
	// One empty slab stays with its class as long as it is the only one with room: a document that comes and goes should not
	// take the extents' lock each time.
	if d.live == 0 && (d.next != 0 || d.prev != 0) {
		a.unlink(&c.mu.partial, d)
		c.mu.slabs--
		a.mu.Lock()
		defer a.mu.Unlock()
		a.putSlabs(n, 1)
	}
}

// poison fills freed memory, so that a use after free shows. The second word stays zero: that is what Free promises.
func (a *Arena) poison(r Ref, n int) {
	b := unsafe.Slice((*byte)(a.Pointer(r)), n)
	for i := 16; i < len(b); i++ {
		b[i] = 0xDB
	}
}

// link puts slab n at the front of a list.
func (a *Arena) link(head *uint32, n uint32, d *slab) {
	d.next, d.prev = *head, 0
	if *head != 0 {
		a.slab(*head - 1).prev = n + 1
	}
	*head = n + 1
}

// unlink takes a slab out of a list.
func (a *Arena) unlink(head *uint32, d *slab) {
	if d.prev != 0 {
		a.slab(d.prev - 1).next = d.next
	} else {
		*head = d.next
	}
	if d.next != 0 {
		a.slab(d.next - 1).prev = d.prev
	}
	d.next, d.prev = 0, 0
}
