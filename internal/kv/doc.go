// Package kv is the data engine of one node: the documents of a bucket in memory, the operations on them, and the ordered
// feed of their changes.
//
// # Nouns
//
// A Bucket has a fixed number of vBuckets. A vBucket has a table, which finds items by the hash of their name; a window,
// which lists its latest changes in order; and one history of seqnos. An item is one document version: a header of 48 bytes,
// the key and the value, in memory outside Go's heap (package arena). A tombstone is an item that says that a document was
// deleted. A cursor is a reader's place in the window; a run is the stretch of it that a reader is copying.
//
// # Invariants
//
//   - A seqno is born under the lock of its vBucket and nowhere else, after the last check that can fail, and its change is
//     in the window before the lock is released.
//   - For each key, the version that it had at the end of a run is delivered by that run exactly once (see feed.go).
//   - Nothing that a live cursor has not passed leaves memory.
//   - A value is copied out of memory under the lock. No reference to an item outlives the lock hold in which it was found;
//     the touch pass (Prefetch) looks at memory without a lock, but does nothing with what it sees.
//   - What a persistent bucket ejects from memory is on disk: its seqno is not above persisted, which moves after an fsync.
//
// # Locks
//
// Bucket.meta → reader.mu → vBucket.mu → arena. Never two vBuckets' locks at once. No lock is held over I/O, a blocking
// channel operation, a callback, JSON validation or compression. vBucket.mu is a plain Mutex: it was faster than an RWMutex
// in every mix that was measured.
//
// # Files
//
// Read bucket.go and vbucket.go first, then item.go and table.go, then read.go and write.go; feed.go and reader.go are the
// change feed.
package kv
