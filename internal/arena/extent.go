package arena

import (
	"math/bits"

	"github.com/charpoy/charpoy/internal/invariant"
)

// extent describes 2 MiB: its slabs, and its place in the list of extents with as long a run of free slabs.
type extent struct {
	slabs      [extentSlabs]slab
	used       uint32 // bit map of slabs in use
	next, prev int32  // extent number + 1
}

// extentMap is what the extents' lock guards. An extent is unused, cut into slabs, or part of a run of extents.
type extentMap struct {
	taken     bitmap // in use, one bit an extent
	committed bitmap // memory is there (or may be: it is given back only here)
	byRun     [extentSlabs + 1]int32
	count     int   // committed extents
	idle      int   // of them, extents without use: kept as slack
	slabs     int64 // in use, as slabs of a class, of pages, or of runs
	peak      int64 // most bytes ever committed
	closed    bool
}

// newExtentMap makes the map of n extents. The first one is never used, so that no allocation has the Ref 0.
func newExtentMap(n int) extentMap {
	m := extentMap{taken: newBitmap(n), committed: newBitmap(n)}
	m.taken.set(0)
	return m
}

// takeSlabs takes a run of n slabs within one extent: from the extent whose longest run fits best, else from a new one. The
// slabs' kinds are the caller's to set.
func (a *Arena) takeSlabs(n int, urgent bool) (uint32, bool) {
	m := &a.mu.extentMap
	run := n
	for run <= extentSlabs && m.byRun[run] == 0 {
		run++
	}
	if run > extentSlabs {
		x, ok := a.takeExtents(1, urgent)
		if !ok {
			return 0, false
		}
		e := a.extents[x].Load()
		e.used = 0
		for i := range e.slabs {
			e.slabs[i] = slab{kind: kindFree}
		}
		run = extentSlabs
		a.linkExtent(run, x, e)
	}
	x := int(m.byRun[run] - 1)
	e := a.extents[x].Load()
	a.unlinkExtent(run, e)
	first := 0
	for mask := slabMask(0, n); e.used&mask != 0; mask <<= 1 {
		first++
	}
	e.used |= slabMask(first, n)
	m.slabs += int64(n)
	if rest := longestSlabRun(e.used); rest > 0 {
		a.linkExtent(rest, x, e)
	}
	return uint32(x*extentSlabs + first), true
}

// putSlabs gives a run of slabs back to their extent, and the extent back when nothing in it is used.
func (a *Arena) putSlabs(num uint32, n int) {
	x := int(num / extentSlabs)
	e := a.extents[x].Load()
	first := int(num % extentSlabs)
	invariant.Check(e.used&slabMask(first, n) == slabMask(first, n), "arena: slabs were given back twice")
	if run := longestSlabRun(e.used); run > 0 {
		a.unlinkExtent(run, e)
	}
	for i := first; i < first+n; i++ {
		e.slabs[i] = slab{kind: kindFree}
	}
	e.used &^= slabMask(first, n)
	a.mu.slabs -= int64(n)
	if e.used == 0 {
		a.putExtents(x, 1)
		return
	}
	a.linkExtent(longestSlabRun(e.used), x, e)
}

func slabMask(first, n int) uint32 { return uint32((uint64(1)<<n - 1) << first) }

func longestSlabRun(used uint32) int {
	n := 0
	for free := ^used; free != 0; free &= free << 1 {
		n++
	}
	return n
}

func (a *Arena) linkExtent(run, x int, e *extent) {
	head := &a.mu.byRun[run]
	e.next, e.prev = *head, 0
	if *head != 0 {
		a.extents[*head-1].Load().prev = int32(x + 1)
	}
	*head = int32(x + 1)
}

func (a *Arena) unlinkExtent(run int, e *extent) {
	if e.prev != 0 {
		a.extents[e.prev-1].Load().next = e.next
	} else {
		a.mu.byRun[run] = e.next
	}
	if e.next != 0 {
		a.extents[e.next-1].Load().prev = e.prev
	}
	e.next, e.prev = 0, 0
}

