//go:build windows && !race && !heaparena

package arena

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// space is one reservation. Committed memory is never decommitted while the arena lives: Fetch may be given a stale
// reference, and reading decommitted memory is an access violation.
type space struct {
	mapping uintptr
	base    unsafe.Pointer
}

// OffHeap says whether items are outside Go's heap in this build.
const OffHeap = true

func (s *space) reserve(size int64) error {
	p, err := windows.VirtualAlloc(0, uintptr(size)+extentSize, windows.MEM_RESERVE, windows.PAGE_READWRITE)
	if err != nil {
		return err
	}
	s.mapping = p
	aligned := (p + extentSize - 1) / extentSize * extentSize
	s.base = *(*unsafe.Pointer)(unsafe.Pointer(&aligned)) // not Go memory: the collector ignores it
	return nil
}

func (s *space) release() { _ = windows.VirtualFree(s.mapping, 0, windows.MEM_RELEASE) }

func (s *space) commit(first, n int) error {
	from := uintptr(s.base) + uintptr(first)*extentSize
	_, err := windows.VirtualAlloc(from, uintptr(n)*extentSize, windows.MEM_COMMIT, windows.PAGE_READWRITE)
	return err
}

func (s *space) giveBack(int, int) bool { return false }

func (s *space) keepsRuns() bool { return true }

func (s *space) pointer(r Ref) unsafe.Pointer { return unsafe.Add(s.base, r<<unitShift) }
