package disk

import (
	"io"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// Kind is the kind of an operation on a file system.
type Kind uint8

// The kinds of operations. Those up to Stat change nothing.
const (
	Open Kind = iota + 1
	Read
	List
	Stat
	Create
	Write
	Sync // Sync, SyncData and SyncTo
	SyncDirectory
	Close
	Link
	Rename
	Reuse // ReuseForWrite
	Remove
	Mkdir
	Lock
	Preallocate
)

// Changes reports whether operations of the kind change what is on disk.
func (k Kind) Changes() bool {
	switch k {
	case Create, Write, Sync, SyncDirectory, Link, Rename, Reuse, Remove, Mkdir, Preallocate:
		return true
	}
	return false
}

// Op is an operation that is about to be done.
type Op struct {
	Kind Kind
	Path string
	Size int // bytes, of a read or write
}

// Verdict says what becomes of an operation. The zero value lets it happen.
type Verdict struct {
	Delay time.Duration // passes first
	Err   error         // is returned instead of doing the operation
	// Torn is the number of bytes of a failing Write that are written all the same.
	Torn int
	// After makes the operation happen and return Err all the same.
	After bool
	// Pretend leaves the operation undone and reports success; a file opened like that takes writes and keeps nothing.
	Pretend bool
}

// ErrNoSpace is the error of a full disk, as the system gives it.
var ErrNoSpace error = syscall.ENOSPC

// Hooked is a file system whose operations are judged before they happen.
type Hooked struct {
	FS
	judge atomic.Pointer[func(Op) Verdict]
	usage atomic.Pointer[Usage]
	// met, if set, hears of each operation that failed and gives the error that is returned in place of it; nil pretends
	// success.
	met func(Op, error) error
	// done, if set, hears of operations that have ended; see Timed.
	done func(Op, time.Duration, error)
}

// NewHooked wraps fs. Nothing is judged until Judge is called.
func NewHooked(fs FS) *Hooked { return &Hooked{FS: fs} }

// Judge makes f decide about each operation from now on, those on files that are open already included; nil ends that. f is
// called from whatever goroutine does the operation, also from several at once.
func (h *Hooked) Judge(f func(Op) Verdict) {
	if f == nil {
		h.judge.Store(nil)
		return
	}
	h.judge.Store(&f)
}

// SetUsage makes the file system report u as its space; nil goes back to the truth.
func (h *Hooked) SetUsage(u *Usage) { h.usage.Store(u) }

// FailFrom gives a judge that lets n operations of the kinds pass (all changing kinds if there are none) and fails all
// later ones with err.
func FailFrom(n uint64, err error, kinds ...Kind) func(Op) Verdict {
	var seen atomic.Uint64
	return func(op Op) Verdict {
		if !op.among(kinds) || seen.Add(1) <= n {
			return Verdict{}
		}
		return Verdict{Err: err}
	}
}

// FailOnce gives a judge that fails the operation of the kinds that follows n others (all kinds if there are none), and no
// other.
func FailOnce(n uint64, err error, kinds ...Kind) func(Op) Verdict {
	var seen atomic.Uint64
	return func(op Op) Verdict {
		if len(kinds) > 0 && !op.among(kinds) || seen.Add(1) != n+1 {
			return Verdict{}
		}
		return Verdict{Err: err}
	}
}

func (op Op) among(kinds []Kind) bool {
	if len(kinds) == 0 {
		return op.Kind.Changes()
	}
	return slices.Contains(kinds, op.Kind)
}

// verdict asks the judge and lets the delay pass.
func (h *Hooked) verdict(kind Kind, path string, size int) Verdict {
	f := h.judge.Load()
	if f == nil {
		return Verdict{}
	}
	v := (*f)(Op{kind, path, size})
	if v.Delay > 0 {
		<-time.After(v.Delay)
	}
	return v
}

// do does op unless the judge is against it.
func (h *Hooked) do(kind Kind, path string, op func() error) error {
	return h.doSince(h.begin(kind), kind, path, op)
}

func (h *Hooked) doSince(begun time.Time, kind Kind, path string, op func() error) error {
	v := h.verdict(kind, path, 0)
	err := v.Err
	switch {
	case v.Pretend:
		return nil
	case err == nil || v.After:
		if failed := op(); failed != nil {
			err = failed
		}
	}
	h.end(Op{Kind: kind, Path: path}, begun, err)
	return h.failed(Op{Kind: kind, Path: path}, err)
}

func (h *Hooked) failed(op Op, err error) error {
	if err == nil || h.met == nil {
		return err
	}
	return h.met(op, err)
}

func (h *Hooked) file(kind Kind, path string, open func() (File, error)) (File, error) {
	return h.open(&hookedFile{fs: h, path: path, sync: Sync}, kind, open)
}

func (h *Hooked) open(f *hookedFile, kind Kind, open func() (File, error)) (File, error) {
	err := h.do(kind, f.path, func() (err error) {
		f.File, err = open()
		return err
	})
	switch {
	case err == nil && f.File == nil:
		f.File = nowhere{}
	case err == nil:
	case f.File != nil:
		_ = f.File.Close() // the caller is told of the injected error
		return nil, err
	default:
		return nil, err
	}
	return f, nil
}

// Create implements FS.
func (h *Hooked) Create(name string, c Category) (File, error) {
	return h.file(Create, name, func() (File, error) { return h.FS.Create(name, c) })
}

// Open implements FS.
func (h *Hooked) Open(name string, opts ...OpenOption) (File, error) {
	return h.file(Open, name, func() (File, error) { return h.FS.Open(name, opts...) })
}

// OpenReadWrite implements FS.
func (h *Hooked) OpenReadWrite(name string, c Category, opts ...OpenOption) (File, error) {
	return h.file(Create, name, func() (File, error) { return h.FS.OpenReadWrite(name, c, opts...) })
}

// OpenDir implements FS.
func (h *Hooked) OpenDir(name string) (File, error) {
	f := &hookedFile{fs: h, path: name, sync: SyncDirectory}
	return h.open(f, Open, func() (File, error) { return h.FS.OpenDir(name) })
}

// ReuseForWrite implements FS.
func (h *Hooked) ReuseForWrite(oldname, newname string, c Category) (File, error) {
	return h.file(Reuse, newname, func() (File, error) { return h.FS.ReuseForWrite(oldname, newname, c) })
}

// Link implements FS.
func (h *Hooked) Link(oldname, newname string) error {
	return h.do(Link, newname, func() error { return h.FS.Link(oldname, newname) })
}

// Rename implements FS.
func (h *Hooked) Rename(oldname, newname string) error {
	return h.do(Rename, newname, func() error { return h.FS.Rename(oldname, newname) })
}

// Remove implements FS.
func (h *Hooked) Remove(name string) error {
	return h.do(Remove, name, func() error { return h.FS.Remove(name) })
}

// RemoveAll implements FS.
func (h *Hooked) RemoveAll(name string) error {
	return h.do(Remove, name, func() error { return h.FS.RemoveAll(name) })
}

// MkdirAll implements FS.
func (h *Hooked) MkdirAll(dir string, perm os.FileMode) error {
	return h.do(Mkdir, dir, func() error { return h.FS.MkdirAll(dir, perm) })
}

// Lock implements FS.
func (h *Hooked) Lock(name string) (io.Closer, error) {
	var c io.Closer
	err := h.do(Lock, name, func() (err error) {
		c, err = h.FS.Lock(name)
		return err
	})
	return c, err
}

// List implements FS.
func (h *Hooked) List(dir string) ([]string, error) {
	var names []string
	err := h.do(List, dir, func() (err error) {
		names, err = h.FS.List(dir)
		return err
	})
	return names, err
}

// Stat implements FS.
func (h *Hooked) Stat(name string) (FileInfo, error) {
	var info FileInfo
	err := h.do(Stat, name, func() (err error) {
		info, err = h.FS.Stat(name)
		return err
	})
	return info, err
}

// GetDiskUsage implements FS.
func (h *Hooked) GetDiskUsage(path string) (Usage, error) {
	if u := h.usage.Load(); u != nil {
		return *u, nil
	}
	return h.FS.GetDiskUsage(path)
}

// Unwrap implements FS.
func (h *Hooked) Unwrap() FS { return h.FS }

// hookedFile is an open file of a Hooked.
type hookedFile struct {
	File
	fs   *Hooked
	path string
	sync Kind
}

// Read implements File.
func (f *hookedFile) Read(p []byte) (int, error) {
	if v := f.fs.verdict(Read, f.path, len(p)); v.Err != nil {
		return 0, v.Err
	}
	n, err := f.File.Read(p)
	f.fs.end(Op{Read, f.path, n}, time.Time{}, err)
	return n, err
}

// ReadAt implements File.
func (f *hookedFile) ReadAt(p []byte, off int64) (int, error) {
	if v := f.fs.verdict(Read, f.path, len(p)); v.Err != nil {
		return 0, v.Err
	}
	n, err := f.File.ReadAt(p, off)
	f.fs.end(Op{Read, f.path, n}, time.Time{}, err)
	return n, err
}

// Write implements File.
func (f *hookedFile) Write(p []byte) (int, error) {
	return f.write(p, f.File.Write)
}

// WriteAt implements File.
func (f *hookedFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.File.WriteAt(p, off) })
}

