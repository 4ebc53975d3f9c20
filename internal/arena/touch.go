//go:build !race && !heaparena && (linux || darwin || windows)

package arena

import "unsafe"

// Line is the distance in bytes between the places that a touch of one item looks at.
const Line = 64

// Touch loads one word of an allocation, at a multiple of 8 bytes from its begin, and returns it. The Ref may be stale, but
// not made up: it reads what is there now, which means nothing. The loads of several calls overlap in the processor, which
// is all that they are for. It may reach past the end of the allocation, but not into the next extent, which may have no
// memory.
func (a *Arena) Touch(r Ref, at uintptr) uint64 {
	if uintptr(r<<unitShift&(extentSize-1))+at >= extentSize {
		return 0
	}
	return *(*uint64)(unsafe.Add(a.space.pointer(r), at))
}
