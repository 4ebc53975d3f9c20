//go:build darwin && !race && !heaparena

package arena

import "golang.org/x/sys/unix"

const reserveFlags = unix.MAP_ANON | unix.MAP_PRIVATE | unix.MAP_NORESERVE

func (s *space) advise() {}

// commit tells the system that memory which was given back counts as ours again; fresh memory comes with the first touch,
// and the advice does nothing to it.
func (s *space) commit(first, n int) error {
	_ = unix.Madvise(s.bytes(int64(first)*extentSize, int64(n)*extentSize), unix.MADV_FREE_REUSE)
	return nil
}

func (s *space) giveBack(first, n int) bool {
	return unix.Madvise(s.bytes(int64(first)*extentSize, int64(n)*extentSize), unix.MADV_FREE_REUSABLE) == nil
}
