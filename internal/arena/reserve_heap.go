//go:build race || heaparena || !(linux || darwin || windows)

package arena

import "unsafe"

// space is Go memory, one piece for each extent or run of extents. It costs the garbage collector nothing to scan, because
// it holds no pointers, but it counts as heap.
type space struct{ extents []unsafe.Pointer }

// OffHeap says whether items are outside Go's heap in this build.
const OffHeap = false

func (s *space) reserve(size int64) error {
	s.extents = make([]unsafe.Pointer, size/extentSize)
	return nil
}

func (s *space) release() {}

// commit makes memory for n extents. A run is one piece, so it replaces what single extents in it may have kept.
func (s *space) commit(first, n int) error {
	if n == 1 && s.extents[first] != nil {
		return nil
	}
	words := make([]uint64, n*extentSize/8) // of words, for their alignment
	for i := range n {
		s.extents[first+i] = unsafe.Pointer(&words[i*extentSize/8])
	}
	return nil
}

func (s *space) giveBack(first, n int) bool {
	clear(s.extents[first : first+n])
	return true
}

// keepsRuns: extents of a run are one piece of memory, so they are not kept one by one.
func (s *space) keepsRuns() bool { return false }

func (s *space) pointer(r Ref) unsafe.Pointer {
	return unsafe.Add(s.extents[r>>extentShift], r<<unitShift&(extentSize-1))
}