// takeExtents takes a run of n extents, the first that fits, and makes their memory usable.
func (a *Arena) takeExtents(n int, urgent bool) (int, bool) {
	m := &a.mu.extentMap
	if m.closed {
		return 0, false
	}
	x := m.taken.clearRun(n, len(a.extents))
	if x < 0 {
		return 0, false
	}
	missing := 0
	for i := x; i < x+n; i++ {
		if !m.committed.has(i) {
			missing++
		}
	}
	if !urgent && missing > 0 && int64(m.count+missing)*extentSize > a.limit.Load() {
		return 0, false
	}
	if err := a.space.commit(x, n); err != nil {
		return 0, false
	}
	m.idle -= n - missing
	m.count += missing
	m.peak = max(m.peak, int64(m.count)*extentSize)
	for i := x; i < x+n; i++ {
		m.taken.set(i)
		m.committed.set(i)
		if a.extents[i].Load() == nil {
			a.extents[i].Store(&extent{})
		}
	}
	return x, true
}

// putExtents gives a run of extents back. A little stays committed, so that a bucket that breathes does not ask the system
// for the same memory again and again.
func (a *Arena) putExtents(x, n int) {
	m := &a.mu.extentMap
	for i := x; i < x+n; i++ {
		m.taken.clear(i)
		m.idle++
	}
	for i := x + n - 1; i >= x && m.idle > a.slack(n); i-- {
		if a.space.giveBack(i, 1) {
			m.committed.clear(i)
			m.idle--
			m.count--
		}
	}
}

// slack is how many unused extents stay committed: one, and 1 % of what is committed.
func (a *Arena) slack(run int) int {
	if !a.space.keepsRuns() && run > 1 {
		return 0
	}
	return 1 + a.mu.count/100
}

func (a *Arena) allocSlabs(n int, urgent bool) Ref {
	a.mu.Lock()
	defer a.mu.Unlock()
	num, ok := a.takeSlabs(n, urgent)
	if !ok {
		return 0
	}
	d := a.slab(num)
	*d = slab{kind: kindSlabs, live: 1, next: uint32(n)}
	for i := 1; i < n; i++ {
		*a.slab(num + uint32(i)) = slab{kind: kindTail}
	}
	a.large.Add(int64(n) * slabBytes)
	return Ref(num) << slabShift
}

func (a *Arena) freeSlabs(d *slab, num uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := int(d.next)
	invariant.Check(d.live == 1, "arena: a run of slabs was freed twice")
	a.large.Add(-int64(n) * slabBytes)
	a.putSlabs(num, n)
}

func (a *Arena) allocExtents(n int, urgent bool) Ref {
	a.mu.Lock()
	defer a.mu.Unlock()
	x, ok := a.takeExtents(n, urgent)
	if !ok {
		return 0
	}
	for i := x; i < x+n; i++ {
		a.extents[i].Load().slabs[0] = slab{kind: kindTail}
	}
	a.extents[x].Load().slabs[0] = slab{kind: kindExtents, next: uint32(n)}
	a.mu.slabs += int64(n) * extentSlabs
	a.large.Add(int64(n) * extentSize)
	return Ref(x) << extentShift
}

func (a *Arena) freeExtents(e *extent, num uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := int(e.slabs[0].next)
	invariant.Check(num%extentSlabs == 0 && n > 0, "arena: freed the middle of a run of extents")
	e.slabs[0] = slab{kind: kindFree}
	a.mu.slabs -= int64(n) * extentSlabs
	a.large.Add(-int64(n) * extentSize)
	a.putExtents(int(num/extentSlabs), n)
}

// bitmap is a set of extent numbers.
type bitmap struct{ words []uint64 }

func newBitmap(n int) bitmap { return bitmap{make([]uint64, (n+63)/64)} }

func (b bitmap) has(i int) bool { return b.words[i/64]>>(i%64)&1 == 1 }
func (b bitmap) set(i int)      { b.words[i/64] |= 1 << (i % 64) }
func (b bitmap) clear(i int)    { b.words[i/64] &^= 1 << (i % 64) }

func lowestBit(w uint64) int { return bits.TrailingZeros64(w) }

// clearRun finds the first n numbers below limit that are all absent, or −1.
func (b bitmap) clearRun(n, limit int) int {
	run := 0
	for i := 0; i < limit; i++ {
		if i%64 == 0 && b.words[i/64] == ^uint64(0) {
			run = 0
			i += 63
			continue
		}
		if b.has(i) {
			run = 0
			continue
		}
		if run++; run == n {
			return i - n + 1
		}
	}
	return -1
}
