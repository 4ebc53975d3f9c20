// Package disk is the file system as the rest of the product sees it, and the only place that knows whose it is.
//
// FS is Pebble's file-system interface, so that the storage engine and everything else share one seam. There are three kinds:
// OS, the machine's; Memory, which can be cloned as a crash would leave it; and wrappers around either: Hooked (fails, tears
// and delays operations as a test or drill says, reports a full disk), Fence (nothing more may be changed once it is shut)
// and Watched (reports operations that take too long).
//
// A wrapper's methods may be called from any goroutine. Wrapping never changes what is below. All are held to the
// conformance test of package disktest. Read disk.go first, then hooked.go.
package disk

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system. Paths are joined and split with its own methods.
type FS = vfs.FS

// File is an open file. Write may change the bytes that it is given; WriteAt works on files of OpenReadWrite only.
type File = vfs.File

// Usage is the space of the file system that holds a path.
type Usage = vfs.DiskUsage

// Category says for whom a file is written, for statistics.
type Category = vfs.DiskWriteCategory

// Own is the category of files that this product writes beside its storage engine.
const Own Category = "charpoy"

// ErrInUse says that a data directory is locked by another process.
var ErrInUse = errors.New("data directory is in use by another process")

// OS gives the machine's file system.
func OS() FS { return vfs.Default }

// Root is the file system below all wrappers.
func Root(fs FS) FS { return vfs.Root(fs) }

// Memory is a file system in memory that knows which of its bytes were synced.
type Memory struct{ *vfs.MemFS }

// NewMemory gives an empty one. It keeps two copies of each file, one as written and one as synced.
func NewMemory() Memory { return Memory{vfs.NewCrashableMem()} }

// Crash gives a copy as a power failure at this moment could leave it: all that was synced, and of each block and directory
// entry that was not, percent in a hundred, drawn with seed. The receiver goes on unharmed.
func (m Memory) Crash(percent int, seed uint64) Memory {
	return Memory{m.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: percent,
		RNG:                 rand.New(rand.NewPCG(seed, 0x9E3779B97F4A7C15)),
	})}
}

// SetUsage makes the file system report this space.
func (m Memory) SetUsage(u Usage) { m.TestingSetDiskUsage(u) }

// lockName is the file in a data directory that its owner locks.
const lockName = "charpoy.lock"

// LockDir locks a directory, which it makes if it is not there, for this process until the Closer is closed. ErrInUse says
// that somebody else holds it, this process included.
func LockDir(fs FS, dir string) (io.Closer, error) {
	if err := MakeDir(fs, dir); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	lock, err := fs.Lock(fs.PathJoin(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w (%w)", dir, ErrInUse, err)
	}
	return lock, nil
}

// MakeDir makes a directory and those above it that are missing, durably: a power failure does not take them away again.
func MakeDir(fs FS, dir string) error {
	var made []string // parents of what is missing
	for d := dir; !IsDirectory(fs, d); {
		parent := fs.PathDir(d)
		if parent == d {
			break
		}
		made = append(made, parent)
		d = parent
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, parent := range made {
		if err := SyncDir(fs, parent); err != nil {
			return err
		}
	}
	return nil
}

// Free gives how many bytes this process may still write to the file system that holds path, and how many it has in all.
// A file system that cannot tell (one in memory) gives 0, 0 and no error.
func Free(fs FS, path string) (free, total uint64, err error) {
	u, err := fs.GetDiskUsage(path)
	switch {
	case errors.Is(err, vfs.ErrUnsupported):
		return 0, 0, nil
	case err != nil:
		return 0, 0, fmt.Errorf("read free space: %w", err)
	}
	return u.AvailBytes, u.TotalBytes, nil
}

// IsDirectory reports whether path is there and is a directory.
func IsDirectory(fs FS, path string) bool {
	info, err := fs.Stat(path)
	return err == nil && info.IsDir()
}

// SyncDir makes the entries of a directory durable.
func SyncDir(fs FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	err = d.Sync()
	if closing := d.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// Slow describes an operation that has been going on for too long.
type Slow struct {
	Path string
	Op   string
	Size int // bytes, of a write
	For  time.Duration
}

// Watched wraps fs so that operations that change it are reported when they take longer than limit, while they still go on.
// Close the Closer when the file system is not used any more: it ends the watching goroutines.
func Watched(fs FS, limit time.Duration, report func(Slow)) (FS, io.Closer) {
	return vfs.WithDiskHealthChecks(fs, limit, nil, func(i vfs.DiskSlowInfo) {
		report(Slow{Path: i.Path, Op: i.OpType.String(), Size: i.WriteSize, For: i.Duration})
	})
}

// FileInfo describes a file.
type FileInfo = vfs.FileInfo

// OpenOption is a hint of how a file will be read.
type OpenOption = vfs.OpenOption

// OnFull wraps fs so that f is called when an operation meets a full disk, before that operation is tried once more. While
// f runs, other operations that change something wait.
func OnFull(fs FS, f func()) FS { return vfs.OnDiskFull(fs, f) }
