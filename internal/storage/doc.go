// Package storage keeps the documents of a node on disk. It is Pebble's home: nothing above it knows which engine is below.
//
// # Nouns
//
// A DB is one data directory. A Bucket is one bucket's part of it; every row of a bucket begins with a small number, its
// bid, that this DB gave to the bucket's UUID and never gives again. One vBucket is one contiguous range of rows in it: by
// seqno (the documents), by key (what a memory header needs) and local (State, written with each batch; Local, written when
// something changes; see rows.go, state.go, local.go, and docs/formats/disk.md for every byte).
//
// # Invariants
//
//   - A batch is atomic: for each vBucket, by-seqno holds exactly the newest version at or below State.High of each key since
//     the last purge, by-key agrees with it row by row, and nothing is above State.High.
//   - Apply does not sync. Everything that was applied before Sync was called is on disk when it returns nil.
//   - An error of the log, the manifest or an fsync is final: it is told once through Events.Fatal, every later call that
//     would change something fails with ErrFailed, and nothing is written any more. The process ends; the next start
//     recovers. An fsync is never tried again, because the kernel may have dropped the pages.
//   - What a checksum or a decoder disagrees with is a *CorruptionError. It concerns one vBucket; the others go on.
//
// # Who may call what
//
// All methods may be called from any goroutine, but one vBucket must have one writer at a time: batches of one vBucket reach
// the disk in the order of the calls. A vBucket's scans must have ended before it is dropped or reset.
//
// # Locks
//
// DB.mu guards the list of buckets. The gate is held shared by everything that writes and exclusively by Checkpoint, because
// this version of the engine copies its log while it is written to. Neither is held while a callback runs.
//
// Read keys.go and rows.go first, then db.go, batch.go and read.go.
package storage
