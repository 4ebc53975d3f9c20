package disk

import (
	"io"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// nowhere is an open file that takes everything and keeps nothing.
type nowhere struct{}

// Close implements File.
func (nowhere) Close() error { return nil }

// Read implements File: the file is empty.
func (nowhere) Read([]byte) (int, error) { return 0, io.EOF }

// ReadAt implements File: the file is empty.
func (nowhere) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

// Write implements File.
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// WriteAt implements File.
func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// Preallocate implements File.
func (nowhere) Preallocate(int64, int64) error { return nil }

// Stat implements File: an empty file.
func (nowhere) Stat() (FileInfo, error) { return nothing{}, nil }

// Sync implements File.
func (nowhere) Sync() error { return nil }

// SyncTo implements File.
func (nowhere) SyncTo(int64) (bool, error) { return true, nil }

// SyncData implements File.
func (nowhere) SyncData() error { return nil }

// Prefetch implements File.
func (nowhere) Prefetch(int64, int64) error { return nil }

// Fd implements File.
func (nowhere) Fd() uintptr { return vfs.InvalidFd }

// nothing describes a nowhere.
type nothing struct{}

// Name implements FileInfo.
func (nothing) Name() string { return "" }

// Size implements FileInfo.
func (nothing) Size() int64 { return 0 }

// Mode implements FileInfo.
func (nothing) Mode() fs.FileMode { return 0o600 }

// ModTime implements FileInfo.
func (nothing) ModTime() time.Time { return time.Time{} }

// IsDir implements FileInfo.
func (nothing) IsDir() bool { return false }

// Sys implements FileInfo.
func (nothing) Sys() any { return nil }

// DeviceID implements FileInfo.
func (nothing) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
