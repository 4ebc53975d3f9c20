package storage

import (
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Bounds of what is stored (docs/formats/disk.md).
const (
	maxKeyLen   = 250
	maxValueLen = 64 << 20 // far above what the engine admits; a length beyond it is damage
)

// FormatVersion is the version of the key scheme that this program writes.
const FormatVersion = 1

// pebbleFormat is the version of the engine's own files. It is pinned because a newer one cannot be undone: raising it is a
// decision of its own. Columnar blocks are the oldest that work with simulated time; log chunks that carry their sync
// offset tell a torn tail of the log from damage.
const pebbleFormat = pebble.FormatWALSyncChunks

// Sizes of the engine (kv.md 10.2).
const (
	defaultCacheBytes   = 128 << 20
	memTableBytes       = 64 << 20
	memTables           = 4
	l0Compaction        = 4
	l0Stop              = 24
	lBaseBytes          = 256 << 20
	blockBytes          = 16 << 10
	bloomBits           = 10
	syncChunkBytes      = 512 << 10
	deletionBytesPerSec = 128 << 20
	maxOpenFiles        = 4096
	rangeDeleteDelay    = 10 * time.Second
	slowDisk            = 2 * time.Second // an operation that takes longer is reported
	maxCompactions      = 4
	gatedFlush          = 10 * time.Second // writers wait for no longer while a checkpoint is made
)

// Free space (kv.md 9).
const (
	maxReserve     = 1 << 30
	reservePercent = 2
	spaceInterval  = 200 * time.Millisecond // between two looks at the free space
)

// compactions bounds how many compactions run at once.
func compactions() int { return min(max(1, runtime.GOMAXPROCS(0)/2), maxCompactions) }
