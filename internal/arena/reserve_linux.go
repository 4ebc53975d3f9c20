//go:build linux && !race && !heaparena

package arena

import "golang.org/x/sys/unix"

const reserveFlags = unix.MAP_ANON | unix.MAP_PRIVATE | unix.MAP_NORESERVE

// advise asks for huge pages in the whole reservation. A kernel without them refuses, which only costs speed.
func (s *space) advise() { _ = unix.Madvise(s.bytes(0, s.size), unix.MADV_HUGEPAGE) }

// commit needs to do nothing: memory comes with the first touch.
func (s *space) commit(int, int) error { return nil }

func (s *space) giveBack(first, n int) bool {
	return unix.Madvise(s.bytes(int64(first)*extentSize, int64(n)*extentSize), unix.MADV_DONTNEED) == nil
}
