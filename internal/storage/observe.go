package storage

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/cockroachdb/pebble/v2"
)

// observed is what the store knows of the disk below: how long writes and syncs take by kind of file, how much goes through,
// and what fails. Writes and syncs are told apart because either can be slow alone.
type observed struct {
	files  [trace.NumFile]fileTimes
	errors [numErrno]atomic.Uint64

	stallBegun atomic.Int64 // nanoseconds since opened, 0: writes are not held up
	stallNanos [trace.NumStall]atomic.Int64
	stallWhy   atomic.Uint32
	opened     time.Time
}

type fileTimes struct {
	sync, write metrics.Histogram
	written     metrics.Counter
}

// errnos are the errors of the disk that are counted by name; the last counts all others.
const (
	errnoIO = iota
	errnoNoSpace
	errnoQuota
	errnoReadOnly
	errnoNoFiles
	errnoOther
	numErrno = iota
)

func errnoNames() [numErrno]string {
	return [numErrno]string{"EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", metrics.Other}
}

// errnoOf gives the system's number of an error, 0 if it has none, and how it is counted.
func errnoOf(err error) (number syscall.Errno, counted int) {
	if !errors.As(err, &number) {
		return 0, errnoOther
	}
	switch number {
	case syscall.EIO:
		return number, errnoIO
	case syscall.ENOSPC:
		return number, errnoNoSpace
	case syscall.EDQUOT:
		return number, errnoQuota
	case syscall.EROFS:
		return number, errnoReadOnly
	case syscall.EMFILE, syscall.ENFILE:
		return number, errnoNoFiles
	}
	return number, errnoOther
}

// stallOf sorts the reasons for which the engine holds writes up: too many memtables wait to be written, or compaction is
// behind.
func stallOf(reason string) trace.Stall {
	switch {
	case strings.HasPrefix(reason, "memtable"):
		return trace.StallMemtables
	case strings.HasPrefix(reason, "L0"):
		return trace.StallLevel0
	}
	return trace.StallOther
}

// observe is what disk.Timed calls.
func (db *DB) observe(op disk.Op, took time.Duration, err error) {
	o := &db.observed
	file := fileOf(op.Path)
	status := trace.StatusOK
	if err != nil {
		status = trace.StatusFailed
		number, counted := errnoOf(err)
		o.errors[counted].Add(1)
		if trace.StoreError.On() {
			trace.StoreError.Fire(db.shard, callOf(op.Kind), int64(number), file)
		}
	}
	switch op.Kind {
	case disk.Write:
		o.files[file].write.Record(took)
		o.files[file].written.Add(uint64(max(op.Size, 0)))
		if trace.WriteDone.On() {
			trace.WriteDone.Fire(db.shard, file, int64(op.Size), took)
		}
	case disk.Sync:
		o.files[file].sync.Record(took)
		if trace.FsyncDone.On() {
			trace.FsyncDone.Fire(db.shard, file, took, status)
		}
	}
}

// fileOf tells the kind of one of the engine's files by its name.
func fileOf(path string) trace.File {
	name := path[strings.LastIndexAny(path, `/\`)+1:]
	switch {
	case strings.HasSuffix(name, ".log"):
		return trace.FileWAL
	case strings.HasSuffix(name, ".sst"):
		return trace.FileTable
	case strings.HasPrefix(name, "MANIFEST-"), strings.HasPrefix(name, "OPTIONS-"), strings.HasPrefix(name, "marker."):
		return trace.FileManifest
	}
	return trace.FileOther
}

func callOf(kind disk.Kind) trace.Call {
	switch kind {
	case disk.Open, disk.Create, disk.Reuse:
		return trace.CallOpen
	case disk.Read:
		return trace.CallRead
	case disk.Write, disk.Preallocate:
		return trace.CallWrite
	case disk.Sync, disk.SyncDirectory:
		return trace.CallSync
	case disk.Link, disk.Rename:
		return trace.CallRename
	case disk.Remove:
		return trace.CallRemove
	case disk.List, disk.Stat:
		return trace.CallList
	case disk.Close, disk.Mkdir, disk.Lock:
		return trace.CallOther
	}
	return trace.CallOther
}

// stallBegins and stallEnds note that the engine holds writes up.
func (o *observed) stallBegins(reason string) {
	o.stallWhy.Store(uint32(stallOf(reason)))
	o.stallBegun.Store(max(1, int64(time.Since(o.opened))))
}

func (o *observed) stallEnds(shard *trace.Shard) {
	begun := o.stallBegun.Swap(0)
	if begun == 0 {
		return
	}
	why, took := trace.Stall(o.stallWhy.Load()), int64(time.Since(o.opened))-begun
	o.stallNanos[why].Add(took)
	if trace.StoreStall.On() {
		trace.StoreStall.Fire(shard, why, time.Duration(took))
	}
}

// compacted tells of a compaction that has ended.
func (db *DB) compacted(i *pebble.CompactionInfo) {
	if !trace.CompactDone.On() {
		return
	}
	size := func(tables []pebble.TableInfo) (n int64) {
		for t := range tables {
			n += int64(tables[t].Size)
		}
		return n
	}
	in := int64(0)
	for l := range i.Input {
		in += size(i.Input[l].Tables)
	}
	status := trace.StatusOK
	if i.Err != nil {
		status = trace.StatusFailed
	}
	trace.CompactDone.Fire(db.shard, int64(i.Output.Level), in, size(i.Output.Tables), i.TotalDuration, status)
}

// FileStats is what went to one kind of file.
type FileStats struct {
	Kind         string               // "wal", "table", "manifest" or "other"
	Sync         metrics.Distribution // of calls to sync such a file
	Write        metrics.Distribution // of calls to write to one
	WrittenBytes uint64
}

// DiskStats is what the store has seen of the disk since it was opened.
type DiskStats struct {
	Files        []FileStats
	Errors       map[string]uint64  // by name of the system's error; all names are there
	StallSeconds map[string]float64 // for which the engine held up writes, by reason
	Free         uint64             // bytes
}

// DiskStats reads the numbers. It looks at the free space, unless that was done a moment ago.
func (db *DB) DiskStats() DiskStats {
	o := &db.observed
	s := DiskStats{Errors: map[string]uint64{}, StallSeconds: map[string]float64{}}
	for _, kind := range []trace.File{trace.FileWAL, trace.FileTable, trace.FileManifest, trace.FileOther} {
		f := &o.files[kind]
		s.Files = append(s.Files, FileStats{kind.String(), f.sync.Snapshot(), f.write.Snapshot(), f.written.Value()})
	}
	for i, name := range errnoNames() {
		s.Errors[name] = o.errors[i].Load()
	}
	for why := trace.StallMemtables; why < trace.NumStall; why++ {
		s.StallSeconds[why.String()] = time.Duration(o.stallNanos[why].Load()).Seconds()
	}
	if space, err := db.CheckSpace(); err == nil {
		s.Free = space.FreeBytes
	}
	return s
}
