//go:build !race && !heaparena && !(amd64 || arm64) && (linux || darwin || windows)

package arena

import "unsafe"

// line is the distance in bytes between the places of an item that Fetch looks at.
const line = 64

// Fetch brings the beginnings of allocations into the processor's nearest cache. slots are words whose low RefBits bits are a
// Ref; 0 is none. Here it loads a word of each of three lines; the loads overlap, which is all that they are for. It may see
// memory that was freed or given to somebody else, and does nothing with it. What it returns means nothing; the caller keeps it,
// so that the compiler cannot drop the loads, and never in a place that goroutines share.
func (a *Arena) Fetch(slots []uint64) (sum uint64) {
	for _, s := range slots {
		if r := Ref(s & (1<<RefBits - 1)); r != 0 {
			sum ^= a.look(r, 0) ^ a.look(r, line) ^ a.look(r, 2*line)
		}
	}
	return sum
}

// look loads a word of an allocation. It may reach past its end, but not into the next extent, which may have no memory.
func (a *Arena) look(r Ref, at uintptr) uint64 {
	if uintptr(r<<unitShift&(extentSize-1))+at >= extentSize {
		return 0
	}
	return *(*uint64)(unsafe.Add(a.space.pointer(r), at))
}
