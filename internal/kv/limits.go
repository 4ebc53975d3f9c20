package kv

import "time"

// Fixed bounds of the engine (architecture.md 10, kv.md 6 to 9 and 17).
const (
	maxItems        = 1 << 28 // in one vBucket: what 28 bits of hash can tell apart
	firstTable      = 8       // slots of an empty vBucket's table
	headerBytes     = 48
	smallChunk      = 16  // entries of a window's first chunk
	bigChunk        = 256 // entries of the others
	entryBytes      = 16
	copyEntries     = 64 // window entries looked at in one lock hold
	copyBytes       = 64 << 10
	walkSlots       = 512 // table slots looked at in one lock hold
	keptScratch     = 1 << 20
	relativeExpiry  = 30 * 24 * 3600 // seconds; larger expiries are absolute (wire.md 7.5)
	defaultLock     = 15             // seconds
	maxLock         = 30             // seconds
	defaultDurable  = 30 * time.Second
	maxWarmingWait  = 50 * time.Millisecond
	overheadPercent = 15 // memory that the arena may hold above the quota for slack in its slabs
	overheadBytes   = 16 << 20
)

// Marks in percent of the quota (kv.md 7 and 17).
const (
	lowMark     = 75 // the pager frees down to it
	highMark    = 85 // the pager begins
	writeLimit  = 93 // mutations are refused above
	deleteLimit = 99 // deletions are refused above
	windowLimit = 10 // the change window of a bucket
)

// Bounds of what meets the disk (kv.md 9, 13 and 17).
const (
	flushInterval  = 20 * time.Millisecond // a change waits no longer for the flusher, unless that is busy
	maxCopiers     = 4
	copyPiece      = 256 << 10 // bytes copied from memory at once
	sharedBatch    = 1 << 20   // bytes of small runs that become visible together
	urgentJob      = 64        // vBuckets of durable writes that a worker gets at once
	sweepJob       = 16        // other vBuckets that it gets at once: durable writes wait as long
	maxBatch       = 64 << 20  // bytes of a run that become visible on disk at once
	maxRound       = 64 << 20  // bytes applied before a sync begins
	maxFetches     = 64        // reads of values under way
	loadRows       = 256       // keys made items in one lock hold
	ejectSlots     = 256       // table slots looked at in one lock hold
	manyTombstones = 64        // in one vBucket: worth freeing before memory runs short
	maxBrake       = 20 * time.Millisecond
	brakeFrom      = 0.7
	brakeInterval  = 20 * time.Millisecond
	keepInterval   = time.Second

	progressInterval = time.Second // between two words about a stop that takes long
)

// Intervals of the pagers.
const (
	expiryInterval = 600 * time.Second
	purgeInterval  = 600 * time.Second
	shrinkAfter    = time.Hour // a table stays as large as its peak demanded for so long
)
