package storage

import (
	"fmt"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Stats is what the store has done since it was opened and how it stands.
type Stats struct {
	Batches     uint64 // of document rows
	Rows        uint64 // documents and tombstones written
	Reads       uint64 // single rows read
	Stalls      uint64 // times that writes were held up by the engine
	Corruptions uint64

	DiskBytes       uint64 // table files and log
	WALBytes        uint64 // of it, log that has not become table files yet
	WALBytesWritten uint64
	FlushedBytes    uint64 // from memory to table files
	CompactedBytes  uint64
	DebtBytes       uint64 // what compaction still has to rewrite
	ReadAmp         int    // files that a read may have to look into
	L0Sublevels     int
	MemTableBytes   uint64
	CacheBytes      int64
	CacheHits       int64
	CacheMisses     int64

	Sync  metrics.Distribution // of the calls of Sync
	Apply metrics.Distribution // of the batches
}

// Stats reads the numbers. It is not for hot paths: it takes locks of the engine.
func (db *DB) Stats() Stats {
	s := Stats{
		Batches: db.batches.Load(), Rows: db.rows.Load(), Reads: db.reads.Load(), Stalls: db.stalls.Load(),
		Corruptions: db.corruptions.Load(), Sync: db.syncTime.Snapshot(), Apply: db.applyTime.Snapshot(),
	}
	if db.closed.Load() || db.Failed() != nil { // a failed engine may have left its lock taken
		return s
	}
	m := db.pebble.Metrics()
	total := m.Total()
	s.DiskBytes = m.DiskSpaceUsage()
	s.WALBytes = m.WAL.Size
	s.WALBytesWritten = m.WAL.BytesWritten
	s.FlushedBytes = total.TableBytesFlushed
	s.CompactedBytes = total.TableBytesCompacted
	s.DebtBytes = m.Compact.EstimatedDebt
	s.ReadAmp = m.ReadAmp()
	s.L0Sublevels = int(m.Levels[0].Sublevels)
	s.MemTableBytes = m.MemTable.Size
	s.CacheBytes = m.BlockCache.Size
	s.CacheHits, s.CacheMisses = m.BlockCache.Hits, m.BlockCache.Misses
	return s
}

// pressureWatch keeps the last look at how far the engine is behind: it takes locks of the engine.
type pressureWatch struct {
	mu struct {
		sync.Mutex
		looked time.Time
		last   float64
	}
}

// Pressure says how far the engine's flushes and compactions are behind, from 0 (not at all) to 1 (it is about to stop
// writes), as of a moment ago. The flusher slows writers by it.
func (db *DB) Pressure() float64 {
	if db.closed.Load() || db.Failed() != nil {
		return 0
	}
	w := &db.pressure
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.mu.looked) >= spaceInterval {
		m := db.pebble.Metrics()
		w.mu.looked = time.Now()
		l0 := float64(m.Levels[0].Sublevels) / l0Stop
		tables := float64(m.MemTable.Size) / (memTables * memTableBytes)
		w.mu.last = min(1, max(l0, tables))
	}
	return w.mu.last
}

// DiskBytes estimates what the rows of the bucket take in table files.
func (b *Bucket) DiskBytes() (uint64, error) { return b.estimate(bucketSpan(b.bid)) }

// VBDiskBytes estimates what the rows of one vBucket take in table files.
func (b *Bucket) VBDiskBytes(vb vbucket.ID) (uint64, error) { return b.estimate(vbSpan(b.bid, vb)) }

func (b *Bucket) estimate(start, end []byte) (uint64, error) {
	if err := b.db.writable(); err != nil {
		return 0, err
	}
	n, err := b.db.pebble.EstimateDiskUsage(start, end)
	if err != nil {
		return 0, fmt.Errorf("bucket %s: estimate disk usage: %w", b.uuid, err)
	}
	return n, nil
}
