//go:build !unix

package disk

// MaxOpenFiles gives how many files this process may have open, or 0 if that is not known.
func MaxOpenFiles() uint64 { return 0 }
