package arena

import (
	"math/bits"
	"sync"

	"github.com/charpoy/charpoy/internal/invariant"
)

// pageSlabs hands out 5 to 16 pages within one slab. A slab's free field is the map of its pages in use, its bump field the
// map of the last page of each allocation, from which freeing knows the length. Slabs are listed by their longest free run.
type pageSlabs struct {
	mu struct {
		sync.Mutex
		byRun [slabPages + 1]uint32 // first slab, as number + 1; full slabs (index 0) are in no list
		slabs uint32
		pages uint64 // live
	}
}

func (a *Arena) allocPages(n int, urgent bool) Ref {
	p := &a.pages
	p.mu.Lock()
	defer p.mu.Unlock()
	run := n
	for run <= slabPages && p.mu.byRun[run] == 0 {
		run++
	}
	if run > slabPages {
		if !a.addPageSlab(urgent) {
			return 0
		}
		run = slabPages
	}
	num := p.mu.byRun[run] - 1
	d := a.slab(num)
	a.unlink(&p.mu.byRun[run], d)
	first := freeRun(d.free, n)
	d.free |= pageMask(first, n)
	d.bump |= 1 << (first + n - 1)
	d.live++
	p.mu.pages += uint64(n)
	if rest := longestRun(d.free); rest > 0 {
		a.link(&p.mu.byRun[rest], num, d)
	}
	return Ref(num)<<slabShift + Ref(first*pageBytes/Unit)
}

func (a *Arena) addPageSlab(urgent bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.takeSlabs(1, urgent)
	if !ok {
		return false
	}
	d := a.slab(n)
	*d = slab{kind: kindPages}
	a.pages.mu.slabs++
	a.link(&a.pages.mu.byRun[slabPages], n, d)
	return true
}

func (a *Arena) freePages(r Ref, d *slab, num uint32) {
	p := &a.pages
	p.mu.Lock()
	defer p.mu.Unlock()
	first := int(uint32(r)&(1<<slabShift-1)) * Unit / pageBytes
	n := bits.TrailingZeros16(d.bump>>first) + 1
	mask := pageMask(first, n)
	invariant.Check(d.live > 0 && d.free&mask == mask && (first == 0 || d.free>>(first-1)&1 == 0 || d.bump>>(first-1)&1 == 1),
		"arena: freed no allocation of its page slab")
	if invariant.Enabled {
		a.poison(r, n*pageBytes)
	}
	if run := longestRun(d.free); run > 0 {
		a.unlink(&p.mu.byRun[run], d)
	}
	d.free &^= mask
	d.bump &^= mask
	d.live--
	p.mu.pages -= uint64(n)
	if d.live == 0 {
		p.mu.slabs--
		a.mu.Lock()
		defer a.mu.Unlock()
		a.putSlabs(num, 1)
		return
	}
	a.link(&p.mu.byRun[longestRun(d.free)], num, d)
}

func pageMask(first, n int) uint16 { return uint16((uint32(1)<<n - 1) << first) }

// freeRun finds the first run of n pages that are not in use. There is one.
func freeRun(used uint16, n int) int {
	for first := 0; first+n <= slabPages; first++ {
		if used&pageMask(first, n) == 0 {
			return first
		}
	}
	invariant.Violated("arena: no run of %d pages in %016b", n, used)
	return 0
}

// longestRun is the length of the longest run of pages that are not in use.
func longestRun(used uint16) int {
	n := 0
	for free := ^used; free != 0; free &= free << 1 {
		n++
	}
	return n
}
