// Package change is the vocabulary of the ordered change feed: the one way in which anything learns what happened to the
// documents of a vBucket. Disk, replicas, view indexes and backup all read the same feed from a position and report a
// watermark back; nothing that writes documents knows their names.
//
// # Rules (checked by package changetest for every Feed)
//
// For each key the version that it had at a snapshot's High is delivered exactly once, and the last mutation of a snapshot
// has the seqno High. Snapshots of one vBucket rise and do not overlap. Seqnos within a snapshot rise strictly; gaps are
// allowed, because superseded versions are left out. A Batch may hold part of a snapshot. Bytes in a Batch are lent until
// the next call of Next; who keeps them copies them. A reader that was too slow for memory continues from disk without a gap.
package change

import (
	"context"
	"fmt"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Op says what a change did. The values are part of the disk format (docs/formats/disk.md).
type Op uint8

// The kinds of change. Prepares and aborts come with replication; their numbers are reserved.
const (
	OpMutation   Op = 1
	OpDeletion   Op = 2
	OpExpiration Op = 3
	OpSystem     Op = 7 // a collection or scope was made or dropped
)

// Deleted reports whether the change left a tombstone.
func (o Op) Deleted() bool { return o == OpDeletion || o == OpExpiration }

// Mutation is one document version, with all that a disk row, a replica or an index needs.
type Mutation struct {
	Seqno      vbucket.Seqno
	Prev       vbucket.Seqno // of the version that this one replaces on the flusher's disk, 0 = none; set for the flusher only
	CAS        vbucket.CAS
	Rev        uint64
	Flags      uint32
	Expiry     uint32 // Unix seconds, 0 = none; for a tombstone the time of deletion
	Op         Op
	Datatype   value.Datatype
	Durability uint8 // level of the durable write that made it, 0 = none
	Collection docid.Collection
	Key        []byte
	Value      []byte
}

// Snapshot is a consistent stretch of one vBucket's history: who has read all of it up to High holds the state that the
// vBucket had at High.
type Snapshot struct {
	UUID     vbucket.UUID
	Low      vbucket.Seqno // the reader's position before the snapshot, exclusive
	High     vbucket.Seqno // inclusive
	FromDisk bool          // a backfill; otherwise from the window in memory
}

// Batch is a part of one snapshot of one vBucket. It is reused between calls of Next.
type Batch struct {
	VB        vbucket.ID
	Snapshot  Snapshot
	Mutations []Mutation // strictly rising seqnos within (Low, High]
	End       error      // the vBucket left this reader and why; no mutations then
}

// Complete reports whether this batch is the last of its snapshot.
func (b *Batch) Complete() bool {
	return len(b.Mutations) > 0 && b.Mutations[len(b.Mutations)-1].Seqno == b.Snapshot.High
}

// Options of a reader.
type Options struct {
	Name string // shown in statistics
	// MaxBatchBytes bounds the keys and values of one Batch; a single larger document still comes. 0 means 64 KiB.
	MaxBatchBytes int
}

// Feed opens readers.
type Feed interface {
	Open(o Options) (Reader, error)
}

// Reader follows any number of vBuckets. Its methods may be called from several goroutines, but Next from one at a time.
type Reader interface {
	// Add starts to follow vb after a position. *RollbackError says that the reader's history and ours part before it.
	Add(vb vbucket.ID, after vbucket.Position) error
	// Remove stops following vb; its unread changes are not delivered any more.
	Remove(vb vbucket.ID)
	// Next blocks until some vBucket has something and fills b for one vBucket.
	Next(ctx context.Context, b *Batch) error
	// Ack states that the reader has kept everything of vb up to a seqno that it was given. It never goes back.
	Ack(vb vbucket.ID, to vbucket.Seqno)
	// Close ends the reader. It returns after a blocked Next has.
	Close() error
}

// Sink takes batches, for example to write them elsewhere. It keeps no bytes of b after it returned.
type Sink interface {
	Apply(ctx context.Context, b *Batch) error
}

// RollbackError tells a reader that it must give up what it has of a vBucket above To before it can follow.
type RollbackError struct {
	VB vbucket.ID
	To vbucket.Seqno
}

// Error says which vBucket must go back to what.
func (e *RollbackError) Error() string {
	return fmt.Sprintf("vb %d: roll back to seqno %d", e.VB, e.To)
}
