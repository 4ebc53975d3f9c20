//go:build unix

package disk

import "syscall"

// MaxOpenFiles gives how many files this process may have open, or 0 if that is not known.
func MaxOpenFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // its type differs from system to system
}