func (f *hookedFile) write(p []byte, write func([]byte) (int, error)) (int, error) {
	begun := f.fs.begin(Write)
	v := f.fs.verdict(Write, f.path, len(p))
	n, err := 0, v.Err
	switch {
	case v.Pretend:
		return len(p), nil
	case err == nil:
		n, err = write(p)
	case v.After:
		n, _ = write(p)
	case v.Torn > 0:
		n, _ = write(p[:min(v.Torn, len(p))])
	}
	f.fs.end(Op{Write, f.path, n}, begun, err)
	if err = f.fs.failed(Op{Write, f.path, len(p)}, err); err == nil {
		n = len(p)
	}
	return n, err
}

// Sync implements File.
func (f *hookedFile) Sync() error { return f.fs.do(f.sync, f.path, f.File.Sync) }

// SyncData implements File.
func (f *hookedFile) SyncData() error { return f.fs.do(f.sync, f.path, f.File.SyncData) }

// SyncTo implements File. It is a hint to the system to begin writing, so it is not timed as a sync.
func (f *hookedFile) SyncTo(length int64) (bool, error) {
	var full bool
	err := f.fs.doSince(time.Time{}, f.sync, f.path, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Preallocate implements File.
func (f *hookedFile) Preallocate(offset, length int64) error {
	return f.fs.do(Preallocate, f.path, func() error { return f.File.Preallocate(offset, length) })
}

// Close implements File.
func (f *hookedFile) Close() error { return f.fs.do(Close, f.path, f.File.Close) }
