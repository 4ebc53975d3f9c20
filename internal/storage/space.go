package storage

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/disk"
)

// Space is the free space of the disk that holds the store.
type Space struct {
	Low          bool // below the reserve: new mutations are refused, deletions and reads go on
	FreeBytes    uint64
	TotalBytes   uint64 // 0 if the file system cannot tell
	ReserveBytes uint64
}

type spaceWatch struct {
	low atomic.Bool
	mu  struct {
		sync.Mutex
		looked time.Time
		last   Space
	}
}

// Low reports whether the disk had less free space than the reserve when it was looked at last. It is one atomic load.
func (db *DB) Low() bool { return db.space.low.Load() }

// CheckSpace looks at the free space, unless that was done a moment ago. Call it about every second: it is what makes Low
// change, in both directions.
func (db *DB) CheckSpace() (Space, error) {
	w := &db.space
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.mu.looked) < spaceInterval {
		return w.mu.last, nil
	}
	free, total, err := disk.Free(db.options.FS, db.options.Dir)
	if err != nil {
		return w.mu.last, err
	}
	w.mu.looked = time.Now()
	s := Space{FreeBytes: free, TotalBytes: total, ReserveBytes: db.reserve(total)}
	mark := s.ReserveBytes
	if w.mu.last.Low {
		mark += mark / 8 // so that it does not flutter
	}
	s.Low = total > 0 && free < mark
	was := w.mu.last.Low
	w.mu.last = s
	w.low.Store(s.Low)
	if s.Low != was {
		db.tellSpace(s)
	}
	return s, nil
}

func (db *DB) reserve(total uint64) uint64 {
	if db.options.ReserveBytes > 0 {
		return db.options.ReserveBytes
	}
	return min(maxReserve, total/100*reservePercent)
}

func (db *DB) tellSpace(s Space) {
	if s.Low {
		db.options.Logger.Error("disk is nearly full: new writes are refused, reads and deletions go on", "free_bytes",
			s.FreeBytes, "reserve_bytes", s.ReserveBytes, "hint", "free space on the disk that holds "+db.options.Dir+
				"; writes go on by themselves then")
	} else {
		db.options.Logger.Info("disk has space again: writes go on", "free_bytes", s.FreeBytes)
	}
	if f := db.options.Events.Space; f != nil {
		f(s)
	}
}
