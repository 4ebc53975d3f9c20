//go:build (linux || darwin) && !race && !heaparena

package arena

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// space is one anonymous mapping, of which whole extents from base on are used.
type space struct {
	mapping unsafe.Pointer
	mapped  uintptr
	base    unsafe.Pointer // aligned to an extent
	size    int64
}

// OffHeap says whether items are outside Go's heap in this build.
const OffHeap = true

func (s *space) reserve(size int64) error {
	s.mapped = uintptr(size) + extentSize
	p, err := unix.MmapPtr(-1, 0, nil, s.mapped, unix.PROT_READ|unix.PROT_WRITE, reserveFlags)
	if err != nil {
		return err
	}
	s.mapping, s.size = p, size
	s.base = unsafe.Add(p, (extentSize-uintptr(p)%extentSize)%extentSize)
	s.advise()
	return nil
}

// release unmaps everything. Nobody can refer to the memory any more.
func (s *space) release() { _ = unix.MunmapPtr(s.mapping, s.mapped) }

func (s *space) keepsRuns() bool { return true }

func (s *space) bytes(from, n int64) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(s.base, from)), n)
}

func (s *space) pointer(r Ref) unsafe.Pointer { return unsafe.Add(s.base, r<<unitShift) }
