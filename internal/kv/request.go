package kv

import (
	"time"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Key names a document of a bucket. Make it with Bucket.Key; it is valid for that bucket only. Name is lent for as long as
// the Key is used.
type Key struct {
	VB   vbucket.ID
	Coll docid.Collection
	Name []byte
	hash uint32 // 28 bits
}

// Meta describes a document, or a tombstone.
type Meta struct {
	CAS      vbucket.CAS // vbucket.LockedCAS while the document is locked
	Seqno    vbucket.Seqno
	UUID     vbucket.UUID // of the history that Seqno belongs to
	Rev      uint64
	Flags    uint32
	Expiry   uint32 // Unix seconds, 0 = none; for a tombstone the time of deletion
	Datatype value.Datatype
	Deleted  bool
	ValueLen int // as stored: the compressed length if Datatype has the Snappy bit
}

// Write is the request of a mutation.
type Write struct {
	CAS            vbucket.CAS // 0 = do not check
	Flags          uint32
	Expiry         uint32 // wire form: 0 none, up to 30 days relative, else absolute Unix seconds
	PreserveExpiry bool   // an existing document keeps its own expiry
	Datatype       value.Datatype
	Value          []byte // lent for the call. Datatype's Snappy bit says that it is a Snappy block; its other bits are ignored
	Level          spec.Durability
	Timeout        time.Duration // of a durable write, 0 = 30 s
	Stale          StaleRule     // of Set, Add and Replace

	Size int // set by Append and Prepend: bytes of the body that they have made
}

// Written is what a mutation gave the document. CAS is 0 only if nothing was written.
type Written struct {
	CAS   vbucket.CAS
	Seqno vbucket.Seqno
	UUID  vbucket.UUID
}

// Count is the request of a counter.
type Count struct {
	Delta, Initial uint64
	Decrement      bool   // stops at 0; otherwise the counter wraps at 2^64
	Create         bool   // a missing document is made with Initial; otherwise it is ErrNotFound
	Expiry         uint32 // wire form, of a document that is made
	PreserveExpiry bool   // no effect: an existing counter always keeps its expiry
	CAS            vbucket.CAS
	Level          spec.Durability
	Timeout        time.Duration // 0 = 30 s
	Touch          bool          // an existing document gets NewExpiry, wire form
	NewExpiry      uint32

	Before, After uint32 // set by Counter: the document's expiry, in Unix seconds
}

// Document is a whole document as Random gives it. Key and Value belong to the caller.
type Document struct {
	Meta

	Key   []byte
	Value []byte // as stored
}

// SeqnoInfo says where a vBucket stands in its history.
type SeqnoInfo struct {
	State     vbucket.State
	UUID      vbucket.UUID
	High      vbucket.Seqno // of the latest change
	Persisted vbucket.Seqno // everything up to it survives a crash; 0 in a bucket without a store
	Purge     vbucket.Seqno // highest seqno of a tombstone that was purged
	SnapStart vbucket.Seqno // of the newest snapshot on disk
	SnapEnd   vbucket.Seqno
	MaxCAS    vbucket.CAS
	Items     int // live documents
	Ready     bool
}
