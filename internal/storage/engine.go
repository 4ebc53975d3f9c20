package storage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/charpoy/charpoy/internal/disk"
)

// engineOptions says how Pebble is run, and why (kv.md 10.2).
func (db *DB) engineOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                 db.fence,
		Cache:              db.cache,
		ReadOnly:           db.options.ReadOnly,
		FormatMajorVersion: pebbleFormat,
		Logger:             engineLogger{db},
		EventListener:      db.listener(),

		// Fewer, larger flushes; four of them at most are on the heap.
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: memTables,
		L0CompactionThreshold:       l0Compaction,
		L0StopWritesThreshold:       l0Stop, // the default of 12 stops bursts too early
		LBaseMaxBytes:               lBaseBytes,
		CompactionConcurrencyRange:  func() (int, int) { return 1, compactions() },

		// Write-back in small pieces, so that an fsync does not find a backlog.
		WALBytesPerSync:        syncChunkBytes,
		BytesPerSync:           syncChunkBytes,
		FlushDelayDeleteRange:  rangeDeleteDelay,    // the space of dropped vBuckets returns soon
		TargetByteDeletionRate: deletionBytesPerSec, // large unlinks stall some file systems
		MaxOpenFiles:           openFiles(),
	}
	o.Levels[0].BlockSize = blockBytes
	o.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(bloomBits)
	// Value ejection never asks for absent documents, so the last level, which holds most keys, has no filter.
	o.Levels[len(o.Levels)-1].FilterPolicy = pebble.NoFilterPolicy
	// A scan for views must not start compactions.
	o.Experimental.ReadSamplingMultiplier = -1
	return o
}

func openFiles() int {
	limit := disk.MaxOpenFiles()
	if limit == 0 || limit/2 > maxOpenFiles {
		return maxOpenFiles
	}
	return int(limit / 2)
}

// engineLogger takes what Pebble logs. Fatalf is where errors of the log and the manifest arrive: it makes the store stop
// and returns, although Pebble expects a process to end there; behind the shut fence nothing can be written any more.
type engineLogger struct{ db *DB }

// Infof logs what Pebble does in the background.
func (l engineLogger) Infof(format string, args ...any) {
	l.db.options.Logger.Debug("engine", "text", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// Errorf logs what Pebble will try again.
func (l engineLogger) Errorf(format string, args ...any) {
	l.db.options.Logger.Warn("engine", "text", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// Fatalf ends the store.
func (l engineLogger) Fatalf(format string, args ...any) {
	l.db.fail(errors.New(strings.TrimSpace(fmt.Sprintf(format, args...))))
}

// listener turns Pebble's events into ours.
func (db *DB) listener() *pebble.EventListener {
	logger := db.options.Logger
	events := db.options.Events
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if db.Failed() == nil { // behind the fence everything fails
				logger.Warn("background work of the store failed and will be tried again", "error", err)
			}
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) { db.damagedFile(i) },
		FlushEnd: func(i pebble.FlushInfo) {
			logger.Debug("memtable flushed", "took", i.TotalDuration, "input_bytes", i.InputBytes, "error", i.Err)
		},
		CompactionEnd: func(i pebble.CompactionInfo) {
			logger.Debug("compaction ended", "took", i.TotalDuration, "reason", i.Reason, "error", i.Err)
			db.compacted(&i)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			db.stalls.Add(1)
			db.observed.stallBegins(i.Reason)
			logger.Warn("the store holds up writes until compactions have caught up", "reason", i.Reason)
			if events.Stall != nil {
				events.Stall(i.Reason)
			}
		},
		WriteStallEnd: func() {
			db.observed.stallEnds(db.shard)
			if events.Stall != nil {
				events.Stall("")
			}
		},
	}
}

// damagedFile logs that a table file does not read back. Which vBuckets miss something is seen when they are read.
func (db *DB) damagedFile(i pebble.DataCorruptionInfo) {
	db.options.Logger.Error("a file of the store is damaged", "path", i.Path, "error", i.Details, "hint", damageHint)
}

func (db *DB) diskSlow(s disk.Slow) {
	db.options.Logger.Warn("disk is slow", "path", s.Path, "op", s.Op, "bytes", s.Size, "for", s.For)
	if f := db.options.Events.DiskSlow; f != nil {
		f(s)
	}
}

func (db *DB) diskFull() {
	db.space.low.Store(true)
	db.options.Logger.Error("disk is full", "dir", db.options.Dir)
	if f := db.options.Events.DiskFull; f != nil {
		f()
	}
}
